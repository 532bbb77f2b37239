#!lua flags=no-writes
-- Gauges.
local t = now()

-- Fields of a section of the server's own report, '' where it has none.
local function told(section, fields)
  local report, found = redis.call('INFO', section), {}
  for i, field in ipairs(fields) do found[i] = string.match(report, '\n' .. field .. ':([^\r\n]*)') or '' end
  return found
end

local running = {} -- by pool, and by pool and model
for _, lease in ipairs(redis.call('ZRANGE', KEY.LEASES, 0, -1)) do
  local pool, model = unpack(redis.call('HMGET', KEY.JOB .. string.match(lease, '^(.*)|'), 'pool', 'model'))
  if pool and model then
    local name = pool .. ':' .. model
    running[pool], running[name] = (running[pool] or 0) + 1, (running[name] or 0) + 1
  end
end
local pools, draining, priorities, shares = {}, {}, {}, {}
for _, worker in ipairs(redis.call('ZRANGE', KEY.DRAINS, 0, -1)) do
  local pool = redis.call('HGET', KEY.WORKER .. worker, 'pool')
  if pool then draining[pool] = (draining[pool] or 0) + 1 end
end
for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  local depth = pool_depth(pool, t)
  pools[#pools + 1] = { pool, depth.ready, stamp(math.max(0, t - depth.oldest)), depth.live, depth.wanted,
    draining[pool] or 0, running[pool] or 0, tonumber(redis.call('HGET', KEY.LOSSES, pool) or '0'),
    redis.call('ZCARD', KEY.TENANTS .. pool), 0 }
  local told = { pool }
  for _, tenant in ipairs(foremost_in(pool)) do told[#told + 1] = stamp(share_of(tenant, pool)) end
  shares[#shares + 1] = told
  for _, waiting in ipairs(depths_by_priority(pool)) do
    local age = stamp(math.max(0, t - (waiting.oldest or t)))
    priorities[#priorities + 1] = { pool, waiting.priority, waiting.ready, age }
  end
end
-- How many times jobs of this lane came into each state: state, count, state, count, ...
local function moves_of(name)
  local moves = {}
  for state in pairs(FOLLOWS) do
    moves[#moves + 1] = state
    moves[#moves + 1] = tonumber(redis.call('HGET', KEY.MOVES, name .. ':' .. state) or '0')
  end
  return moves
end

local etas, promises, models = {}, {}, {}
for _, row in ipairs(pools) do
  local pool, backlog = row[1], 0
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    local name = pool .. ':' .. model
    local middle, ninth = eta_ratios(name)
    if ninth then etas[#etas + 1] = { pool, model, stamp(middle), stamp(ninth) } end
    local foretold = tonumber(redis.call('HGET', KEY.FORETOLD, name) or '0')
    promises[#promises + 1] = { pool, model, foretold, tonumber(redis.call('HGET', KEY.LATE, name) or '0') }
    models[#models + 1] = { pool, model, redis.call('ZCARD', KEY.READY .. name), running[name] or 0, moves_of(name) }
    backlog = backlog + backlog_of(name)
  end
  row[#row] = stamp(backlog)
end
return {
  redis.call('HGETALL', KEY.STATES),
  redis.call('ZCARD', KEY.LEASES),
  redis.call('ZCOUNT', KEY.DOOMED, '-inf', stamp(t)),
  redis.call('XLEN', KEY.OUTBOX),
  pools,
  redis.call('HGETALL', KEY.PAUSES),
  etas,
  promises,
  told('persistence', { 'aof_enabled', 'aof_last_write_status', 'aof_last_bgrewrite_status', 'rdb_last_bgsave_status',
    'aof_current_size', 'aof_base_size', 'aof_delayed_fsync' }),
  count_left(),
  redis.call('HLEN', KEY.ASIDE),
  models,
  redis.call('HGETALL', KEY.CANCELS),
  priorities,
  told('memory', { 'used_memory', 'maxmemory' }),
  shares,
}
