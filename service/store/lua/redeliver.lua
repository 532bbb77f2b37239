#!lua flags=allow-oom
-- Makes a dead letter due again. ARGV: delivery id. Answers 1; 0 if there is no such dead letter (any more).
if redis.call('HGET', KEY.DELIVERY .. ARGV[1], 'state') ~= 'dead' then return 0 end
revive(ARGV[1], now())
return 1
