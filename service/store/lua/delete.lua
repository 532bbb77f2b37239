#!lua flags=allow-oom
-- Turn a job into a tombstone: nobody sees it, and once it has ended it is doomed at once.
local id, tenant = ARGV[1], ARGV[2]
local job = load_own(id, tenant)
if not job then return 'missing' end
local t = now()
local key = own_idempotency_key(job)
-- A deleted job answers for nothing: the same key may make a new one.
if key then redis.call('DEL', key) end
unlist(job)
write(job, { deleted = 1, cancel_requested = 1 })
if TERMINAL[job.state] then
  write(job, { expires_at = stamp(doom(job, t)) })
elseif job.state ~= 'running' then
  move_to_cancelled(job, t, {})
end
return 'deleted'
