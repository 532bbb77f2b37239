#!lua flags=no-writes
-- One page of a tenant's jobs, by arrival.
local tenant, after, limit, order = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local rank_of, range = 'ZRANK', 'ZRANGE'
if order == 'desc' then rank_of, range = 'ZREVRANK', 'ZREVRANGE' end
local key = KEY.TENANT_JOBS .. tenant

local from = 0
if after ~= '' then
  local rank = redis.call(rank_of, key, after)
  if not rank then return { 'unknown' } end
  from = rank + 1
end
-- One more than asked for shows whether there is a next page.
local ids = redis.call(range, key, from, from + limit)
local jobs = {}
for i = 1, math.min(#ids, limit) do jobs[i] = redis.call('HGETALL', KEY.JOB .. ids[i]) end
return { 'ok', #ids > limit and 1 or 0, jobs }
