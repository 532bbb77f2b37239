-- Shared by every script, between costs.lua and flaws.lua: what a tenant has used of its quotas.

local TORN_SEEN = 20 -- how many jobs in hand a refusal looks at, for records that somebody deleted by hand

-- The tenant's limit: its own, or else everybody's as the gateway sent it. nil: none.
local function limit_of(quota, tenant, everybodys)
  return tonumber(redis.call('HGET', KEY.QUOTAS, quota .. ':' .. tenant) or everybodys) -- 'none' is no number
end

-- What was used in the tenant's current window: a window's name, accepted jobs, GPU time (SECOND a second).
local function used_by(tenant)
  local used = redis.call('HMGET', KEY.QUOTA_USED .. tenant, 'window', 'requests', 'gpu')
  return used[1], tonumber(used[2] or '0'), tonumber(used[3] or '0')
end

local function jobs_in_hand(tenant) return redis.call('SCARD', KEY.IN_HAND .. tenant) end

local function forget_torn(tenant)
  for _, id in ipairs(redis.call('SRANDMEMBER', KEY.IN_HAND .. tenant, TORN_SEEN)) do
    if redis.call('EXISTS', KEY.JOB .. id) == 0 then redis.call('SREM', KEY.IN_HAND .. tenant, id) end
  end
end

-- Which quota a job of so much GPU time would pass, if any: {quota, used, limit, wanted, end of the window or ''}.
local function quota_passed(tenant, gpu, limits)
  local window, requests, spent = used_by(tenant)
  if window ~= limits.window then requests, spent = 0, 0 end
  local most = limit_of('concurrent_jobs', tenant, limits.concurrent_jobs)
  if most and jobs_in_hand(tenant) >= most then
    local seen = jobs_in_hand(tenant)
    forget_torn(tenant)
    if jobs_in_hand(tenant) >= most then
      return { 'concurrent_jobs', whole(seen), whole(most), '1', '' }
    end
  end
  most = limit_of('requests', tenant, limits.requests)
  if most and requests >= most then
    return { 'requests', whole(requests), whole(most), '1', stamp(limits.resets_at) }
  end
  most = limit_of('gpu_seconds', tenant, limits.gpu_seconds)
  if most and spent + gpu > most * SECOND then
    return { 'gpu_seconds', stamp(spent / SECOND), stamp(most), stamp(gpu / SECOND), stamp(limits.resets_at) }
  end
end

-- The job is accepted: it counts, and its GPU time is set aside.
local function count_job(job, limits, t)
  local key = KEY.QUOTA_USED .. job.tenant
  redis.call('SADD', KEY.IN_HAND .. job.tenant, job.id)
  if redis.call('HGET', key, 'window') ~= limits.window then
    redis.call('DEL', key)
    redis.call('HSET', key, 'window', limits.window)
    redis.call('EXPIRE', key, math.ceil(limits.resets_at - t))
  end
  redis.call('HINCRBY', key, 'requests', 1)
  redis.call('HINCRBY', key, 'gpu', job.reserved)
end

-- The job takes so much GPU time of its tenant's quota and not what was set aside. Once the window is over it is
-- nobody's any more.
local function settle_quota(job, gpu)
  local reserved = tonumber(job.reserved or '') -- records of before there were quotas have none
  if not reserved then return end
  if redis.call('HGET', KEY.QUOTA_USED .. job.tenant, 'window') == job.quota_window then
    redis.call('HINCRBY', KEY.QUOTA_USED .. job.tenant, 'gpu', whole(gpu - reserved))
  end
  job.reserved = whole(gpu)
  redis.call('HSET', KEY.JOB .. job.id, 'reserved', job.reserved)
end
