#!lua flags=allow-oom
-- Set quotas of a tenant's own: ARGV tenant, then quota and limit in turn ('none': no limit, 'default': everybody's).
local tenant = ARGV[1]
for i = 2, #ARGV, 2 do
  local field = ARGV[i] .. ':' .. tenant
  if ARGV[i + 1] == 'default' then
    redis.call('HDEL', KEY.QUOTAS, field)
  else
    redis.call('HSET', KEY.QUOTAS, field, ARGV[i + 1])
  end
end
return 1
