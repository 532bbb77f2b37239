#!lua flags=allow-oom
-- Give a worker up to k jobs that may share a batch, fair across tenants by virtual time.
-- Start-time fair queueing (Goyal, Vin, Cheng 1996): the tenant whose virtual time is least goes next and is
-- charged the GPU seconds that its job should take over its weight (finish settles the difference to what it took);
-- the pool's clock is the start time of the job served last. Answers the time of the claim, and the jobs.
local TENANTS_SEEN, JOBS_SEEN = 32, 32 -- how far the search for batch mates looks
local TENANTS_FIRST = 4
-- A tenant may have stood back (its cap, no worker for its model) and lag behind the clock by this much at most:
-- what it missed comes back as ten minutes of a GPU over its weight, not as a day.
local MOST_LAG = 600 * SECOND
local OVERDUE_AT_ONCE = 200 -- a flood of passed deadlines must not hold the server: the sweep ends the rest

local pool, worker, limit, lease_s = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local t = now()

-- A worker says what it still holds (rendered videos wait in its spool). What it holds beyond that by the record, the
-- answer to its last claim was lost on the way: give the same attempts again instead of letting them run out as if it
-- had died.
local known, held = {}, {}
for member in string.gmatch(ARGV[5], '%S+') do known[member] = true end
for _, member in ipairs(redis.call('SMEMBERS', KEY.HELD .. worker)) do
  local id = string.match(member, '^(.*)|') or member
  local left = is_left(KEY.JOB .. id)
  local job = not left and load_job(id)
  if not left and (not job or is_broken(id, job)) then
    redis.call('SREM', KEY.HELD .. worker, member)
  elseif not known[member] then
    held[#held + 1] = member
  end
end
if #held > 0 then
  table.sort(held)
  local again = {}
  for i, member in ipairs(held) do
    redis.call('ZADD', KEY.LEASES, 'XX', stamp(t + lease_s), member)
    again[i] = record_of(string.match(member, '^(.*)|'))
  end
  return { stamp(t), again }
end

if paused('pool:' .. pool) or redis.call('ZSCORE', KEY.DRAINS, worker) then return { stamp(t), {} } end

local function queue_of(model, tenant) return KEY.QUEUE .. pool .. ':' .. model .. ':' .. tenant end

-- The tenant's foremost ready job among the models that this worker holds. What is overdue expires here.
local overdue_left = OVERDUE_AT_ONCE
local function foremost(model, tenant)
  local queue, passed = queue_of(model, tenant), 0
  while passed < LEFT_SEEN do
    local first = redis.call('ZRANGE', queue, passed, passed, 'WITHSCORES')
    if not first[1] then return nil end
    local left = is_left(KEY.JOB .. first[1])
    local job = not left and load_job(first[1])
    if left then
      passed = passed + 1
    elseif not job or is_broken(first[1], job) then
      dequeue({ id = first[1], pool = pool, model = model, tenant = tenant })
      redis.call('ZREM', KEY.DEADLINES, first[1])
    elseif not is_overdue(first[1], t) then
      return first[1], tonumber(first[2])
    elseif overdue_left == 0 then
      return nil
    else
      overdue_left = overdue_left - 1
      expire_overdue(job, t)
    end
  end
end

local function head(tenant)
  if room_of(tenant) == 0 then return nil end
  local best, best_rank
  for i = 6, #ARGV do
    local first, rank = foremost(ARGV[i], tenant)
    if first and (not best or rank < best_rank) then best, best_rank = first, rank end
  end
  return best
end

-- A resumed attempt starts elsewhere than its neighbours would, and a job that was under a dying worker
-- must not take innocent ones with it.
local function runs_alone(job)
  return job.alone == '1' or tonumber(job.lost) > 0 or job.keyframe ~= '' or job.checkpoint ~= ''
end

local claimed = {}

-- Start the job's next attempt at its tenant's virtual time; answers the time at which the tenant stands then.
local function take(job, virtual_time)
  local attempt = tonumber(job.attempt) + 1
  local changes = { attempt = attempt, worker = worker, stage = '', step = 0, steps = 0, approve_by = '' }
  local clock = virtual_clock(pool)
  local stands = math.max(virtual_time, clock - MOST_LAG)
  redis.call('SET', KEY.CLOCK .. pool, whole(math.max(clock, stands)))
  if attempt == 1 then -- a tenant pays once per job, not for what befell its workers
    local charge = charge_of(job.tenant, estimate_of(job))
    stands = stands + charge
    changes.charged, changes.charged_to = whole(charge), whole(stands)
  end
  redis.call('ZADD', KEY.TENANTS .. pool, whole(stands), job.tenant)
  if job.started_at == '' then changes.started_at = stamp(t) end
  move(job, 'running', t, changes)
  grant_lease(job, t + lease_s)
  claimed[#claimed + 1] = record_of(job.id)
  return stands
end

-- The foremost job of the first tenant, among so many, that may have one more.
local function serve_next(last)
  local tenants = redis.call('ZRANGE', KEY.TENANTS .. pool, 0, last, 'WITHSCORES')
  for i = 1, #tenants, 2 do
    local id = head(tenants[i])
    while id do
      local job = load_job(id)
      if not trips(job, function() take(job, tonumber(tenants[i + 1])) end, t) then return job end
      id = head(tenants[i])
    end
  end
end

-- Nearly always it is one of the first; reading thousands of tenants would cost more than the claim.
local first = serve_next(TENANTS_FIRST - 1) or serve_next(-1)
if not first then return { stamp(t), claimed } end

local function mates(tenant)
  local found, most = {}, math.min(limit, room_of(tenant))
  if most == 0 then return found end
  for _, id in ipairs(redis.call('ZRANGE', queue_of(first.model, tenant), 0, JOBS_SEEN - 1)) do
    local facts = redis.call('HMGET', KEY.JOB .. id, 'compat', 'schema')
    if facts[1] == first.compat and not is_newer(facts[2]) and not is_overdue(id, t) then
      local job = load_job(id)
      if not is_broken(id, job) and not runs_alone(job) then found[#found + 1] = job end
    end
    if #found == most then break end
  end
  return found
end

-- The order of a sorted set: by virtual time, then by name.
local function goes_before(line, other)
  if line.time ~= other.time then return line.time < other.time end
  return line.tenant < other.tenant
end

if limit > 1 and not runs_alone(first) then
  local lines = {}
  local tenants = redis.call('ZRANGE', KEY.TENANTS .. pool, 0, TENANTS_SEEN - 1, 'WITHSCORES')
  for i = 1, #tenants, 2 do
    local line = { tenant = tenants[i], time = tonumber(tenants[i + 1]), jobs = mates(tenants[i]), served = 0 }
    lines[#lines + 1] = line
  end
  while #claimed < limit do
    local next_line
    for _, line in ipairs(lines) do
      if line.served < #line.jobs and (not next_line or goes_before(line, next_line)) then next_line = line end
    end
    if not next_line then break end
    next_line.served = next_line.served + 1
    trips(next_line.jobs[next_line.served], function(job) next_line.time = take(job, next_line.time) end, t)
  end
end

-- Idle tenants whose debt the clock has passed owe nothing any more.
redis.call('ZREMRANGEBYSCORE', KEY.SERVED .. pool, '-inf', virtual_clock(pool))
return { stamp(t), claimed }
