#!lua flags=allow-oom
-- Writes what came of one try. Only the newest try may write, and a repeat of it changes nothing.
-- ARGV: event id, try, verdict, delay_s, HTTP status, reason, keep_s. Answers 1, or 0 if the try is an old one.
local id, try, verdict = ARGV[1], ARGV[2], ARGV[3]
local t, keep = now(), tonumber(ARGV[7])
local record = KEY.DELIVERY .. id
local stands = redis.call('HMGET', record, 'state', 'tries')
if stands[2] ~= try then
  return 0
end
if stands[1] ~= 'waiting' then
  return stands[1] == verdict and 1 or 0
end
redis.call('HSET', record, 'last_status', ARGV[5], 'last_reason', ARGV[6], 'tried_at', stamp(t))
if verdict == 'retry' then
  redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t + tonumber(ARGV[4])), id)
  return 1
end
redis.call('HSET', record, 'state', verdict)
redis.call('EXPIRE', record, math.ceil(keep))
redis.call('ZREM', KEY.DELIVERIES_DUE, id)
if verdict == 'dead' then
  redis.call('ZADD', KEY.DELIVERIES_DEAD, stamp(t), id)
end
-- Their records have expired by now.
redis.call('ZREMRANGEBYSCORE', KEY.DELIVERIES_DEAD, '-inf', stamp(t - keep))
return 1
