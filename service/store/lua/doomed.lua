#!lua flags=allow-oom
-- Ended jobs whose time has come, the longest overdue first.
local jobs = {}
for _, id in ipairs(due(KEY.DOOMED, now(), tonumber(ARGV[1]))) do
  if has_record(id) then
    jobs[#jobs + 1] = redis.call('HGETALL', KEY.JOB .. id)
  else
    redis.call('ZREM', KEY.DOOMED, id)
  end
end
return jobs
