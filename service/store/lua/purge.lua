#!lua flags=allow-oom
-- Forget a doomed job, after its objects are gone.
local id = ARGV[1]
local due = redis.call('ZSCORE', KEY.DOOMED, id)
if not due or tonumber(due) > now() then return 0 end
local job = load_job(id)
local key = own_idempotency_key(job)
if key then redis.call('DEL', key) end
redis.call('ZREM', KEY.DOOMED, id)
unlist(job)
redis.call('HINCRBY', KEY.STATES, job.state, -1)
redis.call('DEL', KEY.JOB .. id, KEY.EVENTS .. id)
return 1
