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
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local fields = {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- `tenant` nil: whoever owns it.
local function load_endpoint(id, tenant)
  local endpoint = hash_at(KEY.ENDPOINT .. id)
  if endpoint and (not tenant or endpoint.tenant == tenant) then return refuse_newer(endpoint, 'the endpoint ' .. id) end
  return nil
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
  return endpoint.events == '' or string.find(',' .. endpoint.events .. ',', ',' .. kind .. ',', 1, true) ~= nil
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

-- Make a delivery that has ended due again, with a whole row of tries before it; the webhook-id stays.
local function revive(id, t)
  local record = KEY.DELIVERY .. id
  refuse_newer({ schema = redis.call('HGET', record, 'schema') }, 'the delivery ' .. id)
  -- Counted up as if by a try: a settlement of the last one that is only now sent again must not end this row.
  local tries = redis.call('HINCRBY', record, 'tries', 1)
  redis.call('HSET', record, 'state', 'waiting', 'forgiven', tries)
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
