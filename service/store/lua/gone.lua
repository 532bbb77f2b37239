#!lua flags=no-writes
-- Whether the tenant had this job, and its retention is over; with an empty tenant, whether anybody had it.
return redis.call('EXISTS', KEY.GONE .. ARGV[1] .. ':' .. ARGV[2])
