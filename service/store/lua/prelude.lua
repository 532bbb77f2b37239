-- Shared by every script, behind the tables KEY, STATUS, TYPE, STAGE, TERMINAL, FOLLOWS (made from the contracts),
-- now(), waiting.lua, allowance.lua, flaws.lua and telling.lua. A record is changed by move() and nothing else, so
-- state, queues, leases, counters, events and outbox can never tell different stories.

local GONE_KEPT_S = 30 * 86400
local RECENT_S = 60 -- how long a library's own repeats of a submission find it
local PLACE_KEPT_S = 3600 -- far longer than anybody takes from one page of a listing to the next
local PRIORITY_WORTH = 600 * 1000000 -- a step of priority is worth ten minutes of waiting, in microseconds

-- False only where somebody has deleted a record by hand, or put something in its place that is no hash. What is
-- left of such a job must not stop the others: a script that finds it in a queue or among the leases takes it out and
-- goes on.
local function has_record(id) return redis.call('TYPE', KEY.JOB .. id).ok == 'hash' end

local function fields_of(id)
  if not has_record(id) then return nil end
  local flat = redis.call('HGETALL', KEY.JOB .. id)
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end

-- The record as it is answered: one text, since a reply of a hundred takes clients longer to read than all the rest.
local function record_of(id)
  local job = fields_of(id)
  return job and cjson.encode(job)
end

-- An error for a record of a newer version: who takes several jobs at a time asks is_left() before.
local function load_job(id)
  local job = fields_of(id)
  return job and refuse_newer(job, 'the record of ' .. id)
end

-- Up to `most` members (jobs, or leases of jobs) of a sorted set whose time has come and that this version may touch.
local function due(key, t, most)
  local found, seen = {}, 0
  repeat
    local some = redis.call('ZRANGEBYSCORE', key, '-inf', stamp(t), 'LIMIT', seen, most)
    for _, member in ipairs(some) do
      if #found < most and not is_left(KEY.JOB .. string.match(member, '^[^|]*')) then found[#found + 1] = member end
    end
    seen = seen + #some
  until #found == most or #some < most or seen >= most + LEFT_SEEN
  return found
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
  if job and job.state == 'running' and job.attempt == attempt and not is_broken(id, job) then return job end
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

-- Where the tenant's jobs with each of these metadata pairs are listed.
local function label_keys(tenant, metadata)
  local keys = {}
  for name, value in pairs(metadata or {}) do
    keys[#keys + 1] = KEY.LABELLED .. tenant .. ':' .. redis.sha1hex(#name .. ':' .. name .. value)
  end
  return keys
end

local function labels_of(job) return label_keys(job.tenant, cjson.decode(job.request).metadata) end

-- Take a job off its owner's listing. Its place is remembered for a while: a client that has read the page that
-- ends with this job goes on from here.
local function unlist(job)
  local listing = KEY.TENANT_JOBS .. job.tenant
  local arrival = redis.call('ZSCORE', listing, job.id)
  if not arrival then return end
  redis.call('ZREM', listing, job.id)
  for _, key in ipairs(labels_of(job)) do redis.call('ZREM', key, job.id) end
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

-- ---- attempts ------------------------------------------------------------------------------------------

local TRIES_KEPT = 20

-- Write down in `changes` which attempt begins or ends by this move: who ran it, from when to when, and why it ended.
local function keep_try(job, state, t, changes, reason)
  local tries = (job.tries or '') ~= '' and cjson.decode(job.tries) or {}
  if job.state == 'running' and #tries > 0 then
    local last = tries[#tries]
    last.ended_at, last.outcome = t, state
    last.reason = reason or (changes.failure and cjson.decode(changes.failure).code)
  end
  if state == 'running' then
    tries[#tries + 1] = { number = tonumber(changes.attempt), worker = changes.worker, started_at = t }
    if #tries > TRIES_KEPT then table.remove(tries, 1) end
  end
  if #tries > 0 then changes.tries = cjson.encode(tries) end
end

-- ---- the one way from state to state -----------------------------------------------------------------

local function move(job, state, t, changes, reason)
  local flaw = flaw_of(job)
  -- Before anything is written: what is half done by a script stays half done.
  if flaw then error({ err = 'ERR the record of ' .. job.id .. ' is broken: ' .. flaw }) end
  if not FOLLOWS[job.state][state] then
    error({ err = 'ERR ' .. job.state .. ' is never followed by ' .. state })
  end
  local aside, place = aside_of(job.id) or {}, place_of(job)
  redis.call('HDEL', KEY.ASIDE, job.id)
  if job.state == 'queued' then dequeue(job) end
  if job.state == 'running' then
    drop_lease(job)
    if not aside.freed then count_running(job.tenant, -1) end
  end
  if state == 'running' then count_running(job.tenant, 1) end
  if job.state == 'awaiting_approval' then redis.call('ZREM', KEY.APPROVALS, job.id) end
  redis.call('HINCRBY', KEY.STATES, job.state, -1)
  redis.call('HINCRBY', KEY.STATES, state, 1)
  keep_try(job, state, t, changes, reason)
  changes.state = state
  if TERMINAL[state] then
    changes.completed_at = stamp(t)
    changes.checkpoint = '' -- nobody goes on from it any more: whoever stored it, or the janitor, may delete it
    changes.expires_at = stamp(doom(job, t))
  end
  if TERMINAL[state] then
    redis.call('SREM', KEY.IN_HAND .. job.tenant, job.id)
    redis.call('DEL', KEY.PREVIEW .. job.id)
  end
  -- Nobody comes to finish a job that ends before its gate: its tenant pays for the candidates alone.
  local painted = job.state == 'awaiting_approval' and TERMINAL[state] and tonumber(job.spent_gpu_s or '')
  write(job, changes)
  -- Behind the write: nothing leads out of a terminal state, so no job is counted there twice, even where the rest trips.
  count_move(job, state)
  if state == 'cancelled' then redis.call('HINCRBY', KEY.CANCELS, place, 1) end
  if painted then settle_cost(job, painted, t) end
  -- Whatever else ends without a finish gave its tenant nothing. (finish counts what it took behind this.)
  if TERMINAL[state] then settle_quota(job, (painted or 0) * SECOND) end
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
  if counts_as_loss then
    lost = lost + 1
    redis.call('HINCRBY', KEY.LOSSES, job.pool, 1)
  end
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

local function expire_overdue(job, t)
  local missed = 'finished by its finish_by'
  if job.attempt == '0' and not is_none(job.start_by) and tonumber(job.start_by) <= t then
    missed = 'started by its start_by'
  end
  expire(job, t, 'The video was not ' .. missed .. '.')
end
