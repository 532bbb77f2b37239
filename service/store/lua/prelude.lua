-- Shared by every script, behind the tables KEY, STATUS, TYPE, TERMINAL, FOLLOWS (made from the contracts)
-- and now(). A record is changed by move() and nothing else, so state, queues, leases, counters, events
-- and outbox can never tell different stories.

local EVENTS_KEPT = 200
local PLACE_KEPT_S = 3600 -- far longer than anybody takes from one page of a listing to the next
local PRIORITY_STEP = 10000000000000 -- above any number of arrivals; priority * step stays exact in a double

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

-- Ready jobs, those that a live worker could claim, workers alive, and the time the oldest was queued.
local function pool_depth(pool, t)
  local ready, claimable, oldest = 0, 0, t
  local since = '(' .. stamp(t)
  for _, model in ipairs(redis.call('SMEMBERS', KEY.POOL_MODELS .. pool)) do
    local name = pool .. ':' .. model
    local waiting = redis.call('ZCARD', KEY.READY .. name)
    ready = ready + waiting
    if redis.call('ZCOUNT', KEY.SERVING .. name, since, '+inf') > 0 then claimable = claimable + waiting end
    local first = redis.call('ZRANGE', KEY.READY .. name, 0, 0, 'WITHSCORES')
    if first[2] then oldest = math.min(oldest, tonumber(first[2])) end
  end
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

-- ---- the one way from state to state -----------------------------------------------------------------

local function move(job, state, t, changes, reason)
  if not FOLLOWS[job.state][state] then
    error({ err = 'ERR ' .. job.state .. ' is never followed by ' .. state })
  end
  if job.state == 'queued' then dequeue(job) end
  if job.state == 'running' then drop_lease(job) end
  if job.state == 'awaiting_approval' then redis.call('ZREM', KEY.APPROVALS, job.id) end
  redis.call('HINCRBY', KEY.STATES, job.state, -1)
  redis.call('HINCRBY', KEY.STATES, state, 1)
  changes.state = state
  if TERMINAL[state] then
    changes.completed_at = stamp(t)
    changes.expires_at = stamp(doom(job, t))
  end
  write(job, changes)
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
