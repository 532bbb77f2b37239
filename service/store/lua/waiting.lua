-- Shared by every script, ahead of costs.lua and behind the tables of the contracts and now(): numbers as text, what
-- operators have set, and who waits.

local SECOND = 1000000 -- a second of a GPU in virtual time, at weight 1; whole, so that sums stay exact
local UNMEASURED_PACE = 0.1 -- GPU seconds per unit of work until the first video of the model was measured

-- Times and ranks as text: Lua's own tostring() keeps only 14 digits.
local function stamp(t) return string.format('%.6f', t) end
local function whole(n) return string.format('%.0f', n) end

-- ---- what other versions wrote ---------------------------------------------------------------------------

-- A record says what its reader must understand. One that says more than this version knows was written by a newer
-- one: it is left as it is, wherever it is met. The same of every kind: jobs, events, deliveries, endpoints.
local LEFT_SEEN = 500 -- records of newer versions that one call looks past

local function is_newer(schema) return (tonumber(schema or '1') or 1) > SCHEMA end -- what is no number, nobody wrote

-- Whether what stands at this key is to be left to newer versions.
local function is_left(key)
  local schema = redis.pcall('HGET', key, 'schema')
  return type(schema) == 'string' and is_newer(schema) -- something that is no hash is nobody's
end

local function refuse_newer(fields, what)
  if is_newer(fields.schema) then
    error({ err = 'NEWER ' .. what .. ' is of schema ' .. fields.schema .. ', this version reads up to ' .. SCHEMA })
  end
  return fields
end

-- How many job records are left to newer versions.
local function count_left()
  local left, flat = 0, redis.call('HGETALL', KEY.SCHEMAS)
  for i = 1, #flat, 2 do
    if is_newer(flat[i]) then left = left + tonumber(flat[i + 1]) end
  end
  return left
end

-- ---- what operators have set ---------------------------------------------------------------------------

-- Why nothing goes in at this gate ('intake', or 'pool:' and its name) now; false while it is open.
local function paused(gate) return redis.call('HGET', KEY.PAUSES, gate) end

-- How many more jobs of this tenant may run at once.
local function room_of(tenant)
  local cap = redis.call('HGET', KEY.CAPS, tenant)
  if not cap then return math.huge end
  return math.max(0, (tonumber(cap) or math.huge) - tonumber(redis.call('HGET', KEY.RUNNING, tenant) or '0'))
end

local function count_running(tenant, change)
  if redis.call('HINCRBY', KEY.RUNNING, tenant, change) <= 0 then redis.call('HDEL', KEY.RUNNING, tenant) end
end

-- ---- waiting -----------------------------------------------------------------------------------------

local function virtual_clock(pool) return tonumber(redis.call('GET', KEY.CLOCK .. pool) or '0') end

local function lane(job) return job.pool .. ':' .. job.model end

local function priority_key(pool, priority) return KEY.PRIORITY .. pool .. ':' .. whole(priority) end

-- The priority that was asked for, which ageing does not change. Records of before it had a field have it in the request.
local function priority_of(job)
  local asked = tonumber(job.priority or '')
  if not asked then
    local fine, request = pcall(cjson.decode, job.request or '')
    asked = fine and type(request) == 'table' and tonumber(request.priority) or 0
  end
  return math.max(LEAST_PRIORITY, math.min(MOST_PRIORITY, math.floor(asked))) + 0 -- no "-0"
end

local function enqueue(job, t)
  redis.call('ZADD', KEY.READY .. lane(job), stamp(t), job.id)
  redis.call('ZADD', priority_key(job.pool, priority_of(job)), stamp(t), job.id)
  redis.call('ZADD', KEY.QUEUE .. lane(job) .. ':' .. job.tenant, job.rank, job.id)
  redis.call('SADD', KEY.POOLS, job.pool)
  redis.call('SADD', KEY.POOL_MODELS .. job.pool, job.model)
  if not redis.call('ZSCORE', KEY.TENANTS .. job.pool, job.tenant) then
    -- A tenant that comes (back) starts at the clock: it can neither save up idle time nor lose its debt.
    local own = tonumber(redis.call('ZSCORE', KEY.SERVED .. job.pool, job.tenant) or '0')
    local clock = virtual_clock(job.pool)
    redis.call('ZREM', KEY.SERVED .. job.pool, job.tenant)
    redis.call('ZADD', KEY.TENANTS .. job.pool, math.max(own, clock), job.tenant)
    redis.call('HSET', KEY.ENTERED .. job.pool, job.tenant, whole(clock))
  end
