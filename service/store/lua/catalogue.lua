#!lua flags=no-writes
-- Every model ever announced: name, spec, live workers, the middle of what its last videos took and their number.
local since = '(' .. stamp(now())
local flat = redis.call('HGETALL', KEY.CATALOGUE)
local entries = {}
for i = 1, #flat, 2 do
  local name, spec = flat[i], flat[i + 1]
  local placed = table_in(spec)
  if placed and placed.pool then -- else somebody has spoiled it by hand: its workers write it again within seconds
    local lane_name = placed.pool .. ':' .. name
    local live = redis.call('ZCOUNT', KEY.SERVING .. lane_name, since, '+inf')
    entries[#entries + 1] = { name, spec, live, renders_told(lane_name) }
  end
end
return entries
