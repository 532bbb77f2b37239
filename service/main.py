"""The gateway process: `python -m service.main`. Everything is composed here and nowhere else."""

import os
import signal
import sys
import time
from functools import partial

import uvicorn
from anyio import to_thread
from fastapi import FastAPI

from service.access import Shelf
from service.api.parts import GatewayParts
from service.app import create_app
from service.auth import DEFAULT_TENANT, is_loopback
from service.bell import Bell
from service.broadcast import Broadcast
from service.contracts.api_key import Scope
from service.contracts.environment import UnusableSettings, check_settings, read_settings
from service.http_protocol import ClientTimeouts, impatient_protocol
from service.intake.catalogue import Catalogue
from service.intake.intake import Intake
from service.intake.picture_intake import PictureIntake
from service.intake.waiting_room import WaitingRoom
from service.logs import configure_logs, get_logger
from service.metrics import GatewayMetrics
from service.pictures.fetching import FetchBounds, PictureFetcher
from service.queue import Tickets
from service.queue_gauges import QueueGauges
from service.rates import Rates, rates_for
from service.remembered import Remembered
from service.settings import GatewaySettings
from service.ssrf import Guard
from service.storage.artifact_store import StorageUnavailable
from service.storage.files import FileStore
from service.storage.pairing import look_at_start
from service.storage.settings import StorageSettings, open_signer, open_store
from service.store.api_keys import KeyCheck, KeyStore
from service.store.connections import check_server, check_server_async, connect_async, connect_sync
from service.store.delivery_log import DeliveryLog
from service.store.endpoints import EndpointStore
from service.store.errors import StoreUnavailable, UnsuitableServer
from service.store.event_log import EventLog
from service.store.script import AsyncStore, Store
from service.store.settings import RedisSettings
from service.store.shared_connection import SharedConnection
from service.store.storage_mark import paired
from service.store.store import AsyncJobStore
from service.sweep import Sweep
from service.tracing import Traces, TraceSettings, open_traces
from service.webhooks import WebhookDesk

#: A reading of events waits this long for news; a new listener's job is in the next one (seconds).
READING_S = 0.25
#: Requests that are still being answered at the end of this are cut (seconds).
SHUTDOWN_S = 20

log = get_logger(__name__)


class NoKeys(RuntimeError):
    """Other machines can reach the gateway, and there is no API key that could let anybody in."""


def keys_required(settings: GatewaySettings) -> bool:
    """Asked for, or because the address to listen on is not this machine's alone."""
    return settings.require_keys or not is_loopback(settings.host)


def prepare_keys(settings: GatewaySettings, keys: KeyStore) -> None:
    """Keeps the bootstrap key, as a digest. Raises NoKeys if keys are required and there is none."""
    if settings.bootstrap_key is not None:
        secret = settings.bootstrap_key.get_secret_value()
        if keys.keep(secret, DEFAULT_TENANT, frozenset(Scope)) is None:
            log.warning("bootstrap_key_is_revoked", detail="it opens nothing; take it out of the settings")
    if keys_required(settings) and not keys.listed():
        raise NoKeys(
            f"listening on {settings.host} needs an API key, and there is none: make one with "
            "`microcinema keys create --owner NAME --scope read,write`, set MICROCINEMA_BOOTSTRAP_KEY, "
            "or listen on 127.0.0.1"
        )


