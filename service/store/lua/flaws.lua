-- Shared by every script, between allowance.lua and prelude.lua: records that no script can go by, because somebody
-- has changed them by hand. Such a job is set aside: out of every queue and list that is worked through, so that it
-- stops no other; in KEY.ASIDE, with what is wrong, for people to see. The sweep takes it back once it is mended.

local AGAIN_S = 60
local WORDS = { 'tenant', 'pool', 'model' }
-- `schema` is none in records of before there was one.
local COUNTS = { 'attempt', 'lost', 'seq' }
local NUMBERS = { 'rank', 'retention_s', 'progress', 'created_at' }
local NUMBERS_OR_NONE = {
  'started_at', 'completed_at', 'expires_at', 'approve_by', 'start_by', 'finish_by', 'step', 'steps', 'work', 'charged',
  'charged_to', 'reserved', 'spent_gpu_s', 'eta', 'winner_attempt', 'priority',
}
local TABLES_OR_NONE = {
  'tries', 'failure', 'keyframe', 'candidates', 'checkpoint', 'artifact', 'warnings', 'usage', 'spent',
}

local function is_none(value) return value == nil or value == '' end

local function is_number(value)
  local number = tonumber(value or '')
  return number ~= nil and number == number
end

local function table_in(json)
  local fine, value = pcall(cjson.decode, json)
  return fine and type(value) == 'table' and value or nil
end

local function is_object(json) return string.match(json or '', '^%s*{') ~= nil and table_in(json) ~= nil end

local function list_of_tables(json)
  for _, each in ipairs(table_in(json) or {}) do
    if type(each) ~= 'table' then return false end
  end
  return table_in(json) ~= nil
end

-- What keeps the scripts from going by this record, in a few words; nil for nearly every job there ever is.
local function flaw_of(job)
  if not FOLLOWS[job.state] then return 'state is none' end
  for _, name in ipairs(WORDS) do
    if is_none(job[name]) then return name .. ' is missing' end
  end
  for _, name in ipairs(COUNTS) do
    if not string.match(job[name] or '', '^%d+$') then return name .. ' is no count' end
  end
  for _, name in ipairs(NUMBERS) do
    if not is_number(job[name]) then return name .. ' is no number' end
  end
  for _, name in ipairs(NUMBERS_OR_NONE) do
    if not is_none(job[name]) and not is_number(job[name]) then return name .. ' is no number' end
  end
  if job.schema and not string.match(job.schema, '^%d+$') then return 'schema is no count' end
  if not is_object(job.request) then return 'request is no JSON object' end
  for _, name in ipairs(TABLES_OR_NONE) do
    if not is_none(job[name]) and not table_in(job[name]) then return name .. ' is neither empty nor JSON' end
  end
  if not is_none(job.tries) and not list_of_tables(job.tries) then return 'tries is no list of attempts' end
  if job.state == 'running' and (is_none(job.worker) or is_none(job.started_at)) then return 'nobody runs it' end
  if TERMINAL[job.state] and is_none(job.expires_at) then return 'expires_at is missing' end
  if job.state == 'awaiting_approval' and is_none(job.approve_by) then return 'approve_by is missing' end
  return nil
end

-- {flaw, freed, again} of a job that is set aside. freed: the tenant, if one of its running jobs is no longer counted;
-- again: the time from which it is tried once more, where its record looks whole.
local function aside_of(id)
  local kept = redis.call('HGET', KEY.ASIDE, id)
  return kept and cjson.decode(kept) or nil
end

-- Take the job with this id out of whatever is worked through, as far as its record still says where that is; a script
-- that found it elsewhere takes it out there.
local function set_aside(id, job, flaw, again)
  local member = id .. '|' .. (job.attempt or '')
  local ran = redis.call('ZREM', KEY.LEASES, member) == 1 or job.state == 'running'
  redis.call('SREM', KEY.HELD .. (job.worker or ''), member)
  local aside = aside_of(id) or {}
  if ran and not aside.freed and not is_none(job.tenant) then
    count_running(job.tenant, -1)
    aside.freed = job.tenant
  end
  aside.flaw, aside.again = flaw, again
  redis.call('HSET', KEY.ASIDE, id, cjson.encode(aside))
  for _, set in ipairs({ KEY.APPROVALS, KEY.DEADLINES, KEY.DOOMED }) do redis.call('ZREM', set, id) end
  if not is_none(job.pool) and not is_none(job.model) and not is_none(job.tenant) then
    dequeue({ id = id, pool = job.pool, model = job.model, tenant = job.tenant })
  end
end

-- Do `act` to the job; if it trips whatever nobody has foreseen, only this job stands still, for a minute at a time.
local function trips(job, act, t)
  local fine, problem = pcall(act, job)
  if fine then return false end
  set_aside(job.id, job, type(problem) == 'table' and problem.err or tostring(problem), t + AGAIN_S)
  return true
end

-- Whether the job is of no use as it stands; then it has been set aside.
local function is_broken(id, job)
  local flaw = job.id ~= id and 'id is another' or flaw_of(job)
  if flaw then set_aside(id, job, flaw) end
  return flaw ~= nil
end
