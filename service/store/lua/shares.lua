#!lua flags=no-writes
-- Every tenant with a share of its own or a running job: tenant, weight, cap ('' for none), running.
local seen, shares = {}, {}
for _, key in ipairs({ KEY.WEIGHTS, KEY.CAPS, KEY.RUNNING }) do
  for _, tenant in ipairs(redis.call('HKEYS', key)) do
    if not seen[tenant] then
      seen[tenant] = true
      shares[#shares + 1] = {
        tenant, redis.call('HGET', KEY.WEIGHTS, tenant) or '1', redis.call('HGET', KEY.CAPS, tenant) or '',
        tonumber(redis.call('HGET', KEY.RUNNING, tenant) or '0'),
      }
    end
  end
end
return shares
