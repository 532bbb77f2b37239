#!lua flags=allow-oom
-- Find the attempts whose worker fell silent. Many processes call this; one at a time does it.
local AT_ONCE = 500 -- leases, approvals and deadlines judged per run, so that no run holds the server for long

local lease_s, max_lost, every_s = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local t = now()

-- Jobs that are set aside (any of them, so that a flood of broken ones holds nobody up), and what is wrong with each.
local function some_aside() return redis.call('HRANDFIELD', KEY.ASIDE, AT_ONCE, 'WITHVALUES') end

local last = tonumber(redis.call('GET', KEY.REAPER) or '') or 0
local gap = t - last
if gap >= 0 and gap < every_s then return { 0, 0, {}, {}, {}, 0, some_aside() } end
redis.call('SET', KEY.REAPER, stamp(t))

-- Do `judge` to the job that stands in `place` as `member`; answers whether that was done. A job without a record, one
-- that is broken and one that trips all leave the place: none of them may keep the others waiting.
local function judged(place, member, id, judge)
  local job = load_job(id)
  if job and not is_broken(id, job) and not trips(job, judge, t) then return true end
  redis.call('ZREM', place, member)
  return false
end

-- A job that was set aside and is whole again goes back to where it was. Nobody has run it meanwhile.
local function take_back(job)
  if job.state == 'running' then
    grant_lease(job, t)
    hand_back(job, t, 'mended', false, max_lost) -- counts it off itself: it is still among those set aside
    return
  end
  redis.call('HDEL', KEY.ASIDE, job.id)
  if job.state == 'queued' then enqueue(job, t) end
  if job.state == 'awaiting_approval' then redis.call('ZADD', KEY.APPROVALS, job.approve_by, job.id) end
  if TERMINAL[job.state] then redis.call('ZADD', KEY.DOOMED, job.expires_at, job.id) end
  watch_deadline(job)
end

local HEADS, SOME = 10, 25 -- of each priority, so that no more is looked at while two versions share the record

-- Mend the index by priority where it does not hold what waits: a version that does not know it leaves gaps and
-- leftovers (ADR 0039). Some at a time, and nothing is looked at while the numbers agree.
local function mend_priorities(pool, ready)
  local indexed = 0
  for _, depth in ipairs(depths_by_priority(pool)) do indexed = indexed + depth.ready end
  if indexed == ready then return end
  local function facts_of(id)
    local facts = redis.pcall('HMGET', KEY.JOB .. id, 'pool', 'model', 'priority', 'request')
    if facts.err or facts[1] ~= pool or not facts[2] then return nil end
    local job = { pool = pool, model = facts[2], priority = facts[3] or nil, request = facts[4] or nil }
    return priority_of(job), redis.call('ZSCORE', KEY.READY .. lane(job), id)
  end
  for priority = LEAST_PRIORITY, MOST_PRIORITY do
    local key = priority_key(pool, priority)
    local looked_at = redis.call('ZRANGE', key, 0, HEADS - 1)
    for _, id in ipairs(redis.call('ZRANDMEMBER', key, SOME)) do looked_at[#looked_at + 1] = id end
    for _, id in ipairs(looked_at) do
      local asked, since = facts_of(id)
      if asked ~= priority or not since then redis.call('ZREM', key, id) end
    end
  end
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    for _, id in ipairs(redis.call('ZRANDMEMBER', KEY.READY .. pool .. ':' .. model, AT_ONCE)) do
      local asked, since = facts_of(id)
      if since then redis.call('ZADD', priority_key(pool, asked), since, id) end
    end
  end
end

local ids, expired, wanted, extended = {}, {}, {}, 0
if gap < 0 or gap > lease_s / 2 then
  -- Nobody reaped for a while, or the clock jumped: silence then says nothing about the workers.
  extended = 1
  for _, member in ipairs(redis.call('ZRANGE', KEY.LEASES, 0, -1)) do
    redis.call('ZADD', KEY.LEASES, stamp(t + lease_s), member)
  end
else
  for _, member in ipairs(due(KEY.LEASES, t, AT_ONCE)) do
    local id = string.match(member, '^(.*)|') or member
    if judged(KEY.LEASES, member, id, function(job) hand_back(job, t, 'worker_lost', true, max_lost) end) then
      ids[#ids + 1] = id
    end
  end
  for _, id in ipairs(due(KEY.APPROVALS, t, AT_ONCE)) do
    if judged(KEY.APPROVALS, id, id, function(job) expire(job, t, 'The keyframe was not approved in time.') end) then
      expired[#expired + 1] = id
    end
  end
  -- Running jobs too: a worker that hangs or has lost its way must not keep the end from its owner.
  for _, id in ipairs(due(KEY.DEADLINES, t, AT_ONCE)) do
    if judged(KEY.DEADLINES, id, id, function(job) expire_overdue(job, t) end) then
      expired[#expired + 1] = id
    end
  end
end

for _, id in ipairs(redis.call('HRANDFIELD', KEY.ASIDE, AT_ONCE)) do
  local left = is_left(KEY.JOB .. id)
  local job = not left and load_job(id)
  if not job then
    if not left then redis.call('HDEL', KEY.ASIDE, id) end
  elseif (aside_of(id).again or 0) <= t and not is_broken(id, job) then
    trips(job, take_back, t)
  end
end

-- A worker that was told to drain and went without a goodbye is remembered for a day, should it only be cut off.
redis.call('ZREMRANGEBYSCORE', KEY.DRAINS, '-inf', stamp(t - 86400))

for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  redis.call('ZREMRANGEBYSCORE', KEY.WORKERS .. pool, '-inf', stamp(t))
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    redis.call('ZREMRANGEBYSCORE', KEY.SERVING .. pool .. ':' .. model, '-inf', stamp(t))
  end
  local depth = pool_depth(pool, t)
  mend_priorities(pool, depth.ready)
  wanted[#wanted + 1] = pool
  wanted[#wanted + 1] = tostring(depth.wanted)
end
return { 1, extended, ids, expired, wanted, count_left(), some_aside() }
