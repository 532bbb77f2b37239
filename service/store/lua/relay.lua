#!lua flags=allow-oom
-- Moves events from the outbox to delivery records, due at once: one for the URL of the job's request and one for each
-- endpoint of its owner that wants such events. One script, so a crash falls before or behind it, never between; an
-- event that comes twice finds its records and only leaves the outbox.
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

local of_tenant = {}
local function endpoints_of(tenant)
  if not of_tenant[tenant] then
    of_tenant[tenant] = {}
    for n, id in ipairs(redis.call('ZRANGE', KEY.ENDPOINTS .. tenant, 0, -1)) do
      of_tenant[tenant][n] = load_endpoint(id)
    end
  end
  return of_tenant[tenant]
end

local entries = redis.call('XRANGE', KEY.OUTBOX, '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
  local event = {}
  for i = 1, #entry[2], 2 do
    event[entry[2][i]] = entry[2][i + 1]
  end
  if event.url ~= '' then file(entry[2], event, nil, t) end
  for _, endpoint in ipairs(endpoints_of(event.tenant)) do
    if wants(endpoint, event.type) then file(entry[2], event, endpoint, t) end
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
