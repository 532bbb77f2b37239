#!lua flags=allow-oom
-- Ended jobs whose time has come, the longest overdue first: id and tenant of each.
local jobs = {}
for _, id in ipairs(due(KEY.DOOMED, now(), tonumber(ARGV[1]))) do
  local job = load_job(id)
  if job and not is_broken(id, job) then
    jobs[#jobs + 1] = { id, job.tenant }
  else
    redis.call('ZREM', KEY.DOOMED, id)
  end
end
return jobs
