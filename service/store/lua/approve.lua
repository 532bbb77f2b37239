#!lua flags=allow-oom
-- The client likes the keyframe: queue the job again, for stage 2.
local id, tenant = ARGV[1], ARGV[2]
local job = load_own(id, tenant)
if not job then return 'missing' end
local t = now()
if job.state ~= 'awaiting_approval' or tonumber(job.approve_by) <= t then return 'not_waiting' end
move(job, 'queued', t, { worker = '', approve_by = '' }, 'approved')
return 'approved'
