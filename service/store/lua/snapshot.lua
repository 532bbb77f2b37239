#!lua flags=no-writes
-- Gauges.
local t = now()
local pools = {}
for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  local depth = pool_depth(pool, t)
  local wanted = math.min(depth.claimable, depth.live)
  pools[#pools + 1] = { pool, depth.ready, stamp(math.max(0, t - depth.oldest)), depth.live, wanted }
end
return {
  redis.call('HGETALL', KEY.STATES),
  redis.call('ZCARD', KEY.LEASES),
  redis.call('ZCOUNT', KEY.DOOMED, '-inf', stamp(t)),
  redis.call('XLEN', KEY.OUTBOX),
  pools,
}
