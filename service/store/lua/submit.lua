#!lua
-- Accept a job. Not allowed when memory is full: the client is told to come back instead.
local id, tenant, pool, model, priority, request = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local compat, digest, idempotency = ARGV[7], ARGV[8], ARGV[9]
local queue_limit, retention_s, webhook_url, warnings = tonumber(ARGV[10]), ARGV[11], ARGV[12], ARGV[13]
local start_by, finish_by, work, sent, traceparent = ARGV[14], ARGV[15], ARGV[16], ARGV[17], ARGV[18]
local window_s = tonumber(ARGV[19])
local limits = { requests = ARGV[20], concurrent_jobs = ARGV[21], gpu_seconds = ARGV[22] }
local webhook_events = ARGV[23]
local t = now()
limits.window = whole(math.floor(t / window_s)) .. '/' .. whole(window_s)
limits.resets_at = (math.floor(t / window_s) + 1) * window_s

-- A deadline is a time, or '+' and seconds from now: only this clock knows when now is.
local function moment(text)
  if string.sub(text, 1, 1) == '+' then return stamp(t + tonumber(string.sub(text, 2))) end
  return text
end

local earlier = redis.call('HMGET', KEY.JOB .. id, 'tenant', 'digest')
if earlier[1] then
  -- The reply was lost and the same submission came again: the record is its own.
  if earlier[1] == tenant and earlier[2] == digest then return { 'created', id } end
  return { 'conflict', id }
end

local key = KEY.IDEMPOTENCY .. tenant .. ':' .. idempotency
if idempotency ~= '' then
  local known = redis.call('HMGET', key, 'job', 'digest')
  if known[1] then return { known[2] == digest and 'existing' or 'conflict', known[1] } end
end

-- A client library that repeats by itself says so, and sends no key: what it sent a moment ago is its job. Unless it
-- repeats what was refused: of equal wishes at once one may have got in, and the others still want theirs.
local recent = KEY.RECENT .. tenant .. ':' .. digest
if sent == 'again' then
  local told = redis.call('HMGET', recent, 'job', 'refused')
  if tonumber(told[2] or '0') > 0 then
    redis.call('HINCRBY', recent, 'refused', -1)
  elseif told[1] and load_own(told[1], tenant) then
    return { 'existing', told[1] }
  end
end
local function refuse(answer)
  if sent ~= '' then
    redis.call('HINCRBY', recent, 'refused', 1)
    redis.call('EXPIRE', recent, RECENT_S)
  end
  return answer
end

local pause = paused('intake')
if pause then return refuse({ 'paused', id, pause }) end
-- Not refuse(): libraries are told not to repeat this, so none of their repeats is to be expected.
local gpu = math.ceil(estimate_of({ pool = pool, model = model, work = work }) * SECOND)
local passed = quota_passed(tenant, gpu, limits)
if passed then return { 'over_quota', id, unpack(passed) } end
if waiting_in(pool) >= queue_limit then return refuse({ 'full', id }) end

-- Arrivals are numbered by microseconds, and upwards even when the clock is set back. A job's rank never
-- changes, yet it ages: whoever comes later stands behind it unless its priority outweighs the time between.
local arrival = math.max(tonumber(redis.call('GET', KEY.ARRIVALS) or '0') + 1, math.floor(t * 1000000))
redis.call('SET', KEY.ARRIVALS, whole(arrival))
local job = {
  schema = SCHEMA, id = id, tenant = tenant, pool = pool, model = model, state = 'queued', request = request,
  compat = compat, digest = digest, idempotency = idempotency, retention_s = retention_s,
  webhook_url = webhook_url, webhook_events = webhook_events, warnings = warnings, priority = priority,
  work = work, charged = '', charged_to = '', reserved = whole(gpu), quota_window = limits.window,
  rank = whole(arrival - tonumber(priority) * PRIORITY_WORTH),
  attempt = 0, lost = 0, alone = 0, cancel_requested = 0, deleted = 0, winner_attempt = 0,
  worker = '', stage = '', step = 0, steps = 0, progress = 0, seq = 0,
  created_at = stamp(t), started_at = '', completed_at = '', expires_at = '', approve_by = '',
  start_by = moment(start_by), finish_by = moment(finish_by),
  keyframe = '', keyframe_attempt = '', candidates = '', chosen = '', spent = '', spent_gpu_s = '', checkpoint = '', artifact = '', failure = '', usage = '',
  tries = '', traceparent = traceparent,
}
-- What is foretold now is compared with what comes true (learn_eta).
local eta = eta_of(pool, model, tonumber(work), redis.call('ZCARD', KEY.READY .. pool .. ':' .. model), t)
job.eta = eta and stamp(eta) or ''
write(job, job)
count_job(job, limits, t)
-- Without an end until the job has ended (doom() gives it one): a promise outlives any clock.
if idempotency ~= '' then redis.call('HSET', key, 'job', id, 'digest', digest) end
if sent ~= '' then
  redis.call('HSET', recent, 'job', id)
  redis.call('EXPIRE', recent, RECENT_S)
end
redis.call('ZADD', KEY.TENANT_JOBS .. tenant, whole(arrival), id)
for _, label in ipairs(labels_of(job)) do redis.call('ZADD', label, whole(arrival), id) end
redis.call('HINCRBY', KEY.STATES, 'queued', 1)
redis.call('HINCRBY', KEY.SCHEMAS, job.schema, 1)
count_move(job, 'queued')
watch_deadline(job)
enqueue(job, t)
announce_state(job, t)
return { 'created', id, cjson.encode(job), foretold(job, t) }
