#!lua flags=allow-oom
-- Park the current attempt at its keyframe; it gives up its lease and waits for the client.
local id, attempt, keyframe, approval_s = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local job = load_running(id, attempt)
if not job then return 0 end
local t = now()
local kept = { keyframe = keyframe, keyframe_attempt = attempt }
if job.cancel_requested == '1' then
  move_to_cancelled(job, t, kept)
  return 1
end
kept.approve_by = stamp(t + approval_s)
move(job, 'awaiting_approval', t, kept)
redis.call('ZADD', KEY.APPROVALS, kept.approve_by, id)
return 1
