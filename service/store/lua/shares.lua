#!lua flags=no-writes
-- Every tenant with a share of its own or a running job, and those that took most of the GPUs of late: tenant, weight,
-- cap ('' for none), running, and then each pool of which it took something, with its share of it.
local seen, shares, pools = {}, {}, redis.call('SMEMBERS', KEY.POOLS)
local function look(tenants)
  for _, tenant in ipairs(tenants) do
    if not seen[tenant] then
      seen[tenant] = true
      local row = {
        tenant, redis.call('HGET', KEY.WEIGHTS, tenant) or '1', redis.call('HGET', KEY.CAPS, tenant) or '',
        tonumber(redis.call('HGET', KEY.RUNNING, tenant) or '0'),
      }
      for _, pool in ipairs(pools) do
        local share = share_of(tenant, pool)
        if share > 0 then
          row[#row + 1] = pool
          row[#row + 1] = stamp(share)
        end
      end
      shares[#shares + 1] = row
    end
  end
end
for _, key in ipairs({ KEY.WEIGHTS, KEY.CAPS, KEY.RUNNING }) do look(redis.call('HKEYS', key)) end
for _, pool in ipairs(pools) do look(foremost_in(pool)) end
return shares
