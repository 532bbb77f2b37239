#!lua
-- Change an endpoint. ARGV: tenant, id, then names and values by turns. Answers it, or nothing.
local endpoint = load_endpoint(ARGV[2], ARGV[1])
if not endpoint then return {} end
local key, t = KEY.ENDPOINT .. endpoint.id, now()
for i = 3, #ARGV, 2 do
  local name, value = ARGV[i], ARGV[i + 1]
  redis.call('HSET', key, name, value)
  if name == 'enabled' and value == '1' or name == 'url' and value ~= endpoint.url then
    redis.call('HSET', key, 'failing_since', '') -- what failed before says nothing of what comes
  end
  if name == 'enabled' and value == '1' then
    redis.call('HSET', key, 'disabled_at', '', 'disabled_reason', '')
  elseif name == 'enabled' and endpoint.enabled == '1' then
    redis.call('HSET', key, 'disabled_at', stamp(t), 'disabled_reason', 'owner')
  end
end
return shown(load_endpoint(endpoint.id))
