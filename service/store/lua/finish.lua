#!lua flags=allow-oom
-- End the job with an attempt's outcome; asked again, give the same answer. The last part says whether a job of
-- the tenant waits that a cap would let run now: then a worker should be woken for it. ARGV[6]: the seconds of a GPU
-- that the attempt took, '' where nobody knows.
local id, attempt, outcome, body, usage = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local gpu_s = tonumber(ARGV[6])
local job = load_job(id)
if not job or is_broken(id, job) then return { 0, 0, '', 0 } end

if job.state == 'running' and job.attempt == attempt then
  local t, reserved = now(), tonumber(job.reserved or '0')
  if outcome == 'cancelled' or job.cancel_requested == '1' then
    move_to_cancelled(job, t, { winner_attempt = attempt })
  elseif outcome == 'succeeded' then
    move(job, outcome, t, { winner_attempt = attempt, artifact = body, usage = usage, progress = 100 })
    if (job.chosen or '') == '' then learn_eta(job, t) end -- nobody foretells how long a client thinks
  else
    move(job, outcome, t, { winner_attempt = attempt, failure = body })
  end
  if gpu_s then settle_cost(job, gpu_s, t) end
  settle_quota(job, gpu_s and gpu_s * SECOND or reserved)
  -- A later attempt may have found a part of the work done, and would teach a pace that is too good.
  if gpu_s and job.state == 'succeeded' and attempt == '1' then
    learn_pace(job, gpu_s)
    learn_render(job, t)
  end
end

local freed = 0
if redis.call('HEXISTS', KEY.CAPS, job.tenant) == 1 and redis.call('ZSCORE', KEY.TENANTS .. job.pool, job.tenant)
  and room_of(job.tenant) > 0 then
  freed = 1
end

if TERMINAL[job.state] then
  local accepted = job.winner_attempt == attempt and job.state == outcome
  return { accepted and 1 or 0, tonumber(job.winner_attempt), job.state, freed }
end
-- Not ended: either a later attempt has taken this one's place, or the job waits and nothing is decided.
local taken_over = tonumber(job.attempt) > tonumber(attempt)
return { 0, taken_over and tonumber(job.attempt) or 0, job.state, freed }
