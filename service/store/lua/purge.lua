#!lua flags=allow-oom
-- Forget a doomed job, after its objects are gone.
local id = ARGV[1]
local due = redis.call('ZSCORE', KEY.DOOMED, id)
if not due or tonumber(due) > now() then return 0 end
local job = load_job(id)
if not job or is_broken(id, job) then return 0 end
local key = own_idempotency_key(job)
if key then redis.call('DEL', key) end
redis.call('ZREM', KEY.DOOMED, id)
unlist(job)
-- Who deleted it knows; anybody else learns for a while that it was there.
if job.deleted ~= '1' then
  local remains = cjson.encode({
    state = job.state, model = job.model, created_at = job.created_at, completed_at = job.completed_at, expired_at = due,
  })
  redis.call('SET', KEY.GONE .. job.tenant .. ':' .. id, remains, 'EX', GONE_KEPT_S)
  redis.call('SET', KEY.GONE .. ':' .. id, '', 'EX', GONE_KEPT_S) -- for signed links, which name no tenant
end
redis.call('HINCRBY', KEY.STATES, job.state, -1)
if job.schema then redis.call('HINCRBY', KEY.SCHEMAS, job.schema, -1) end
redis.call('DEL', KEY.JOB .. id, KEY.EVENTS .. id, KEY.JOB_DELIVERIES .. id)
return 1
