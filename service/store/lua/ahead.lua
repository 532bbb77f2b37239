#!lua flags=no-writes
-- For each job id: how many jobs of the same pool and model were queued before it (-1 if it does not wait), and in how
-- many seconds its video should be there: the middle, and what nine of ten keep to.
local t = now()
local ahead = {}
for i, id in ipairs(ARGV) do
  local known = redis.call('HMGET', KEY.JOB .. id, 'pool', 'model', 'work')
  ahead[i] = { foretold({ id = id, pool = known[1], model = known[2], work = known[3] }, t) }
end
return ahead
