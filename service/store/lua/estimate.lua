#!lua flags=no-writes
-- What a video of a model would cost and when it would be there if it were asked for now. ARGV: pool, model, work.
local pool, model, work = ARGV[1], ARGV[2], tonumber(ARGV[3])
local t = now()
local name = pool .. ':' .. model
local pace = tonumber(redis.call('HGET', KEY.PACES, name))
local ahead = redis.call('ZCARD', KEY.READY .. name)
return { ahead, pace and stamp(pace * work) or '', eta_told(pool, model, work, ahead, t) }