end

-- The whole record, or what is known of a broken one: then its priority is not.
local function dequeue(job)
  redis.call('ZREM', KEY.READY .. lane(job), job.id)
  local least, most = LEAST_PRIORITY, MOST_PRIORITY
  if job.request then least, most = priority_of(job), priority_of(job) end
  for priority = least, most do redis.call('ZREM', priority_key(job.pool, priority), job.id) end
  redis.call('ZREM', KEY.QUEUE .. lane(job) .. ':' .. job.tenant, job.id)
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. job.pool)) do
    if redis.call('EXISTS', KEY.QUEUE .. job.pool .. ':' .. model .. ':' .. job.tenant) == 1 then return end
  end
  local own = redis.call('ZSCORE', KEY.TENANTS .. job.pool, job.tenant)
  redis.call('ZREM', KEY.TENANTS .. job.pool, job.tenant)
  redis.call('HDEL', KEY.ENTERED .. job.pool, job.tenant)
  if own and tonumber(own) > virtual_clock(job.pool) then
    redis.call('ZADD', KEY.SERVED .. job.pool, own, job.tenant)
  end
end

-- ---- counting ----------------------------------------------------------------------------------------

-- A job has come into a state: counted here and never again, whoever hears of it how often.
local function count_move(job, state) redis.call('HINCRBY', KEY.MOVES, lane(job) .. ':' .. state, 1) end

-- Where a job stands while it is in this state; of a stage that only newer versions know, that somebody has it.
local function place_of(job)
  if job.state ~= 'running' then return job.state end
  return STAGE[job.stage] and job.stage or CLAIMED
end

-- ---- when a video will be there ---------------------------------------------------------------------------

local RATIOS_KEPT, RATIOS_TOLD = 100, 5 -- and how many make a tenth worth telling
local LATE_FACTOR, LATE_S = 2, 30 -- late: over twice the time that was foretold, and half a minute more

-- Seconds until a video of so much work is done that has so many of its model before it; nil where no video of the
-- model was measured yet, or no worker serves it.
local function eta_of(pool, model, work, ahead, t)
  local name = pool .. ':' .. model
  local pace = tonumber(redis.call('HGET', KEY.PACES, name))
  local live = redis.call('ZCOUNT', KEY.SERVING .. name, '(' .. stamp(t), '+inf')
  if not pace or live == 0 then return nil end
  local usual = tonumber(redis.call('HGET', KEY.WORKS, name) or work)
  -- A worker that is busy has half a video before it, on average.
  local busy = ahead > 0 or redis.call('ZCARD', KEY.LEASES) >= live
  return pace * ((ahead / live + (busy and 0.5 or 0)) * usual + work)
end

