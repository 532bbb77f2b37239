#!lua flags=allow-oom
-- An operator lets an ended job go now: the janitor clears it at its next turn, and its owner hears that its time is over.
-- ARGV: id. Answers ended, running (it has not ended) or missing.
local job = load_job(ARGV[1])
if not job then return 'missing' end
if not TERMINAL[job.state] then return 'running' end
local t = now()
redis.call('ZADD', KEY.DOOMED, 'LT', stamp(t), job.id)
write(job, { expires_at = stamp(math.min(t, tonumber(job.expires_at))) })
return 'ended'
