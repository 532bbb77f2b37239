#!lua flags=allow-oom
-- Takes due deliveries, oldest first, for lease seconds: the next due time IS the lease, so what a killed
-- notifier held comes up again by itself. The number of the try is the fencing token of its settlement.
-- An endpoint never has more than `cap` tries in flight at the caller: a slow receiver delays only itself.
-- What goes to an endpoint of an owner goes to its URL of now, signed with its secrets of now; `closed` says why it
-- must not go at all.
-- What a newer version wrote, or goes to an endpoint that one wrote, stays due for a newer notifier.
-- ARGV: limit, lease_s, cap, then endpoint and tries in flight by turns. Answers: records, each as a flat list.
local LOOK = 1000 -- due deliveries judged per call, so that a flood to one endpoint cannot make it slow
local BROKEN_KEPT_S = 7 * 86400 -- as long as other dead letters by default
local t = now()
local limit, lease, cap = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local in_flight = {}
for i = 4, #ARGV, 2 do
  in_flight[ARGV[i]] = tonumber(ARGV[i + 1])
end
local of_endpoint = {}
local function address(endpoint_id, kind)
  of_endpoint[endpoint_id] = of_endpoint[endpoint_id] or load_endpoint(endpoint_id) or {}
  local endpoint = of_endpoint[endpoint_id]
  if not endpoint.id then return nil, { 'closed', 'the endpoint was deleted' } end
  if endpoint.enabled ~= '1' and kind ~= PING then return nil, { 'closed', 'the endpoint is disabled' } end
  local secrets, host = endpoint.secret, endpoint_of(endpoint.url)
  if (tonumber(endpoint.old_until) or 0) > t then
    secrets = secrets .. ' ' .. endpoint.old_secret
  end
  return host, { 'url', endpoint.url, 'endpoint', host, 'secrets', secrets }
end
-- Whether no try can come to anything, as somebody has spoiled the record by hand: then it is a dead letter, for people
-- to see.
local function given_up(id)
  local flaw = flaw_of_delivery(hash_at(KEY.DELIVERY .. id))
  if not flaw then return false end
  local reason = 'its record is broken: ' .. flaw
  redis.call('HSET', KEY.DELIVERY .. id, 'state', 'dead', 'tries', 0, 'last_reason', reason)
  redis.call('EXPIRE', KEY.DELIVERY .. id, BROKEN_KEPT_S)
  redis.call('ZREM', KEY.DELIVERIES_DUE, id)
  redis.call('ZADD', KEY.DELIVERIES_DEAD, stamp(t), id)
  return true
end

local taken, passed_over = {}, {}
local due = redis.call('ZRANGEBYSCORE', KEY.DELIVERIES_DUE, '-inf', stamp(t), 'LIMIT', 0, LOOK)
for _, id in ipairs(due) do
  if #taken >= limit then
    break
  end
  local record = KEY.DELIVERY .. id
  local facts = redis.pcall('HMGET', record, 'endpoint', 'endpoint_id', 'type', 'schema') -- no hash: no record either
  local endpoint, newest, left = facts[1] or facts[3], {}, is_newer(facts[4])
  local owned = (facts[2] or '') ~= ''
  if endpoint and owned then left = left or is_left(KEY.ENDPOINT .. facts[2]) end
  if endpoint and owned and not left then
    local host, found = address(facts[2], facts[3])
    endpoint, newest = host or endpoint, found
  end
  if not endpoint then
    redis.call('ZREM', KEY.DELIVERIES_DUE, id)
  elseif left or (in_flight[endpoint] or 0) >= cap then
    passed_over[#passed_over + 1] = id
  elseif not given_up(id) then
    in_flight[endpoint] = (in_flight[endpoint] or 0) + 1
    redis.call('HINCRBY', record, 'tries', 1)
    redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t + lease), id)
    local fields = redis.call('HGETALL', record)
    for _, part in ipairs(newest) do
      fields[#fields + 1] = part
    end
    fields[#fields + 1] = 'traceparent'
    local job = load_job(redis.call('HGET', record, 'job_id'))
    fields[#fields + 1] = job and job.traceparent or ''
    taken[#taken + 1] = fields
  end
end
-- Others may lie behind the end of the look: the next one must begin with them. What is passed over stays due.
if #due == LOOK and #taken < limit then
  for _, id in ipairs(passed_over) do
    redis.call('ZADD', KEY.DELIVERIES_DUE, stamp(t), id)
  end
end
return taken
