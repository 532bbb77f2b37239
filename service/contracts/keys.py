"""Every name in Redis and every prefix in the object store, in one place.

The Redis scripts get these prefixes when they are loaded (service/store/script.py), so a key has one
spelling. All carry one hash tag: they belong on one primary.
"""

from collections.abc import Mapping
from types import MappingProxyType

TAG = "{mc}"

REDIS_KEYS: Mapping[str, str] = MappingProxyType(
    {
        # one per job
        "JOB": f"{TAG}:job:",  # + id: hash, the record of truth
        "EVENTS": f"{TAG}:events:",  # + id: stream, entry ids "<seq>-0"
        "PREVIEW": f"{TAG}:preview:",  # + id: stream of one preview, "<attempt>-<number>"; none at the end
        "IDEMPOTENCY": f"{TAG}:idempotency:",  # + tenant ":" sha256 of the client's key: hash {job, digest}
        "RECENT": f"{TAG}:recent:",  # + tenant ":" digest of what a library sent: hash {job, refused}
        "GONE": f"{TAG}:gone:",  # + tenant ":" id: what remains of it; without the tenant: nothing
        # one per tenant
        "TENANT_JOBS": f"{TAG}:jobs:",  # + tenant: zset id -> arrival, what a listing shows
        "LABELLED": f"{TAG}:labelled:",  # + tenant ":" sha1 of a metadata pair: zset id -> arrival
        "PLACE": f"{TAG}:place:",  # + tenant ":" id: the arrival of a job that left the listing lately
        "IN_HAND": f"{TAG}:in-hand:",  # + tenant: set of jobs accepted and not ended
        "QUOTA_USED": f"{TAG}:quota-used:",  # + tenant: hash {window, requests, gpu}, until the window ends
        # waiting
        "ARRIVALS": f"{TAG}:arrivals",  # counter: microseconds, the place of the job that came last
        "POOLS": f"{TAG}:pools",  # set of pools that ever had a job or a worker
        "POOL_MODELS": f"{TAG}:models:",  # + pool: set of models ever asked for in it
        "READY": f"{TAG}:ready:",  # + pool ":" model: zset id -> time queued, every claimable job
        "PRIORITY": f"{TAG}:priority:",  # + pool ":" priority: zset id -> time queued, the same jobs again
        "QUEUE": f"{TAG}:queue:",  # + pool ":" model ":" tenant: zset id -> rank (priority, then arrival)
        "TENANTS": f"{TAG}:tenants:",  # + pool: zset tenant -> virtual time, tenants with ready jobs
        "SERVED": f"{TAG}:served:",  # + pool: zset tenant -> virtual time, idle tenants ahead of the clock
        "CLOCK": f"{TAG}:clock:",  # + pool: the pool's virtual clock
        "ENTERED": f"{TAG}:entered:",  # + pool: hash tenant with ready jobs -> the clock when it came (back)
        "TAKEN": f"{TAG}:taken:",  # + pool: zset tenant -> GPU seconds of late, the later the more; for a day
        "TAKEN_IN_ALL": f"{TAG}:taken-in-all:",  # + pool: hash {era, all}, the sum of those; for a day
        "PACES": f"{TAG}:paces",  # hash pool ":" model -> GPU seconds per unit of work, as measured
        "WORKS": f"{TAG}:works",  # hash pool ":" model -> units of work of a video, as of late
        "ETA_RATIOS": f"{TAG}:eta-ratios:",  # + pool ":" model: list, time taken over time foretold
        "FORETOLD": f"{TAG}:foretold",  # hash pool ":" model -> videos made of which a time was foretold
        "LATE": f"{TAG}:late",  # hash pool ":" model -> those that came much later than foretold
        "RENDERS": f"{TAG}:renders:",  # + pool ":" model: list, seconds that the last videos took a worker
        "DEADLINES": f"{TAG}:deadlines",  # zset id -> time at which it expires as it stands
        "APPROVALS": f"{TAG}:approvals",  # zset id -> time by which the client must approve
        # running
        "LEASES": f"{TAG}:leases",  # zset "id|attempt" -> time at which it runs out
        "HELD": f"{TAG}:held:",  # + worker: set of "id|attempt"
        "ASIDE": f"{TAG}:aside",  # hash id -> {flaw, freed}: jobs whose record no script can go by
        "RUNNING": f"{TAG}:running",  # hash tenant -> attempts that run now
        "LOSSES": f"{TAG}:losses",  # hash pool -> attempts whose worker was lost
        "REAPER": f"{TAG}:reaper",  # time of the last reap
        # workers
        "WORKER": f"{TAG}:worker:",  # + worker: hash {pool, models}
        "WORKERS": f"{TAG}:workers:",  # + pool: zset worker -> time until which it counts as alive
        "SERVING": f"{TAG}:serving:",  # + pool ":" model: zset worker -> time until which it counts as alive
        "CATALOGUE": f"{TAG}:catalogue",  # hash model -> ModelSpec; outlives the workers
        # set by operators
        "PAUSES": f"{TAG}:pauses",  # hash "intake" or "pool:<name>" -> {reason, since}
        "WEIGHTS": f"{TAG}:weights",  # hash tenant -> weight of its share; 1 where there is none
        "CAPS": f"{TAG}:caps",  # hash tenant -> jobs that may run at once
        "QUOTAS": f"{TAG}:quotas",  # hash quota ":" tenant -> a limit of its own, or "none"
        "RATES": f"{TAG}:rates:",  # + caller and rate: list of the times of its last requests
        "DRAINS": f"{TAG}:drains",  # zset worker -> time at which it was told to drain
        "API_KEYS": f"{TAG}:apikeys",  # hash sha256 of the secret -> "id owner scopes created_at"
        "API_KEYS_USED": f"{TAG}:apikeys-used",  # hash sha256 of the secret -> time of its last use
        "API_KEYS_REVOKED": f"{TAG}:apikeys-revoked",  # set of the sha256 of revoked secrets
        "STORAGE": f"{TAG}:storage",  # the mark of the storage that belongs to this record
        # ended
        "STATES": f"{TAG}:states",  # hash state -> number of records in it
        "MOVES": f"{TAG}:moves",  # hash pool ":" model ":" state -> times that a job came into it
        "CANCELS": f"{TAG}:cancels",  # hash where a job stood when its cancel took effect -> jobs
        "SCHEMAS": f"{TAG}:schemas",  # hash schema -> number of job records of it; those of before have none
        "DOOMED": f"{TAG}:doomed",  # zset id -> time from which record and artifacts may go
        # told to the world
        "RELAYED": f"{TAG}:relayed",  # time of the last look into the outbox
        "OUTBOX": f"{TAG}:outbox",  # stream of events that await delivery; never trimmed, only relayed
        "DELIVERY": f"{TAG}:delivery:",  # + delivery id (the webhook-id): hash, one webhook and its tries
        "JOB_DELIVERIES": f"{TAG}:deliveries:job:",  # + id: zset delivery id -> time filed
        "ENDPOINT_DELIVERIES": f"{TAG}:deliveries:endpoint:",  # + id: zset of the newest 1,000, as above
        "ENDPOINT": f"{TAG}:endpoint:",  # + id: hash, a webhook endpoint with its secrets
        "ENDPOINTS": f"{TAG}:endpoints:",  # + tenant: zset endpoint id -> time made
        "DELIVERIES_DUE": f"{TAG}:deliveries:due",  # zset delivery id -> time of the next try
        "DELIVERIES_DEAD": f"{TAG}:deliveries:dead",  # zset delivery id -> time it was given up
    }
)

