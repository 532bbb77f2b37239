#!lua flags=allow-oom
-- Makes the ended deliveries of an endpoint due again that were first due within a range of time.
-- ARGV: tenant, endpoint, since, until, 1 to leave out what was delivered. Answers how many; -1: no such endpoint,
-- -2: it is disabled.
local endpoint = load_endpoint(ARGV[2], ARGV[1])
if not endpoint then return -1 end
if endpoint.enabled ~= '1' then return -2 end
local t, count = now(), 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.ENDPOINT_DELIVERIES .. endpoint.id, ARGV[3], ARGV[4])) do
  local state = redis.call('HGET', KEY.DELIVERY .. id, 'state')
  local ended = state and state ~= 'waiting' and not (state == 'delivered' and ARGV[5] == '1')
  if ended and not is_left(KEY.DELIVERY .. id) then
    revive(id, t)
    count = count + 1
  end
end
return count
