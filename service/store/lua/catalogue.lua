#!lua flags=no-writes
-- Every model ever announced: name, spec, live workers.
local since = '(' .. stamp(now())
local flat = redis.call('HGETALL', KEY.CATALOGUE)
local entries = {}
for i = 1, #flat, 2 do
  local name, spec = flat[i], flat[i + 1]
  local serving = KEY.SERVING .. cjson.decode(spec).pool .. ':' .. name
  entries[#entries + 1] = { name, spec, redis.call('ZCOUNT', serving, since, '+inf') }
end
return entries
