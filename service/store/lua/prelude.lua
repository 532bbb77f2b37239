-- Shared by every script, behind the tables KEY, STATUS, TYPE, TERMINAL, FOLLOWS (made from the contracts)
-- and now(). A record is changed by move() and nothing else, so state, queues, leases, counters, events
-- and outbox can never tell different stories.

local EVENTS_KEPT = 200
local PLACE_KEPT_S = 3600 -- far longer than anybody takes from one page of a listing to the next
local PRIORITY_WORTH = 600 * 1000000 -- a step of priority is worth ten minutes of waiting, in microseconds
local TURN = 1000000 -- what one job costs a tenant of weight 1 in virtual time; whole, so that sums stay exact

-- Times and ranks as text: Lua's own tostring() keeps only 14 digits.
local function stamp(t) return string.format('%.6f', t) end
local function whole(n) return string.format('%.0f', n) end

local function load_job(id)
  local flat = redis.call('HGETALL', KEY.JOB .. id)
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end

-- The job as its owner may see it: tombstones and other tenants' jobs do not exist.
local function load_own(id, tenant)
  local job = load_job(id)
  if job and job.tenant == tenant and job.deleted ~= '1' then return job end
  return nil
end

-- The record if this attempt is the one that runs now: the guard of every write by a worker.
local function load_running(id, attempt)
  local job = load_job(id)
  if job and job.state == 'running' and job.attempt == attempt then return job end
  return nil
end

