#!lua flags=allow-oom
-- Makes a delivery of the tenant due again if it has ended. ARGV: tenant, delivery id.
-- Answers its record and the time of its next try; nothing if the tenant has no such delivery (any more).
local record = KEY.DELIVERY .. ARGV[2]
local stands = redis.call('HMGET', record, 'tenant', 'state')
if stands[1] ~= ARGV[1] then return {} end
if stands[2] ~= 'waiting' then revive(ARGV[2], now()) end
return { redis.call('HGETALL', record), redis.call('ZSCORE', KEY.DELIVERIES_DUE, ARGV[2]) or '' }
