#!lua flags=no-writes
-- Every API key, with the time of its last use.
local found = {}
local flat = redis.call('HGETALL', KEY.API_KEYS)
for n = 1, #flat, 2 do
  found[#found + 1] = { flat[n + 1], redis.call('HGET', KEY.API_KEYS_USED, flat[n]) or '' }
end
return found
