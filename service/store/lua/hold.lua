#!lua flags=allow-oom
-- Park the current attempt behind its keyframe candidates, which the record names already; it gives up its lease and
-- waits for the client. ARGV[4]: what it has used so far, ARGV[5]: the seconds of a GPU among that.
local id, attempt, approval_s, spent, gpu_s = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local job = load_running(id, attempt)
if not job then
  local held = load_job(id) -- the reply was lost and the same worker asks again
  return held and held.state == 'awaiting_approval' and held.attempt == attempt and 1 or 0
end
local t = now()
local kept = { spent = spent, spent_gpu_s = gpu_s }
if job.cancel_requested == '1' then
  move_to_cancelled(job, t, kept)
  if tonumber(gpu_s) then
    settle_cost(job, tonumber(gpu_s), t)
    settle_quota(job, tonumber(gpu_s) * SECOND)
  end
  return 1
end
kept.approve_by = stamp(t + approval_s)
move(job, 'awaiting_approval', t, kept)
redis.call('ZADD', KEY.APPROVALS, kept.approve_by, id)
return 1
