#!lua flags=allow-oom
-- The client calls a job off.
local id, tenant = ARGV[1], ARGV[2]
local job = load_own(id, tenant)
if not job then return 'missing' end
if job.state == 'cancelled' then return 'cancelled' end
if TERMINAL[job.state] then return 'terminal' end
write(job, { cancel_requested = 1 })
if job.state == 'running' then return 'flagged' end
move_to_cancelled(job, now(), {})
return 'cancelled'
