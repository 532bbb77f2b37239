#!lua flags=allow-oom
-- Tell live workers to claim no more and to end once their jobs have; without names, all of them.
-- Answers the names that were told.
local t = now()
local since = '(' .. stamp(t)
local asked, told = {}, {}
for _, worker in ipairs(ARGV) do asked[worker] = true end
for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEY.WORKERS .. pool, since, '+inf')) do
    if #ARGV == 0 or asked[worker] then
      redis.call('ZADD', KEY.DRAINS, 'NX', stamp(t), worker)
      told[#told + 1] = worker
    end
  end
end
return told
