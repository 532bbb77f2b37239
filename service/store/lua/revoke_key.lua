#!lua flags=allow-oom
-- Forget the key of this id, but for its digest: the next request that brings it is refused, and so is keeping it
-- again.
local id = ARGV[1]
local flat = redis.call('HGETALL', KEY.API_KEYS)
for n = 1, #flat, 2 do
  if string.match(flat[n + 1], '^%S+') == id then
    redis.call('HDEL', KEY.API_KEYS_USED, flat[n])
    redis.call('SADD', KEY.API_KEYS_REVOKED, flat[n])
    return redis.call('HDEL', KEY.API_KEYS, flat[n])
  end
end
return 0
