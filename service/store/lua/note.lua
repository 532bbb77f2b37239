#!lua flags=allow-oom
-- Progress of the current attempt, and what it has stored so far.
local id, attempt, stage, step, steps = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local progress, keyframe, checkpoint, candidates = tonumber(ARGV[6]), ARGV[7], ARGV[8], ARGV[9]
local job = load_running(id, attempt)
if not job then return 0 end

local fresh = job.stage ~= stage or job.step ~= step or job.steps ~= steps
local changes = { stage = stage, step = step, steps = steps }
-- A client never sees progress run backwards, not even when a second attempt starts over.
changes.progress = math.max(tonumber(job.progress), math.min(progress, 99))
if keyframe ~= '' and keyframe ~= job.keyframe then
  changes.keyframe, changes.keyframe_attempt, fresh = keyframe, attempt, true
end
if checkpoint ~= '' and checkpoint ~= job.checkpoint then
  changes.checkpoint, fresh = checkpoint, true
end
if candidates ~= '' and candidates ~= job.candidates then
  changes.candidates, fresh = candidates, true
end
write(job, changes)
-- The same note again (its reply was lost) is no new fact.
if fresh then tell(job, TYPE.progress, now()) end
return 1
