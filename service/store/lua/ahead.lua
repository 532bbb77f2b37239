#!lua flags=no-writes
-- For each job id: how many jobs of the same pool and model were queued before it (-1 if it does not wait), and in how
-- many seconds its video should be there: the middle, and what nine of ten keep to.
local t = now()
local ahead = {}
for i, id in ipairs(ARGV) do
  local job = redis.call('HMGET', KEY.JOB .. id, 'pool', 'model', 'work')
  local place = job[1] and redis.call('ZRANK', KEY.READY .. job[1] .. ':' .. job[2], id)
  if place then
    ahead[i] = { place, eta_told(job[1], job[2], tonumber(job[3] or '1'), place, t) }
  else
    ahead[i] = { -1, '', '' }
  end
end
return ahead
