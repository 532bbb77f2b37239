#!lua flags=no-writes
-- Dead letters that are still kept, those given up first in front. ARGV: limit.
-- Answers, for each: delivery id, type, job id, endpoint, tries, last status, last reason, time given up.
local letters, limit = {}, tonumber(ARGV[1])
local listed = redis.call('ZRANGE', KEY.DELIVERIES_DEAD, 0, -1, 'WITHSCORES')
for i = 1, #listed, 2 do
  if #letters >= limit then break end
  local facts = redis.call('HMGET', KEY.DELIVERY .. listed[i],
    'id', 'type', 'job_id', 'endpoint', 'tries', 'last_status', 'last_reason', 'state')
  if facts[8] == 'dead' and is_number(facts[5] or '') then -- else the record has run out, or is spoiled
    facts[1], facts[8] = listed[i], listed[i + 1] -- the delivery's own id: to an endpoint it is not the event's
    letters[#letters + 1] = facts
  end
end
return letters
