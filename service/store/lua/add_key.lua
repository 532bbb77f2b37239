#!lua
-- Keep an API key. A digest that is known already stays as it is: its owner and scopes never change.
local digest, id, owner, scopes = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
return redis.call('HSETNX', KEY.API_KEYS, digest, table.concat({ id, owner, scopes, stamp(now()) }, ' '))
