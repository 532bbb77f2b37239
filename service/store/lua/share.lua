#!lua flags=allow-oom
-- Set a tenant's share: ARGV tenant, weight ('' keeps it), running cap ('' keeps it, 'none' lifts it).
local tenant, weight, cap = ARGV[1], ARGV[2], ARGV[3]
if weight ~= '' then redis.call('HSET', KEY.WEIGHTS, tenant, weight) end
if tonumber(weight) == 1 then redis.call('HDEL', KEY.WEIGHTS, tenant) end -- what everybody has
if cap == 'none' then
  redis.call('HDEL', KEY.CAPS, tenant)
elseif cap ~= '' then
  redis.call('HSET', KEY.CAPS, tenant, cap)
end
return 1
