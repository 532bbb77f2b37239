#!lua flags=no-writes
-- One page of a tenant's jobs, by arrival, without those of newer versions; ARGV[5]: as JSON, the metadata that each of them must have.
local tenant, after, limit, order = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local range, from, to = 'ZRANGEBYSCORE', '-inf', '+inf'
if order == 'desc' then range, from, to = 'ZREVRANGEBYSCORE', '+inf', '-inf' end
local listing = KEY.TENANT_JOBS .. tenant

if after ~= '' then
  -- The job itself may be gone since the page that ended with it; its place is still known.
  local arrival = redis.call('ZSCORE', listing, after) or redis.call('GET', KEY.PLACE .. tenant .. ':' .. after)
  if not arrival then return { 'unknown' } end
  from = '(' .. arrival
end

-- Of several pairs the rarest is walked along, and the others are asked about each job on the way.
local labels = label_keys(tenant, cjson.decode(ARGV[5]))
local rarest = 1
for i, label in ipairs(labels) do
  if redis.call('ZCARD', label) < redis.call('ZCARD', labels[rarest]) then rarest = i end
end
local key = table.remove(labels, rarest) or listing

local function has_all(id)
  for _, label in ipairs(labels) do
    if not redis.call('ZSCORE', label, id) then return false end
  end
  return true
end

-- One more than asked for shows whether there is a next page. Where some may fall out, more are looked at in one go.
local ids, seen = {}, 0
local batch = #labels > 0 and math.max(limit + 1, 256) or limit + 1
repeat
  local some = redis.call(range, key, from, to, 'LIMIT', seen, batch)
  for _, id in ipairs(some) do
    if #ids <= limit and has_all(id) then ids[#ids + 1] = id end
  end
  seen = seen + #some
until #ids > limit or #some < batch
local jobs = {}
for i = 1, math.min(#ids, limit) do
  -- record_of: nothing where somebody has deleted it by hand.
  if not is_left(KEY.JOB .. ids[i]) then jobs[#jobs + 1] = record_of(ids[i]) end
end
return { 'ok', #ids > limit and 1 or 0, jobs }
