-- What the world hears of a job: the facts of its events, its log, and the outbox of its webhooks. Behind flaws.lua.

local EVENTS_KEPT = 200

local function says_nothing(value) return value == cjson.null or (type(value) == 'table' and next(value) == nil) end

-- What came out, for who hears of the end and would else have to ask: which frames, and of a repetition its verdict.
-- What says nothing is left out: an empty list would become an empty object here. Never an error, the state is written.
local function film_facts(job)
  local film, told = table_in(job.artifact) or {}, {}
  if type(film.frame_digest) == 'string' then told.frame_digest = film.frame_digest end
  local original = (table_in(job.request) or {}).reproduces
  if type(film.reproduction) == 'table' and type(original) == 'table' then
    told.reproduces_video_id, told.reproduction = original.video_id, {}
    for name, value in pairs(film.reproduction) do
      if not says_nothing(value) then told.reproduction[name] = value end
    end
  end
  return told
end

-- Append a fact to the job's stream; the entry id is the seq, so a reader resumes by seq alone.
local function tell(job, kind, t, reason)
  local seq = redis.call('HINCRBY', KEY.JOB .. job.id, 'seq', 1)
  job.seq = tostring(seq)
  local facts = {
    id = job.id,
    state = job.state,
    status = STATUS[job.state],
    attempt = tonumber(job.attempt),
    progress = tonumber(job.progress),
    reason = reason,
  }
  if job.stage ~= '' then
    facts.stage, facts.step, facts.steps = job.stage, tonumber(job.step), tonumber(job.steps)
  end
  if job.failure ~= '' then facts.error = cjson.decode(job.failure) end
  if job.state == 'succeeded' then
    for name, value in pairs(film_facts(job)) do facts[name] = value end
  end
  local entry = {
    'id', 'evt_' .. job.id .. '_' .. seq, 'seq', seq, 'type', kind, 'job_id', job.id,
    'tenant', job.tenant, 'created_at', stamp(t), 'data', cjson.encode(facts), 'schema', SCHEMA,
  }
  redis.call('XADD', KEY.EVENTS .. job.id, 'MAXLEN', '~', EVENTS_KEPT, seq .. '-0', unpack(entry))
  return entry
end

-- What a webhook receiver hears: the first start, a keyframe to approve, and the end.
local function worth_telling(job)
  return TERMINAL[job.state] or job.state == 'awaiting_approval'
    or (job.state == 'running' and job.attempt == '1')
end

-- Whether a receiver asked for events of this kind: by commas; none named, all of them.
local function wished(kinds, kind)
  return is_none(kinds) or string.find(',' .. kinds .. ',', ',' .. kind .. ',', 1, true) ~= nil
end

local function announce_state(job, t, reason)
  local kind = TYPE[job.state]
  local entry = tell(job, kind, t, reason)
  local url = wished(job.webhook_events, kind) and job.webhook_url or ''
  local heard = url ~= '' or redis.call('EXISTS', KEY.ENDPOINTS .. job.tenant) == 1
  if heard and worth_telling(job) then -- the relay finds out which endpoints want to hear it
    entry[#entry + 1] = 'url'
    entry[#entry + 1] = url
    redis.call('XADD', KEY.OUTBOX, '*', unpack(entry))
  end
end
