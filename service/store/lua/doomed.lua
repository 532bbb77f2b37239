#!lua flags=no-writes
-- Ended jobs whose time has come, the longest overdue first.
local jobs = {}
for i, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.DOOMED, '-inf', stamp(now()), 'LIMIT', 0, ARGV[1])) do
  jobs[i] = redis.call('HGETALL', KEY.JOB .. id)
end
return jobs