VIDEO = "video.mp4"
KEYFRAME = "keyframe.png"
THUMBNAIL = "thumbnail.webp"
SPRITESHEET = "spritesheet.jpg"


def artifact_prefix(tenant: str, job_id: str) -> str:
    """Where every object of a job lives."""
    return f"{tenant}/{job_id}/"


def attempt_prefix(tenant: str, job_id: str, attempt: int) -> str:
    """Where one attempt writes; no other attempt ever writes or deletes there."""
    return f"{tenant}/{job_id}/{attempt}/"


def checkpoint_name(step: int) -> str:
    """An attempt's object that holds its clip as it stood behind `step`.

    Each has a name of its own: the one that the record names is never written over.
    """
    return f"checkpoint-{step}.safetensors"


def candidate_name(index: int) -> str:
    """An attempt's object that holds the keyframe candidate `index`, from 0."""
    return f"candidate-{index}.png"


def chosen_picture_key(tenant: str, job_id: str, sha256: str) -> str:
    """Where a picture lies that the client sent in place of the candidates.

    By its content: two such pictures sent at once must not write over each other.
    """
    return f"{tenant}/{job_id}/input/{sha256}.png"


def input_picture_key(tenant: str, job_id: str) -> str:
    """Where the client's own picture lies, stored before the job is submitted."""
    return f"{tenant}/{job_id}/input/picture.png"


def upload_key(tenant: str, job_id: str, sha256: str) -> str:
    """Where a client's picture lies as it came, where that is kept; by its content, as above."""
    return f"{tenant}/{job_id}/input/{sha256}.upload"


def source_film_key(tenant: str, job_id: str) -> str:
    """Where an extension's copy of the old video lies, stored before the job is submitted."""
    return f"{tenant}/{job_id}/input/source.mp4"
