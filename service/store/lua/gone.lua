#!lua flags=no-writes
-- Whether the tenant had this job, and its retention is over.
return redis.call('EXISTS', KEY.GONE .. ARGV[1] .. ':' .. ARGV[2])
