#!lua
-- Show what a running attempt's video looks like so far: the newest picture only, and only while the job runs on. Not
-- flagged allow-oom, for pictures are the first thing to do without.
local id, attempt, number, facts = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local job = load_running(id, attempt)
if not job or job.deleted == '1' then return 0 end
local place = attempt .. '-' .. number
redis.call('XADD', KEY.PREVIEW .. id, 'MAXLEN', 1, place, 'attempt', attempt, 'created_at', stamp(now()), 'facts', facts)
return 1