def compose(
    settings: GatewaySettings, redis: RedisSettings, storage: StorageSettings, traces: Traces
) -> GatewayParts:
    """The gateway's parts on these settings. Opens no connection yet; the files backend makes its folder.

    Raises StorageUnavailable if that folder cannot be made.
    """
    # Links of the local folder lead to this process, so they need its address even when nobody gave one.
    told = "public_base_url" in storage.model_fields_set
    if not told:
        storage = storage.model_copy(update={"public_base_url": _own_address(settings)})
    opened = open_store(storage)
    artifacts = paired(opened, lambda: connect_sync(str(redis.url), redis.timeout_s))
    asynchronous = connect_async(str(redis.url), redis.timeout_s)
    blocking = connect_sync(str(redis.url), redis.timeout_s)
    listening = connect_async(str(redis.url), redis.timeout_s)
    questions = SharedConnection(asynchronous, redis.timeout_s)
    record = AsyncStore(questions)
    jobs = AsyncJobStore(record)
    tickets = Tickets(blocking)
    shelf = Shelf(artifacts)
    fetcher = PictureFetcher(_fetch_bounds(settings))
    allowed = rates_for(settings.rate_limits, settings.host)
    snapshots = Remembered(jobs.snapshot, time.monotonic)

    bell, guard = Bell(tickets), Guard(allow_private=settings.webhook_allow_private)

    async def close() -> None:
        await to_thread.run_sync(traces.close)
        await bell.aclose()
        await fetcher.aclose()
        await questions.aclose()
        await asynchronous.aclose()
        await listening.aclose()
        blocking.close()

    broadcast = Broadcast(
        EventLog(listening, min(READING_S, redis.timeout_s / 2)),
        most=settings.listeners,
        most_per_owner=settings.listeners_per_owner,
    )
    metrics = GatewayMetrics(QueueGauges(snapshots))
    metrics.watch_listeners(lambda: broadcast.listeners)
    return GatewayParts(
        settings=settings,
        intake=Intake(
            jobs=jobs,
            pictures=PictureIntake(shelf, fetcher.fetch, settings.extended_max_s),
            bell=bell,
            catalogue=Catalogue(jobs, Remembered(jobs.catalogue, time.monotonic)),
            aliases=settings.aliases,
            queue_limit=settings.queue_limit,
            retention_s=settings.retention_s,
            approval_s=settings.approval_s,
            quotas=settings.quotas(),
            guard=guard,
            clock=time.time,
        ),
        shelf=shelf,
        metrics=metrics,
        sweep=Sweep(jobs, tickets, settings.lease_s),
        snapshots=snapshots,
        checks={"redis": partial(check_server_async, asynchronous), "storage": shelf.check},
        signer=opened.signer if isinstance(opened, FileStore) else None,
        public_base_url=storage.public_base_url if told else None,
        rates=Rates(questions, allowed) if allowed else None,
        find_key=KeyCheck(record) if keys_required(settings) else None,
        close=close,
        waiting_room=WaitingRoom(settings.max_concurrent_requests // 2),
        webhooks=WebhookDesk(EndpointStore(record), DeliveryLog(record), guard, settings.webhook_endpoints),
        broadcast=broadcast,
        link_signer=opened.signer if isinstance(opened, FileStore) else open_signer(storage),
        traces=traces,
    )


def main() -> int:
    """Serves until SIGTERM or SIGINT. Exit codes: 0 stopped, 78 unusable settings or Redis server."""
    try:
        check_settings(GatewaySettings, RedisSettings, StorageSettings, TraceSettings)
        settings = read_settings(GatewaySettings)
        redis = read_settings(RedisSettings)
        storage = read_settings(StorageSettings)
        traces = open_traces(read_settings(TraceSettings), "gateway")
    except UnusableSettings as error:
        sys.stderr.write(f"the gateway cannot start: {error}\n")
        return os.EX_CONFIG
    configure_logs(settings.log_format, settings.log_level, process="gateway")
    try:
        with connect_sync(str(redis.url), redis.timeout_s) as probe:
            check_server(probe)
            prepare_keys(settings, KeyStore(Store(probe)))
    except StoreUnavailable as error:
        log.warning("redis_unavailable_at_start", detail=str(error))  # requests get a 503 until it is back
    except UnsuitableServer as error:
        log.error("unsuitable_redis", detail=str(error))
        return os.EX_CONFIG
    except NoKeys as error:
        log.error("no_api_keys", detail=str(error))
        return os.EX_CONFIG
    try:
        app = create_app(compose(settings, redis, storage, traces))
        with_record = paired(open_store(storage), lambda: connect_sync(str(redis.url), redis.timeout_s))
        if (away := look_at_start(with_record)) is not None:
            log.warning("storage_unavailable_at_start", detail=str(away))  # jobs with pictures get a 503
    except StorageUnavailable as error:
        log.error("storage_unusable", detail=str(error))
        return os.EX_CONFIG
    # uvicorn raises the signal again once it has drained; an orderly stop should end with exit code 0.
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda _number, _frame: None)
    log.info("gateway_starts", host=settings.host, port=settings.port, storage=storage.storage)
    uvicorn.Server(server_config(app, settings)).run()
    return os.EX_OK


def server_config(app: FastAPI, settings: GatewaySettings) -> uvicorn.Config:
    """How uvicorn serves this application."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=impatient_protocol(
            ClientTimeouts(settings.head_timeout_s, settings.send_timeout_s),
            leaving=app.state.parts.broadcast.close,
            given_up=app.state.parts.metrics.count_given_up,
        ),
        timeout_keep_alive=settings.keep_alive_s,
        log_config=None,  # uvicorn's own loggers go where ours go
        access_log=False,  # service/api/scope.py writes one line per request, with its id
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def _fetch_bounds(settings: GatewaySettings) -> FetchBounds:
    return FetchBounds(
        max_bytes=settings.max_upload_bytes,
        timeout_s=settings.picture_fetch_timeout_s,
        slots=settings.picture_fetches,
        origins=settings.own_origins(),
    )


def _own_address(settings: GatewaySettings) -> str:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


if __name__ == "__main__":
    sys.exit(main())
