#!lua
-- Keep an API key. A digest that is known already stays as it is: its owner and scopes never change. One that was
-- revoked is never kept again ('revoked'): a secret may stand in somebody's settings for long.
local digest, id, owner, scopes = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('SISMEMBER', KEY.API_KEYS_REVOKED, digest) == 1 then return 'revoked' end
redis.call('HSETNX', KEY.API_KEYS, digest, table.concat({ id, owner, scopes, stamp(now()) }, ' '))
return 'kept'
