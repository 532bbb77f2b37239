#!lua
-- Forget an endpoint with its secrets. What waits for it is dropped when its time comes. ARGV: tenant, id.
local endpoint = load_endpoint(ARGV[2], ARGV[1])
if not endpoint then return 0 end
redis.call('DEL', KEY.ENDPOINT .. endpoint.id, KEY.ENDPOINT_DELIVERIES .. endpoint.id)
redis.call('ZREM', KEY.ENDPOINTS .. endpoint.tenant, endpoint.id)
return 1