local function write(job, changes)
  local flat = {}
  for name, value in pairs(changes) do
    job[name] = tostring(value)
    flat[#flat + 1] = name
    flat[#flat + 1] = job[name]
  end
  redis.call('HSET', KEY.JOB .. job.id, unpack(flat))
end

local function failure(code, message, retryable)
  return cjson.encode({ code = code, message = message, retryable = retryable })
end

-- ---- events ------------------------------------------------------------------------------------------

-- Append a fact to the job's stream; the entry id is the seq, so a reader resumes by seq alone.
local function tell(job, kind, t, reason)
  local seq = redis.call('HINCRBY', KEY.JOB .. job.id, 'seq', 1)
  job.seq = tostring(seq)
  local facts = {
    id = job.id,
    state = job.state,
    status = STATUS[job.state],
    attempt = tonumber(job.attempt),
    progress = tonumber(job.progress),
    reason = reason,
  }
  if job.stage ~= '' then
    facts.stage, facts.step, facts.steps = job.stage, tonumber(job.step), tonumber(job.steps)
  end
  if job.failure ~= '' then facts.error = cjson.decode(job.failure) end
  local entry = {
    'id', 'evt_' .. job.id .. '_' .. seq, 'seq', seq, 'type', kind, 'job_id', job.id,
    'tenant', job.tenant, 'created_at', stamp(t), 'data', cjson.encode(facts),
  }
  redis.call('XADD', KEY.EVENTS .. job.id, 'MAXLEN', '~', EVENTS_KEPT, seq .. '-0', unpack(entry))
  return entry
end

-- What a webhook receiver hears: the first start, a keyframe to approve, and the end.
local function worth_telling(job)
  return TERMINAL[job.state] or job.state == 'awaiting_approval'
    or (job.state == 'running' and job.attempt == '1')
end

local function announce_state(job, t, reason)
  local entry = tell(job, TYPE[job.state], t, reason)
  if job.webhook_url ~= '' and worth_telling(job) then
    entry[#entry + 1] = 'url'
    entry[#entry + 1] = job.webhook_url
    redis.call('XADD', KEY.OUTBOX, '*', unpack(entry))
  end
end

-- ---- what operators have set ---------------------------------------------------------------------------

-- Why nothing goes in at this gate ('intake', or 'pool:' and its name) now; false while it is open.
local function paused(gate) return redis.call('HGET', KEY.PAUSES, gate) end

local function turn_of(tenant)
  return math.floor(TURN / tonumber(redis.call('HGET', KEY.WEIGHTS, tenant) or '1'))
end

-- How many more jobs of this tenant may run at once.
local function room_of(tenant)
  local cap = redis.call('HGET', KEY.CAPS, tenant)
  if not cap then return math.huge end
  return math.max(0, tonumber(cap) - tonumber(redis.call('HGET', KEY.RUNNING, tenant) or '0'))
end

local function count_running(tenant, change)
  if redis.call('HINCRBY', KEY.RUNNING, tenant, change) <= 0 then redis.call('HDEL', KEY.RUNNING, tenant) end
end

-- ---- waiting -----------------------------------------------------------------------------------------

local function virtual_clock(pool) return tonumber(redis.call('GET', KEY.CLOCK .. pool) or '0') end

local function lane(job) return job.pool .. ':' .. job.model end

local function enqueue(job, t)
  redis.call('ZADD', KEY.READY .. lane(job), stamp(t), job.id)
  redis.call('ZADD', KEY.QUEUE .. lane(job) .. ':' .. job.tenant, job.rank, job.id)
  redis.call('SADD', KEY.POOLS, job.pool)
  redis.call('SADD', KEY.POOL_MODELS .. job.pool, job.model)
  if not redis.call('ZSCORE', KEY.TENANTS .. job.pool, job.tenant) then
    -- A tenant that comes (back) starts at the clock: it can neither save up idle time nor lose its debt.
    local own = tonumber(redis.call('ZSCORE', KEY.SERVED .. job.pool, job.tenant) or '0')
    redis.call('ZREM', KEY.SERVED .. job.pool, job.tenant)
    redis.call('ZADD', KEY.TENANTS .. job.pool, math.max(own, virtual_clock(job.pool)), job.tenant)
  end
end

local function dequeue(job)
  redis.call('ZREM', KEY.READY .. lane(job), job.id)
  redis.call('ZREM', KEY.QUEUE .. lane(job) .. ':' .. job.tenant, job.id)
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. job.pool)) do
    if redis.call('EXISTS', KEY.QUEUE .. job.pool .. ':' .. model .. ':' .. job.tenant) == 1 then return end
  end
  local own = redis.call('ZSCORE', KEY.TENANTS .. job.pool, job.tenant)
  redis.call('ZREM', KEY.TENANTS .. job.pool, job.tenant)
  if tonumber(own) > virtual_clock(job.pool) then
    redis.call('ZADD', KEY.SERVED .. job.pool, own, job.tenant)
  end
end

-- Jobs of the pool that wait, whether anybody can claim them or not.
local function waiting_in(pool)
  local waiting = 0
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    waiting = waiting + redis.call('ZCARD', KEY.READY .. pool .. ':' .. model)
  end
  return waiting
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

-- Ready jobs, those that a live worker could claim, workers alive, and the time the oldest was queued.
local function pool_depth(pool, t)
  local ready, claimable, oldest, served = 0, 0, t, {}
  local since = '(' .. stamp(t)
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    local name = pool .. ':' .. model
    local waiting = redis.call('ZCARD', KEY.READY .. name)
    ready = ready + waiting
    if redis.call('ZCOUNT', KEY.SERVING .. name, since, '+inf') > 0 then
      claimable = claimable + waiting
      served[#served + 1] = model
    end
    local first = redis.call('ZRANGE', KEY.READY .. name, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.min(oldest, tonumber(first[2])) end
  end
  claimable = paused('pool:' .. pool) and 0 or claimable - held_by_caps(pool, served)
  local live = redis.call('ZCOUNT', KEY.WORKERS .. pool, since, '+inf')
  return { ready = ready, claimable = claimable, live = live, oldest = oldest }
end

-- ---- running -----------------------------------------------------------------------------------------

local function lease_of(job) return job.id .. '|' .. job.attempt end

local function grant_lease(job, until_t)
  redis.call('ZADD', KEY.LEASES, stamp(until_t), lease_of(job))
  redis.call('SADD', KEY.HELD .. job.worker, lease_of(job))
end

local function drop_lease(job)
  redis.call('ZREM', KEY.LEASES, lease_of(job))
  redis.call('SREM', KEY.HELD .. job.worker, lease_of(job))
end

-- Take a job off its owner's listing. Its place is remembered for a while: a client that has read the page that
-- ends with this job goes on from here.
local function unlist(job)
  local listing = KEY.TENANT_JOBS .. job.tenant
  local arrival = redis.call('ZSCORE', listing, job.id)
  if not arrival then return end
  redis.call('ZREM', listing, job.id)
  redis.call('SET', KEY.PLACE .. job.tenant .. ':' .. job.id, arrival, 'EX', PLACE_KEPT_S)
end

-- ---- ending ------------------------------------------------------------------------------------------

-- The job's idempotency key if it is still the job's own: once run out, a client may have used it again.
local function own_idempotency_key(job)
  local key = KEY.IDEMPOTENCY .. job.tenant .. ':' .. job.idempotency
  if job.idempotency ~= '' and redis.call('HGET', key, 'job') == job.id then return key end
  return nil
end

local function doom(job, t)
  local at = t
  if job.deleted ~= '1' then at = t + tonumber(job.retention_s) end
  redis.call('ZADD', KEY.DOOMED, stamp(at), job.id)
  local key = own_idempotency_key(job)
  if key then redis.call('PEXPIRE', key, math.ceil(tonumber(job.retention_s) * 1000)) end
  return at
end

-- ---- deadlines ---------------------------------------------------------------------------------------

-- The time at which a job expires as it stands: start_by counts until its first attempt, finish_by to the end.
local function watch_deadline(job)
  local by
  if not TERMINAL[job.state] then
    by = tonumber(job.finish_by or '') -- records of before there were deadlines have no such field
    local start_by = tonumber(job.start_by or '')
    if job.attempt == '0' and start_by then by = math.min(start_by, by or start_by) end
  end
  if by then
    redis.call('ZADD', KEY.DEADLINES, stamp(by), job.id)
  else
    redis.call('ZREM', KEY.DEADLINES, job.id)
  end
end

local function is_overdue(id, t)
  local by = redis.call('ZSCORE', KEY.DEADLINES, id)
  return by and tonumber(by) <= t
end

-- ---- the one way from state to state -----------------------------------------------------------------

local function move(job, state, t, changes, reason)
  if not FOLLOWS[job.state][state] then
    error({ err = 'ERR ' .. job.state .. ' is never followed by ' .. state })
  end
  if job.state == 'queued' then dequeue(job) end
  if job.state == 'running' then
    drop_lease(job)
    count_running(job.tenant, -1)
  end
  if state == 'running' then count_running(job.tenant, 1) end
  if job.state == 'awaiting_approval' then redis.call('ZREM', KEY.APPROVALS, job.id) end
  redis.call('HINCRBY', KEY.STATES, job.state, -1)
  redis.call('HINCRBY', KEY.STATES, state, 1)
  changes.state = state
  if TERMINAL[state] then
    changes.completed_at = stamp(t)
    changes.expires_at = stamp(doom(job, t))
  end
  write(job, changes)
  watch_deadline(job)
  if state == 'queued' then enqueue(job, t) end
  announce_state(job, t, reason)
end

local function move_to_cancelled(job, t, changes)
  changes.failure = failure('cancelled', 'The video was cancelled at the request of its owner.', false)
  move(job, 'cancelled', t, changes)
end

-- An attempt is over without an outcome: the job waits again, unless it was called off or killed too many.
local function hand_back(job, t, reason, counts_as_loss, max_lost)
  local lost = tonumber(job.lost)
  if counts_as_loss then lost = lost + 1 end
  if job.cancel_requested == '1' then
    move_to_cancelled(job, t, { lost = lost })
  elseif counts_as_loss and lost >= max_lost then
    local sentence = 'The worker was lost ' .. lost .. ' times while it ran this job.'
    move(job, 'failed', t, { lost = lost, failure = failure('worker_lost', sentence, false) })
  else
    move(job, 'queued', t, { lost = lost, worker = '', stage = '', step = 0, steps = 0 }, reason)
  end
end

-- A deadline has passed. Whatever ended the job before wins, and so does its owner's cancel.
local function expire(job, t, sentence)
  if job.cancel_requested == '1' then
    move_to_cancelled(job, t, {})
  else
    move(job, 'expired', t, { failure = failure('expired', sentence, true) })
  end
end

local function expire_overdue(id, t)
  local job = load_job(id)
  local missed = 'finished by its finish_by'
  if job.attempt == '0' and job.start_by ~= '' and tonumber(job.start_by) <= t then
    missed = 'started by its start_by'
  end
  expire(job, t, 'The video was not ' .. missed .. '.')
end
