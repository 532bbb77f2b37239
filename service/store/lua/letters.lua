-- Shared by every script, behind prelude.lua: webhook endpoints of owners, and deliveries, to them and to the URL of
-- a request. A delivery's id is its webhook-id: the event's, with the endpoint's behind it where there is one.

local LISTED = 1000 -- deliveries of an endpoint that its owner can look up
local TRIES_LOGGED = 20
local PING = 'webhook_endpoint.ping'

-- Scheme, host and port: what a receiver that is slow or away has in common. Never the password of a URL.
local function endpoint_of(url)
  local scheme, authority = string.match(string.lower(url), '^(%a+://)([^/?#]*)')
  return (scheme or '') .. string.gsub(authority or '', '^.*@', '')
end

local function hash_at(key)
  if redis.call('TYPE', key).ok ~= 'hash' then return nil end
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- `tenant` nil: whoever owns it. One that somebody has spoiled by hand counts as deleted: it must not stop the others.
local function load_endpoint(id, tenant)
  local endpoint = hash_at(KEY.ENDPOINT .. id)
  if not endpoint or (tenant and endpoint.tenant ~= tenant) then return nil end
  refuse_newer(endpoint, 'the endpoint ' .. id)
  if endpoint.id ~= id or not (endpoint.tenant and endpoint.url and endpoint.secret) then return nil end
  for _, name in ipairs({ 'events', 'old_secret', 'old_until', 'failing_since' }) do
    endpoint[name] = endpoint[name] or ''
  end
  return endpoint
end

-- The endpoint as it may be shown: its secrets stay here.
local function shown(endpoint)
  local flat = {}
  for name, value in pairs(endpoint) do
    if name ~= 'secret' and name ~= 'old_secret' then
      flat[#flat + 1] = name
      flat[#flat + 1] = value
    end
  end
  return flat
end

local function wants(endpoint, kind)
  if endpoint.enabled ~= '1' then return false end
  return wished(endpoint.events, kind)
end

-- Write a delivery that is due at once; one that exists already stays as it is. `entry` is the event as a flat list,
-- `endpoint` nil where the event goes to its own url. Answers its id.
local function file(entry, event, endpoint, t)
  local id, url = event.id, event.url
  if endpoint then id, url = event.id .. '_' .. endpoint.id, endpoint.url end
  local record = KEY.DELIVERY .. id
  if redis.call('EXISTS', record) == 1 then return id end
  redis.call('HSET', record, unpack(entry))
  redis.call('HSET', record, 'schema', SCHEMA, 'delivery', id, 'url', url, 'endpoint', endpoint_of(url), 'state', 'waiting',
    'tries', 0, 'endpoint_id', endpoint and endpoint.id or '', 'filed_at', stamp(t))
  redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t), id)
  if redis.call('EXISTS', KEY.JOB .. event.job_id) == 1 then
    redis.call('ZADD', KEY.JOB_DELIVERIES .. event.job_id, stamp(t), id)
  end
  if endpoint then
    redis.call('ZADD', KEY.ENDPOINT_DELIVERIES .. endpoint.id, stamp(t), id)
    redis.call('ZREMRANGEBYRANK', KEY.ENDPOINT_DELIVERIES .. endpoint.id, 0, -LISTED - 1)
  end
  return id
end

-- What keeps a delivery from being sent, or an event from being filed, in a few words: somebody has spoiled it by hand.
local function flaw_of_letter(letter)
  for _, name in ipairs({ 'id', 'type', 'job_id', 'tenant' }) do
    if is_none(letter[name]) then return name .. ' is missing' end
  end
  if not string.match(letter.seq or '', '^%d+$') then return 'seq is no count' end
  if not is_number(letter.created_at) then return 'created_at is no number' end
  if not is_object(letter.data) then return 'data is no JSON object' end
  return nil
end

-- The same of a delivery's record.
local function flaw_of_delivery(letter)
  if is_none(letter.url) or is_none(letter.endpoint) then return 'url or endpoint is missing' end
  for _, name in ipairs({ 'tries', 'forgiven' }) do
    if not string.match(letter[name] or '0', '^%d+$') then return name .. ' is no count' end
  end
  if not list_of_tables(letter.log or '[]') then return 'log is no list of tries' end
  return flaw_of_letter(letter)
end

-- Make a delivery that has ended due again, with a whole row of tries before it; the webhook-id stays.
local function revive(id, t)
  local record = KEY.DELIVERY .. id
  refuse_newer({ schema = redis.call('HGET', record, 'schema') }, 'the delivery ' .. id)
  -- Counted up as if by a try: a settlement of the last one that is only now sent again must not end this row.
  local tries = (tonumber(redis.call('HGET', record, 'tries')) or 0) + 1
  redis.call('HSET', record, 'state', 'waiting', 'tries', tries, 'forgiven', tries)
  redis.call('PERSIST', record)
  redis.call('ZREM', KEY.DELIVERIES_DEAD, id)
  redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t), id)
end

-- Send an endpoint nothing more, and let the owner's other endpoints hear of it.
local function disable(endpoint, reason, t)
  redis.call('HSET', KEY.ENDPOINT .. endpoint.id, 'enabled', 0, 'disabled_reason', reason, 'disabled_at', stamp(t))
  local facts = { id = endpoint.id, url = endpoint.url, reason = reason, failing_since = tonumber(endpoint.failing_since) }
  redis.call('XADD', KEY.OUTBOX, '*', 'id', 'evt_' .. endpoint.id .. '_' .. string.format('%d', t * 1000), 'seq', 0,
    'type', 'webhook_endpoint.disabled', 'job_id', endpoint.id, 'tenant', endpoint.tenant, 'created_at', stamp(t),
    'data', cjson.encode(facts), 'schema', SCHEMA, 'url', '')
end
