#!lua flags=no-writes
-- The tenant's webhook endpoints, the oldest first and without those of newer versions, or the one with the id ARGV[2].
-- ARGV: tenant, id or ''.
local found, ids = {}, { ARGV[2] }
if ARGV[2] == '' then ids = redis.call('ZRANGE', KEY.ENDPOINTS .. ARGV[1], 0, -1) end
for _, id in ipairs(ids) do
  local left = ARGV[2] == '' and is_left(KEY.ENDPOINT .. id)
  local endpoint = not left and load_endpoint(id, ARGV[1])
  if endpoint then found[#found + 1] = shown(endpoint) end
end
return found
