#!lua
-- Keep a webhook endpoint. ARGV: id, tenant, url, events by commas ('' for all), description, secret, limit.
-- Answers it as it is shown, or nothing where the tenant has `limit` of them already.
local id, tenant = ARGV[1], ARGV[2]
if not load_endpoint(id) then
  if redis.call('ZCARD', KEY.ENDPOINTS .. tenant) >= tonumber(ARGV[7]) then return {} end
  local t = now()
  redis.call('HSET', KEY.ENDPOINT .. id, 'id', id, 'tenant', tenant, 'url', ARGV[3], 'events', ARGV[4],
    'description', ARGV[5], 'secret', ARGV[6], 'enabled', 1, 'created_at', stamp(t), 'failing_since', '',
    'disabled_at', '', 'disabled_reason', '', 'old_secret', '', 'old_until', '', 'schema', SCHEMA)
  redis.call('ZADD', KEY.ENDPOINTS .. tenant, stamp(t), id)
end
return shown(load_endpoint(id))
