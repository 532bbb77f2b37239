#!lua flags=allow-oom
-- A worker is alive and holds these models: name, spec, name, spec, ... Answers 1 if it is to drain.
local worker, pool, alive_s = ARGV[1], ARGV[2], tonumber(ARGV[3])
local until_t = stamp(now() + alive_s)
local models = {}
redis.call('SADD', KEY.POOLS, pool)
redis.call('ZADD', KEY.WORKERS .. pool, until_t, worker)
for i = 4, #ARGV, 2 do
  local model = ARGV[i]
  models[#models + 1] = model
  redis.call('SADD', KEY.POOL_MODELS .. pool, model)
  redis.call('ZADD', KEY.SERVING .. pool .. ':' .. model, until_t, worker)
  redis.call('HSET', KEY.CATALOGUE, model, ARGV[i + 1])
end
redis.call('HSET', KEY.WORKER .. worker, 'pool', pool, 'models', table.concat(models, ' '))
redis.call('PEXPIRE', KEY.WORKER .. worker, math.ceil(alive_s * 1000))
return redis.call('ZSCORE', KEY.DRAINS, worker) and 1 or 0
