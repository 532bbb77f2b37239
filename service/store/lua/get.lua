#!lua flags=no-writes
-- The record as its owner sees it; with an empty tenant, the record as it is.
local id, tenant = ARGV[1], ARGV[2]
if tenant == '' then load_job(id) elseif not load_own(id, tenant) then return {} end
return redis.call('HGETALL', KEY.JOB .. id)
