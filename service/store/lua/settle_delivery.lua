#!lua flags=allow-oom
-- Writes what came of one try. Only the newest try may write, and a repeat of it changes nothing.
-- An endpoint that wants no more (410), or that has failed for `patience` seconds without one success, is disabled here.
-- ARGV: delivery id, try, verdict, delay_s, HTTP status, reason, keep_s, patience.
-- Answers 1, 2 if that disabled the endpoint, or 0 if the try is an old one.
local id, try, verdict = ARGV[1], ARGV[2], ARGV[3]
local t, keep = now(), tonumber(ARGV[7])
local record = KEY.DELIVERY .. id
local stands = redis.call('HMGET', record, 'state', 'tries', 'log', 'endpoint_id')
if stands[2] ~= try then
  return 0
end
if stands[1] ~= 'waiting' then
  return stands[1] == verdict and 1 or 0
end
local tried = list_of_tables(stands[3] or '') and cjson.decode(stands[3]) or {}
if #tried > 0 and tried[#tried].try == tonumber(try) then table.remove(tried) end -- told again: its reply was lost
tried[#tried + 1] = { try = tonumber(try), at = t, verdict = verdict, status = tonumber(ARGV[5]), reason = ARGV[6] }
if #tried > TRIES_LOGGED then table.remove(tried, 1) end
redis.call('HSET', record, 'log', cjson.encode(tried), 'last_status', ARGV[5], 'last_reason', ARGV[6], 'tried_at', stamp(t))

local answer = 1
local endpoint = (stands[4] or '') ~= '' and load_endpoint(stands[4])
if endpoint and endpoint.enabled == '1' then
  if verdict == 'delivered' then
    redis.call('HSET', KEY.ENDPOINT .. endpoint.id, 'failing_since', '')
  elseif verdict == 'gone' then
    disable(endpoint, 'gone', t)
    answer = 2
  elseif verdict ~= 'dropped' and endpoint.failing_since == '' then
    redis.call('HSET', KEY.ENDPOINT .. endpoint.id, 'failing_since', stamp(t))
  elseif verdict ~= 'dropped' and t - tonumber(endpoint.failing_since) >= tonumber(ARGV[8]) then
    disable(endpoint, 'failing', t)
    answer = 2
  end
end

if verdict == 'retry' then
  redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t + tonumber(ARGV[4])), id)
  return answer
end
redis.call('HSET', record, 'state', verdict)
redis.call('EXPIRE', record, math.ceil(keep))
redis.call('ZREM', KEY.DELIVERIES_DUE, id)
if verdict == 'dead' then
  redis.call('ZADD', KEY.DELIVERIES_DEAD, stamp(t), id)
end
-- Their records have expired by now.
redis.call('ZREMRANGEBYSCORE', KEY.DELIVERIES_DEAD, '-inf', stamp(t - keep))
return answer
