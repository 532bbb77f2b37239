#!lua flags=allow-oom
-- A worker goes; what it could make stays in the catalogue.
local worker = ARGV[1]
redis.call('ZREM', KEY.DRAINS, worker)
local known = redis.call('HMGET', KEY.WORKER .. worker, 'pool', 'models')
if not known[1] then return 0 end
redis.call('ZREM', KEY.WORKERS .. known[1], worker)
for model in string.gmatch(known[2], '%S+') do
  redis.call('ZREM', KEY.SERVING .. known[1] .. ':' .. model, worker)
end
redis.call('DEL', KEY.WORKER .. worker)
return 1
