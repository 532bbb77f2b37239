#!lua flags=allow-oom
-- Renew leases; one answer per attempt, in order.
local worker, lease_s = ARGV[1], tonumber(ARGV[2])
local until_t = stamp(now() + lease_s)
local answers = {}
for i = 3, #ARGV do
  local answer = 'lost'
  if redis.call('ZSCORE', KEY.LEASES, ARGV[i]) then
    local job = load_job(string.match(ARGV[i], '^(.*)|'))
    if job and job.worker == worker then
      redis.call('ZADD', KEY.LEASES, 'XX', until_t, ARGV[i])
      answer = job.cancel_requested == '1' and 'cancel' or 'ok'
    end
  end
  answers[#answers + 1] = answer
end
return answers
