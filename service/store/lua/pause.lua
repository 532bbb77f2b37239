#!lua flags=allow-oom
-- Close a gate ('intake' or 'pool:<name>') with a reason, or open it (no reason). Answers 1 if that changed it.
-- A gate that is closed already keeps its time and takes the new reason.
local gate, reason = ARGV[1], ARGV[2]
local before = paused(gate)
if reason == '' then return redis.call('HDEL', KEY.PAUSES, gate) end
local since = before and cjson.decode(before).since or stamp(now())
redis.call('HSET', KEY.PAUSES, gate, cjson.encode({ reason = reason, since = since }))
return before and 0 or 1
