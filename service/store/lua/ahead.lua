#!lua flags=no-writes
-- For each job id: how many jobs of the same pool and model were queued before it, -1 if it does not wait.
local ahead = {}
for i, id in ipairs(ARGV) do
  local lane = redis.call('HMGET', KEY.JOB .. id, 'pool', 'model')
  local place = lane[1] and redis.call('ZRANK', KEY.READY .. lane[1] .. ':' .. lane[2], id)
  ahead[i] = place or -1
end
return ahead
