#!lua flags=allow-oom
-- End the job with an attempt's outcome; asked again, give the same answer.
local id, attempt, outcome, body, usage = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load_job(id)
if not job then return { 0, 0, '' } end

if job.state == 'running' and job.attempt == attempt then
  local t = now()
  if outcome == 'cancelled' or job.cancel_requested == '1' then
    move_to_cancelled(job, t, { winner_attempt = attempt })
  elseif outcome == 'succeeded' then
    move(job, outcome, t, { winner_attempt = attempt, artifact = body, usage = usage, progress = 100 })
  else
    move(job, outcome, t, { winner_attempt = attempt, failure = body })
  end
end

if TERMINAL[job.state] then
  local accepted = job.winner_attempt == attempt and job.state == outcome
  return { accepted and 1 or 0, tonumber(job.winner_attempt), job.state }
end
-- Not ended: either a later attempt has taken this one's place, or the job waits and nothing is decided.
local taken_over = tonumber(job.attempt) > tonumber(attempt)
return { 0, taken_over and tonumber(job.attempt) or 0, job.state }
