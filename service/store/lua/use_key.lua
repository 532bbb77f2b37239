#!lua flags=allow-oom
-- Who holds this key? Notes that it was used, once in so many seconds: most requests write nothing.
local digest, every_s = ARGV[1], tonumber(ARGV[2])
local record = redis.call('HGET', KEY.API_KEYS, digest)
if not record then return {} end
local t, used = now(), redis.call('HGET', KEY.API_KEYS_USED, digest)
if not used or math.abs(t - tonumber(used)) >= every_s then
  used = stamp(t)
  redis.call('HSET', KEY.API_KEYS_USED, digest, used)
end
return { record, used }
