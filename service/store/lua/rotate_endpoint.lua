#!lua
-- Give an endpoint a new secret; the one before signs too for overlap seconds. ARGV: tenant, id, secret, overlap.
-- Answers the endpoint, or nothing.
local endpoint = load_endpoint(ARGV[2], ARGV[1])
if not endpoint then return {} end
if endpoint.secret ~= ARGV[3] then
  redis.call('HSET', KEY.ENDPOINT .. endpoint.id, 'secret', ARGV[3], 'old_secret', endpoint.secret,
    'old_until', stamp(now() + tonumber(ARGV[4])))
end
return shown(load_endpoint(endpoint.id))
