#!lua flags=no-writes
-- The record as its owner sees it; with an empty tenant, the record as it is. Behind it, what lies before the job.
local id, tenant = ARGV[1], ARGV[2]
local job
if tenant == '' then job = load_job(id) else job = load_own(id, tenant) end
if not job then return {} end
return { cjson.encode(job), foretold(job, now()) }
