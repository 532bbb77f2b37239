#!lua flags=allow-oom
-- Makes a dead letter due again, with a whole row of tries before it. ARGV: event id.
-- Answers 1; 0 if there is no such dead letter (any more).
local id = ARGV[1]
local record = KEY.DELIVERY .. id
if redis.call('HGET', record, 'state') ~= 'dead' then return 0 end
-- Counted up as if by a try: a settlement of the last one that is only now sent again must not end this row.
local tries = redis.call('HINCRBY', record, 'tries', 1)
redis.call('HSET', record, 'state', 'waiting', 'forgiven', tries)
redis.call('PERSIST', record)
redis.call('ZREM', KEY.DELIVERIES_DEAD, id)
redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(now()), id)
return 1
