#!lua flags=no-writes
-- What remains of the tenant's job whose retention is over; with an empty tenant, '' if anybody had it.
return redis.call('GET', KEY.GONE .. ARGV[1] .. ':' .. ARGV[2])
