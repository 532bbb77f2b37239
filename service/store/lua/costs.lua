-- Shared by every script, between waiting.lua and allowance.lua: what jobs cost, and whose share of the GPUs that was.

local LEAST_COST_S = 0.05 -- jobs that fail at once are not free: their tenant would go first for ever
local PACE_GAIN = 0.2 -- how much of the pace the last video decides
local HALF_LIFE_S = 1800 -- what was taken so long ago counts half as much as what is taken now
local ERA_S = 7 * 86400 -- weights grow by 2^336 in an era: doubles hold three of them
local TENANTS_COUNTED = 1000 -- in a pool; the least of more are forgotten
local TENANTS_TOLD = 5

-- ---- whose the GPUs were of late ---------------------------------------------------------------------------

-- The tenant has taken so many seconds of a GPU. Instead of making old ones less, new ones weigh more (forward decay:
-- Cormode, Shkapenyuk, Srivastava, Xu 2009): so nobody has to touch them, and the order stays as it is.
local function count_share(job, seconds, t)
  if seconds <= 0 then return end
  local key, sum = KEY.TAKEN .. job.pool, KEY.TAKEN_IN_ALL .. job.pool
  local known, all = unpack(redis.call('HMGET', sum, 'era', 'all'))
  local era = math.max(math.floor(t / ERA_S), tonumber(known or '0')) -- the clock may have been set back
  if known and tonumber(known) < era then
    local factor = 2 ^ ((tonumber(known) - era) * ERA_S / HALF_LIFE_S)
    redis.call('ZUNIONSTORE', key, 1, key, 'WEIGHTS', string.format('%.17g', factor))
    all = tonumber(all) * factor
  end
  local weighed = seconds * 2 ^ ((t - era * ERA_S) / HALF_LIFE_S)
  redis.call('ZINCRBY', key, string.format('%.17g', weighed), job.tenant)
  redis.call('ZREMRANGEBYRANK', key, 0, -1 - TENANTS_COUNTED)
  redis.call('HSET', sum, 'era', era, 'all', string.format('%.17g', tonumber(all or '0') + weighed))
  for _, each in ipairs({ key, sum }) do redis.call('EXPIRE', each, 48 * HALF_LIFE_S) end
end

-- What the tenant has of all that was taken of the pool's GPUs of late, 0 to 1.
local function share_of(tenant, pool)
  local all = tonumber(redis.call('HGET', KEY.TAKEN_IN_ALL .. pool, 'all') or '0')
  local own = tonumber(redis.call('ZSCORE', KEY.TAKEN .. pool, tenant) or '0')
  return all > 0 and math.min(1, own / all) or 0
end

-- The tenants that took most of the pool's GPUs of late, the first of them first.
local function foremost_in(pool) return redis.call('ZRANGE', KEY.TAKEN .. pool, 0, TENANTS_TOLD - 1, 'REV') end

-- ---- what a job costs its tenant ---------------------------------------------------------------------------

-- So many seconds of a GPU in the virtual time of this tenant.
local function charge_of(tenant, seconds)
  local weight = tonumber(redis.call('HGET', KEY.WEIGHTS, tenant) or '1') or 1
  return math.floor(math.max(seconds, LEAST_COST_S) * SECOND / weight)
end

-- The seconds of a GPU that the job should take: its work (contracts/cost.py) at the pace measured so far.
local function estimate_of(job)
  local pace = tonumber(redis.call('HGET', KEY.PACES, lane(job)) or UNMEASURED_PACE)
  return tonumber(job.work or '1') * pace -- records of before work was counted have no such field
end

-- The job took so many seconds of a GPU: settle the difference to what its tenant was charged at the claim.
local function settle_cost(job, seconds, t)
  count_share(job, seconds, t)
  local charged = tonumber(job.charged or '')
  if not charged then return end
  local change = charge_of(job.tenant, seconds) - charged
  local waiting, served = KEY.TENANTS .. job.pool, KEY.SERVED .. job.pool
  local own = redis.call('ZSCORE', waiting, job.tenant)
  if own then
    -- Not below the clock as it stood when the tenant came (back): a refund must not turn idle time into credit.
    local entered = tonumber(redis.call('HGET', KEY.ENTERED .. job.pool, job.tenant) or '0')
    redis.call('ZADD', waiting, whole(math.max(tonumber(own) + change, entered)), job.tenant)
    return
  end
  own = tonumber(redis.call('ZSCORE', served, job.tenant) or job.charged_to or '0') + change
  if own > virtual_clock(job.pool) then
    redis.call('ZADD', served, whole(own), job.tenant)
  else
    redis.call('ZREM', served, job.tenant)
  end
end

-- Remember how long the model takes for a unit of work here.
local function learn_pace(job, seconds)
  if not job.work then return end
  local measured = seconds / tonumber(job.work)
  local known = tonumber(redis.call('HGET', KEY.PACES, lane(job)) or measured)
  redis.call('HSET', KEY.PACES, lane(job), string.format('%.17g', known + PACE_GAIN * (measured - known)))
  local work = tonumber(job.work)
  local usual = tonumber(redis.call('HGET', KEY.WORKS, lane(job)) or work)
  redis.call('HSET', KEY.WORKS, lane(job), string.format('%.17g', usual + PACE_GAIN * (work - usual)))
end
