#!lua flags=no-writes
-- Gauges.
local t = now()
local pools, draining = {}, {}
for _, worker in ipairs(redis.call('ZRANGE', KEY.DRAINS, 0, -1)) do
  local pool = redis.call('HGET', KEY.WORKER .. worker, 'pool')
  if pool then draining[pool] = (draining[pool] or 0) + 1 end
end
for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  local depth = pool_depth(pool, t)
  pools[#pools + 1] = { pool, depth.ready, stamp(math.max(0, t - depth.oldest)), depth.live, depth.wanted,
    draining[pool] or 0 }
end
local etas = {}
for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    local middle, ninth = eta_ratios(pool .. ':' .. model)
    if ninth then etas[#etas + 1] = { pool, model, stamp(middle), stamp(ninth) } end
  end
end
return {
  redis.call('HGETALL', KEY.STATES),
  redis.call('ZCARD', KEY.LEASES),
  redis.call('ZCOUNT', KEY.DOOMED, '-inf', stamp(t)),
  redis.call('XLEN', KEY.OUTBOX),
  pools,
  redis.call('HGETALL', KEY.PAUSES),
  etas,
}
