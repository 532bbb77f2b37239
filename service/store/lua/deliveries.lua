#!lua flags=no-writes
-- The deliveries of a tenant's job or endpoint, the newest first. ARGV: tenant, 'job' or 'endpoint', its id, the
-- delivery to go on behind ('' for none), limit. Answers 'missing', 'unknown' (no such delivery to go on behind), or
-- 'found', whether more follow, and records, each as a flat list and the time of the next try.
local tenant, kind, id, after, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local key = KEY.JOB_DELIVERIES .. id
if kind == 'endpoint' then key = KEY.ENDPOINT_DELIVERIES .. id end
local owned = kind == 'job' and load_own(id, tenant) or kind == 'endpoint' and load_endpoint(id, tenant)
if not owned then return { 'missing' } end
local start = 0
if after ~= '' then
  local rank = redis.call('ZREVRANK', key, after)
  if not rank then return { 'unknown' } end
  start = rank + 1
end
local found = {}
for _, each in ipairs(redis.call('ZREVRANGE', key, start, -1)) do
  local letter = hash_at(KEY.DELIVERY .. each)
  if letter and not flaw_of_delivery(letter) then -- else its time is over, or somebody has spoiled it
    if #found == limit then return { 'found', 1, found } end
    local record = redis.call('HGETALL', KEY.DELIVERY .. each)
    found[#found + 1] = { record, redis.call('ZSCORE', KEY.DELIVERIES_DUE, each) or '' }
  end
end
return { 'found', 0, found }
