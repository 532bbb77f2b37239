#!lua flags=allow-oom
-- The client has chosen the keyframe: queue the job again, for stage 2. The same choice again is no error.
local id, tenant, chosen, keyframe = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local job = load_own(id, tenant)
if not job then return 'missing' end
local t = now()
if job.state ~= 'awaiting_approval' then return job.chosen == chosen and 'again' or 'not_waiting' end
if tonumber(job.approve_by) <= t then return 'not_waiting' end
local changes = { worker = '', approve_by = '', stage = '', step = 0, steps = 0 }
changes.chosen, changes.keyframe, changes.keyframe_attempt = chosen, keyframe, job.attempt
move(job, 'queued', t, changes, 'approved')
return 'approved'
