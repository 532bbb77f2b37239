#!lua flags=no-writes
-- What tenants may use and have used. ARGV: tenants, besides those with quotas of their own. Answers for each:
-- tenant, its own limits of requests, concurrent jobs and GPU seconds ('' where it has none of its own), and the same
-- as used, in the window that its last accepted job fell into.
local seen, found = {}, {}
local function look(tenant)
  if seen[tenant] then return end
  seen[tenant] = true
  local row = { tenant }
  for _, quota in ipairs({ 'requests', 'concurrent_jobs', 'gpu_seconds' }) do
    row[#row + 1] = redis.call('HGET', KEY.QUOTAS, quota .. ':' .. tenant) or ''
  end
  local _, requests, spent = used_by(tenant)
  row[5], row[6], row[7] = requests, jobs_in_hand(tenant), stamp(spent / SECOND)
  found[#found + 1] = row
end
for _, tenant in ipairs(ARGV) do look(tenant) end
for _, field in ipairs(redis.call('HKEYS', KEY.QUOTAS)) do look(string.match(field, ':(.*)$')) end
return found
