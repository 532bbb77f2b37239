#!lua flags=allow-oom
-- Moves events from the outbox to delivery records, due at once: one for the URL of the job's request and one for each
-- endpoint of its owner that wants such events. One script, so a crash falls before or behind it, never between; an
-- event that comes twice finds its records and only leaves the outbox.
-- An event that somebody has spoiled by hand leaves the outbox too, untold, and the answer says what was wrong with it.
-- ARGV: limit. Answers: events taken, events left, deliveries due now, deliveries not ended, dead letters, {event id,
-- flaw} of each that was spoiled.
local t = now()

-- The clock was set back: what was due a moment ago would wait for as long as that was, and its webhook with it.
local last = tonumber(redis.call('GET', KEY.RELAYED) or '') or 0
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
    for _, id in ipairs(redis.call('ZRANGE', KEY.ENDPOINTS .. tenant, 0, -1)) do
      if is_left(KEY.ENDPOINT .. id) then
        of_tenant[tenant] = 'left'
        break
      end
      table.insert(of_tenant[tenant], load_endpoint(id)) -- nil where its record is gone: the ones behind it stay
    end
  end
  return of_tenant[tenant]
end

local broken = {}

-- An event of a newer version, and any of an owner with an endpoint of a newer version, waits for a newer notifier:
-- nobody here can tell who wants to hear of it, or in which words.
local function relay(entry)
  local event = {}
  for i = 1, #entry[2], 2 do
    event[entry[2][i]] = entry[2][i + 1]
  end
  if is_newer(event.schema) then return 0 end
  local flaw = flaw_of_letter(event)
  if flaw then
    broken[#broken + 1] = { event.id or '', flaw }
  else
    local endpoints = endpoints_of(event.tenant)
    if endpoints == 'left' then return 0 end
    if not is_none(event.url) then file(entry[2], event, nil, t) end
    for _, endpoint in ipairs(endpoints) do
      if wants(endpoint, event.type) then file(entry[2], event, endpoint, t) end
    end
  end
  redis.call('XDEL', KEY.OUTBOX, entry[1])
  return 1
end

local relayed, seen, from, limit = 0, 0, '-', tonumber(ARGV[1])
repeat
  local entries = redis.call('XRANGE', KEY.OUTBOX, from, '+', 'COUNT', limit)
  for _, entry in ipairs(entries) do
    if relayed < limit then relayed = relayed + relay(entry) end
    from = '(' .. entry[1]
  end
  seen = seen + #entries
until relayed == limit or #entries < limit or seen >= limit + LEFT_SEEN
return {
  relayed,
  redis.call('XLEN', KEY.OUTBOX),
  redis.call('ZCOUNT', KEY.DELIVERIES_DUE, '-inf', stamp(t)),
  redis.call('ZCARD', KEY.DELIVERIES_DUE),
  redis.call('ZCARD', KEY.DELIVERIES_DEAD),
  broken,
}
