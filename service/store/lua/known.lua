#!lua flags=no-writes
-- The job that answers for an idempotency key, before anything but the record is asked.
-- ARGV: tenant, sha256 of the key, digest. Answers {outcome, job id}, or nothing for a key that is not known.
local known = redis.call('HMGET', KEY.IDEMPOTENCY .. ARGV[1] .. ':' .. ARGV[2], 'job', 'digest')
if not known[1] then return {} end
return { known[2] == ARGV[3] and 'existing' or 'conflict', known[1] }
