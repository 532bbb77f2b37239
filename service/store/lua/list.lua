#!lua flags=no-writes
-- One page of a tenant's jobs, by arrival.
local tenant, after, limit, order = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local range, from, to = 'ZRANGEBYSCORE', '-inf', '+inf'
if order == 'desc' then range, from, to = 'ZREVRANGEBYSCORE', '+inf', '-inf' end
local key = KEY.TENANT_JOBS .. tenant

if after ~= '' then
  -- The job itself may be gone since the page that ended with it; its place is still known.
  local arrival = redis.call('ZSCORE', key, after) or redis.call('GET', KEY.PLACE .. tenant .. ':' .. after)
  if not arrival then return { 'unknown' } end
  from = '(' .. arrival
end
-- One more than asked for shows whether there is a next page.
local ids = redis.call(range, key, from, to, 'LIMIT', 0, limit + 1)
local jobs = {}
for i = 1, math.min(#ids, limit) do jobs[i] = redis.call('HGETALL', KEY.JOB .. ids[i]) end
return { 'ok', #ids > limit and 1 or 0, jobs }
