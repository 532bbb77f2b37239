#!lua flags=allow-oom
-- Moves events from the outbox to delivery records, due at once. One script, so a crash falls before or
-- behind it, never between; an event that comes twice finds its record and only leaves the outbox.
-- ARGV: limit. Answers: events taken, events left, deliveries due now, deliveries not ended, dead letters.
local t = now()

-- The clock was set back: what was due a moment ago would wait for as long as that was, and its webhook with it.
local last = tonumber(redis.call('GET', KEY.RELAYED) or '0')
if t < last then
  local waiting = redis.call('ZRANGE', KEY.DELIVERIES_DUE, 0, -1, 'WITHSCORES')
  for i = 1, #waiting, 2 do
    redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(tonumber(waiting[i + 1]) - (last - t)), waiting[i])
  end
end
redis.call('SET', KEY.RELAYED, stamp(t))

-- Scheme, host and port: what a receiver that is slow or away has in common. Never the password of a URL.
local function endpoint_of(url)
  local scheme, authority = string.match(string.lower(url), '^(%a+://)([^/?#]*)')
  return (scheme or '') .. string.gsub(authority or '', '^.*@', '')
end

local entries = redis.call('XRANGE', KEY.OUTBOX, '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
  local event = {}
  for i = 1, #entry[2], 2 do
    event[entry[2][i]] = entry[2][i + 1]
  end
  local record = KEY.DELIVERY .. event.id
  if redis.call('EXISTS', record) == 0 then
    redis.call('HSET', record, unpack(entry[2]))
    redis.call('HSET', record, 'endpoint', endpoint_of(event.url), 'state', 'waiting', 'tries', 0)
    redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t), event.id)
  end
  redis.call('XDEL', KEY.OUTBOX, entry[1])
end
return {
  #entries,
  redis.call('XLEN', KEY.OUTBOX),
  redis.call('ZCOUNT', KEY.DELIVERIES_DUE, '-inf', stamp(t)),
  redis.call('ZCARD', KEY.DELIVERIES_DUE),
  redis.call('ZCARD', KEY.DELIVERIES_DEAD),
}
