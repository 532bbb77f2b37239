#!lua flags=allow-oom
-- Takes due deliveries, oldest first, for lease seconds: the next due time IS the lease, so what a killed
-- notifier held comes up again by itself. The number of the try is the fencing token of its settlement.
-- An endpoint never has more than `cap` tries in flight at the caller: a slow receiver delays only itself.
-- ARGV: limit, lease_s, cap, then endpoint and tries in flight by turns. Answers: records, each as a flat list.
local LOOK = 1000 -- due deliveries judged per call, so that a flood to one endpoint cannot make it slow
local t = now()
local limit, lease, cap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local in_flight = {}
for i = 4, #ARGV, 2 do
  in_flight[ARGV[i]] = tonumber(ARGV[i + 1])
end
local taken, passed_over = {}, {}
local due = redis.call('ZRANGEBYSCORE', KEY.DELIVERIES_DUE, '-inf', stamp(t), 'LIMIT', 0, LOOK)
for _, id in ipairs(due) do
  if #taken >= limit then
    break
  end
  local record = KEY.DELIVERY .. id
  local endpoint = redis.call('HGET', record, 'endpoint')
  if not endpoint then
    redis.call('ZREM', KEY.DELIVERIES_DUE, id)
  elseif (in_flight[endpoint] or 0) < cap then
    in_flight[endpoint] = (in_flight[endpoint] or 0) + 1
    redis.call('HINCRBY', record, 'tries', 1)
    redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t + lease), id)
    taken[#taken + 1] = redis.call('HGETALL', record)
  else
    passed_over[#passed_over + 1] = id
  end
end
-- Others may lie behind the end of the look: the next one must begin with them. What is passed over stays due.
if #due == LOOK and #taken < limit then
  for _, id in ipairs(passed_over) do
    redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t), id)
  end
end
return taken
