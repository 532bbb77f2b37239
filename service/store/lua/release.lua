#!lua flags=allow-oom
-- A worker hands its attempt back.
local id, attempt, reason, counts_as_loss, alone = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = load_running(id, attempt)
if not job then return 0 end
if alone == '1' then write(job, { alone = 1 }) end
hand_back(job, now(), reason, counts_as_loss == '1', tonumber(ARGV[6]))
return 1
