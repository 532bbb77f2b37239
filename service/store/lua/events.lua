#!lua flags=no-writes
-- The kept events of a tenant's job behind a given seq.
local id, tenant, after, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if not load_own(id, tenant) then return {} end
return redis.call('XRANGE', KEY.EVENTS .. id, '(' .. after .. '-0', '+', 'COUNT', limit)
