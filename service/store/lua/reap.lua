#!lua flags=allow-oom
-- Find the attempts whose worker fell silent. Many processes call this; one at a time does it.
local AT_ONCE = 500 -- leases, approvals and deadlines judged per run, so that no run holds the server for long

local lease_s, max_lost, every_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = now()
local last = tonumber(redis.call('GET', KEY.REAPER) or '0')
local gap = t - last
if gap >= 0 and gap < every_s then return { 0, 0, {}, {}, {}, 0 } end
redis.call('SET', KEY.REAPER, stamp(t))

local ids, expired, wanted, extended = {}, {}, {}, 0
if gap < 0 or gap > lease_s / 2 then
  -- Nobody reaped for a while, or the clock jumped: silence then says nothing about the workers.
  extended = 1
  for _, member in ipairs(redis.call('ZRANGE', KEY.LEASES, 0, -1)) do
    redis.call('ZADD', KEY.LEASES, stamp(t + lease_s), member)
  end
else
  for _, member in ipairs(due(KEY.LEASES, t, AT_ONCE)) do
    local job = load_job(string.match(member, '^(.*)|'))
    if job then
      hand_back(job, t, 'worker_lost', true, max_lost)
      ids[#ids + 1] = job.id
    else
      redis.call('ZREM', KEY.LEASES, member)
    end
  end
  for _, id in ipairs(due(KEY.APPROVALS, t, AT_ONCE)) do
    local job = load_job(id)
    if job then
      expire(job, t, 'The keyframe was not approved in time.')
      expired[#expired + 1] = id
    else
      redis.call('ZREM', KEY.APPROVALS, id)
    end
  end
  -- Running jobs too: a worker that hangs or has lost its way must not keep the end from its owner.
  for _, id in ipairs(due(KEY.DEADLINES, t, AT_ONCE)) do
    if has_record(id) then
      expire_overdue(id, t)
      expired[#expired + 1] = id
    else
      redis.call('ZREM', KEY.DEADLINES, id)
    end
  end
end

-- A worker that was told to drain and went without a goodbye is remembered for a day, should it only be cut off.
redis.call('ZREMRANGEBYSCORE', KEY.DRAINS, '-inf', stamp(t - 86400))

for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  redis.call('ZREMRANGEBYSCORE', KEY.WORKERS .. pool, '-inf', stamp(t))
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    redis.call('ZREMRANGEBYSCORE', KEY.SERVING .. pool .. ':' .. model, '-inf', stamp(t))
  end
  wanted[#wanted + 1] = pool
  wanted[#wanted + 1] = tostring(pool_depth(pool, t).wanted)
end
return { 1, extended, ids, expired, wanted, count_left() }
