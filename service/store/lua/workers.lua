#!lua flags=no-writes
-- Live workers: name, pool, models, attempts held, 1 if told to drain.
local since = '(' .. stamp(now())
local workers = {}
for _, pool in ipairs(redis.call('SMEMBERS', KEY.POOLS)) do
  for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEY.WORKERS .. pool, since, '+inf')) do
    workers[#workers + 1] = {
      worker, pool, redis.call('HGET', KEY.WORKER .. worker, 'models') or '',
      redis.call('SCARD', KEY.HELD .. worker), redis.call('ZSCORE', KEY.DRAINS, worker) and 1 or 0,
    }
  end
end
return workers
