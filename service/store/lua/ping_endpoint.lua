#!lua
-- Send an endpoint a test event, whether it is enabled or not. ARGV: tenant, id, the name of this ping.
-- Answers the delivery and the time of its next try, or nothing.
local endpoint = load_endpoint(ARGV[2], ARGV[1])
if not endpoint then return {} end
local t = now()
local event = { id = 'evt_ping_' .. ARGV[3], job_id = endpoint.id, url = '' }
local id = file({ 'id', event.id, 'seq', 0, 'type', PING, 'job_id', endpoint.id, 'tenant', endpoint.tenant,
  'created_at', stamp(t), 'data', cjson.encode({ id = endpoint.id, description = endpoint.description }) },
  event, endpoint, t)
return { redis.call('HGETALL', KEY.DELIVERY .. id), redis.call('ZSCORE', KEY.DELIVERIES_DUE, id) or '' }