-- How the last videos kept to what was foretold: the middle and the ninth tenth of (time taken / time foretold).
-- 1 and nil before there are some.
local function eta_ratios(name)
  local ratios = redis.call('LRANGE', KEY.ETA_RATIOS .. name, 0, -1)
  for i, ratio in ipairs(ratios) do ratios[i] = tonumber(ratio) end
  if #ratios < RATIOS_TOLD then return 1, nil end
  table.sort(ratios)
  return ratios[math.ceil(0.5 * #ratios)], ratios[math.ceil(0.9 * #ratios)]
end

-- The same as text: {p50, p90}, '' for what is not known.
local function eta_told(pool, model, work, ahead, t)
  local eta = eta_of(pool, model, work, ahead, t)
  if not eta then return '', '' end
  local middle, ninth = eta_ratios(pool .. ':' .. model)
  return stamp(eta * middle), ninth and stamp(eta * ninth) or ''
end

-- What lies before a job: how many were queued before it (-1 if it does not wait), and in how many seconds its video
-- should be there, as eta_told() says.
local function foretold(job, t)
  local place = job.id and job.pool and job.model and redis.call('ZRANK', KEY.READY .. lane(job), job.id)
  if not place then return -1, '', '' end
  return place, eta_told(job.pool, job.model, tonumber(job.work or '1') or 1, place, t)
end

-- The video is there: how long did it take over what was foretold when it was accepted?
local function learn_eta(job, t)
  local eta = tonumber(job.eta or '')
  if not eta or eta <= 0 then return end
  local key, took = KEY.ETA_RATIOS .. lane(job), t - tonumber(job.created_at)
  redis.call('LPUSH', key, string.format('%.6g', took / eta))
  redis.call('LTRIM', key, 0, RATIOS_KEPT - 1)
  redis.call('HINCRBY', KEY.FORETOLD, lane(job), 1)
  redis.call('HINCRBY', KEY.LATE, lane(job), took > LATE_FACTOR * eta + LATE_S and 1 or 0)
end

-- How long a worker had it, from its claim until it was stored.
local function learn_render(job, t)
  local key = KEY.RENDERS .. lane(job)
  redis.call('LPUSH', key, stamp(t - tonumber(job.started_at)))
  redis.call('LTRIM', key, 0, RATIOS_KEPT - 1)
end

-- The middle of those, as text ('': none yet), and how many there are.
local function renders_told(name)
  local renders = redis.call('LRANGE', KEY.RENDERS .. name, 0, -1)
  if #renders == 0 then return '', 0 end
  for i, seconds in ipairs(renders) do renders[i] = tonumber(seconds) end
  table.sort(renders)
  return stamp(renders[math.ceil(0.5 * #renders)]), #renders
end

-- ---- how deep a pool is --------------------------------------------------------------------------------

-- Jobs of the pool that wait, whether anybody can claim them or not.
local function waiting_in(pool)
  local waiting = 0
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    waiting = waiting + redis.call('ZCARD', KEY.READY .. pool .. ':' .. model)
  end
  return waiting
end

-- By priority, from the least to the most: how many jobs of the pool wait, and the time the oldest was queued.
local function depths_by_priority(pool)
  local depths = {}
  for priority = LEAST_PRIORITY, MOST_PRIORITY do
    local key = priority_key(pool, priority)
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local count = first[1] and redis.call('ZCARD', key) or 0
    depths[#depths + 1] = { priority = priority, ready = count, oldest = tonumber(first[2]) }
  end
  return depths
end

-- The seconds of a GPU that the waiting jobs of a model should take: so many videos as of late.
local function backlog_of(name)
  local waiting = redis.call('ZCARD', KEY.READY .. name)
  local pace = tonumber(redis.call('HGET', KEY.PACES, name) or UNMEASURED_PACE)
  return waiting * pace * tonumber(redis.call('HGET', KEY.WORKS, name) or '1')
end

-- How many jobs of capped tenants wait beyond what their caps let run.
local function held_by_caps(pool, models)
  local over = 0
  for _, tenant in ipairs(redis.call('HKEYS', KEY.CAPS)) do
    local waiting = 0
    for _, model in ipairs(models) do
      waiting = waiting + redis.call('ZCARD', KEY.QUEUE .. pool .. ':' .. model .. ':' .. tenant)
    end
    over = over + math.max(0, waiting - room_of(tenant))
  end
  return over
end

-- Ready jobs, workers alive, the time the oldest job was queued, and how many tickets are of use: as many as there
-- are jobs that a live worker could claim and workers to do so.
local function pool_depth(pool, t)
  local ready, claimable, oldest, served, some_cannot = 0, 0, t, {}, false
  local since = '(' .. stamp(t)
  local live = redis.call('ZCOUNT', KEY.WORKERS .. pool, since, '+inf')
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    local name = pool .. ':' .. model
    local waiting = redis.call('ZCARD', KEY.READY .. name)
    ready = ready + waiting
    local serving = redis.call('ZCOUNT', KEY.SERVING .. name, since, '+inf')
    if serving > 0 then
      claimable = claimable + waiting
      served[#served + 1] = model
      some_cannot = some_cannot or (waiting > 0 and serving < live)
    end
    local first = redis.call('ZRANGE', KEY.READY .. name, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.min(oldest, tonumber(first[2])) end
  end
  claimable = paused('pool:' .. pool) and 0 or claimable - held_by_caps(pool, served)
  -- A ticket does not say for which model it is: where some workers cannot serve what waits, all of them look.
  local wanted = some_cannot and claimable > 0 and live or math.min(claimable, live)
  return { ready = ready, live = live, oldest = oldest, wanted = wanted }
end
