"""Composition root of the notifier: `python -m service.notifier.main`.

Three things run side by side: an RQ worker in the main thread (a ticket wakes the courier), the relay, and
the janitor. Ends with 0 after SIGTERM or SIGINT; if it cannot start, with one line and 78 where trying again
is no use (settings, an unusable storage folder, an unsuitable server), 1 otherwise.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from uuid import uuid4

from prometheus_client import CollectorRegistry, start_http_server
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job

from service.contracts.environment import UnusableSettings, check_settings, read_settings
from service.janitor import Janitor
from service.logs import configure_logs, get_logger
from service.notifier.backoff import Backoff
from service.notifier.delivery import Courier, Limits, serve_tickets
from service.notifier.metrics import NotifierMetrics
from service.notifier.post import Poster
from service.notifier.relay import Relay
from service.notifier.settings import NotifierSettings
from service.notifier.spans import DeliverySpans
from service.queue import DELIVERY_QUEUE, Tickets
from service.ssrf import Guard, pinned_client
from service.storage.artifact_store import ArtifactStore, StorageError
from service.storage.pairing import look_at_start
from service.storage.settings import StorageSettings, open_store
from service.store.connections import check_server, connect_sync
from service.store.deliveries import DeliveryStore
from service.store.errors import StoreUnavailable, UnsuitableServer
from service.store.script import Store
from service.store.settings import RedisSettings
from service.store.storage_mark import paired
from service.store.store import JobStore
from service.tracing import Traces, TraceSettings, open_traces

log = get_logger(__name__)

_GRACE_S = 20.0  # the longest try at the default time-out, and a little; supervisors wait 30 s
_LEASE_TRIES = 4  # a delivery is held for this many of the longest tries


class CannotStart(RuntimeError):
    """Something outside of the process has to change first."""


class TicketWorker(SimpleWorker):
    """RQ's in-process worker on the one queue of webhooks; `ending` is set when it is told to stop."""

    max_connection_wait_time = 5.0  # after an outage of Redis, webhooks need not wait for RQ's full minute

    def __init__(self, redis: Redis, ending: threading.Event) -> None:
        self._ending = ending
        super().__init__(
            [Queue(DELIVERY_QUEUE, connection=redis, serializer="json")],
            name=f"notifier-{uuid4().hex}",
            connection=redis,
            serializer="json",
            worker_ttl=30,
            log_job_description=False,
        )

    def subscribe(self) -> None:
        """Not to RQ's commands: nobody sends any, and an outage of Redis would leave the thread behind."""

    def handle_warm_shutdown_request(self) -> None:
        self._ending.set()

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """None ends RQ's loop: a signal from before RQ took the signals over must not be slept through."""
        if self._ending.is_set():
            return None
        return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)


@dataclass(frozen=True)
class Notifier:
    """All parts, put together but not started."""

    settings: NotifierSettings
    redis_url: str
    relay: Relay
    courier: Courier
    janitor: Janitor
    metrics: NotifierMetrics
    registry: CollectorRegistry

    def run(self, ending: threading.Event) -> None:
        """Works until `ending`, or until a signal sets it."""
        loops = [
            threading.Thread(
                target=self.relay.run, args=(ending, self.settings.webhook_relay_every_s), name="relay"
            ),
            threading.Thread(
                target=self.janitor.run,
                args=(
                    ending,
                    self.settings.janitor_every_s,
                    self.settings.janitor_sweep_every_s,
                    self.metrics.cleared,
                ),
                name="janitor",
            ),
        ]
        with self._metrics_served():
            serve_tickets(self.courier)
            self.courier.start()
            for loop in loops:
                loop.start()
            try:
                self._take_tickets(ending)
            finally:
                ending.set()
                for loop in loops:
                    loop.join()
                self.courier.stop(_GRACE_S)

    def _take_tickets(self, ending: threading.Event) -> None:
        """RQ's worker leaves its loop when an answer of Redis is late: then a new one takes its place."""
        # RQ's signal handlers stay behind when a worker has left; in the pause they raise StopRequested here.
        with contextlib.suppress(StopRequested):
            while not ending.is_set():
                with connect_sync(self.redis_url) as redis:
                    try:
                        TicketWorker(redis, ending).work(logging_level="WARNING")
                    except RedisError as problem:
                        log.warning("ticket_worker_restarts", reason=str(problem))
                ending.wait(1.0)

    @contextlib.contextmanager
    def _metrics_served(self) -> Iterator[None]:
        if not self.settings.notifier_metrics_port:
            yield
            return
        host, port = self.settings.notifier_metrics_host, self.settings.notifier_metrics_port
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as problem:
            raise CannotStart(f"metrics cannot be served on {host}:{port}: {problem.strerror}") from problem
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def build(
    settings: NotifierSettings,
    redis_url: str,
    redis: Redis,
    artifacts: ArtifactStore,
    traces: Traces,
) -> Notifier:
    """Puts the parts together; nothing is sent and nothing runs before `Notifier.run`."""
    registry = CollectorRegistry()
    metrics = NotifierMetrics(registry)
    store = Store(redis)
    deliveries = DeliveryStore(store)
    timeout_s = settings.webhook_timeout_s
    client = pinned_client(
        Guard(allow_private=settings.webhook_allow_private),
        connect_timeout_s=timeout_s / 3,
        timeout_s=timeout_s,
    )
    courier = Courier(
        deliveries,
        Poster(client, settings.signer(), timeout_s),
        Backoff(settings.webhook_delays_s),
        Limits(
            settings.webhook_slots,
            settings.webhook_slots_per_endpoint,
            lease_s=_LEASE_TRIES * timeout_s,
            keep_s=settings.webhook_keep_s,
            patience_s=settings.webhook_disable_after_s,
        ),
        metrics.tried,
        DeliverySpans(traces).tried,
    )
    return Notifier(
        settings,
        redis_url,
        Relay(deliveries, Tickets(redis), metrics.relayed),
        courier,
        Janitor(JobStore(store), artifacts, settings.lease_s),
        metrics,
        registry,
    )


def main() -> int:
    try:
        check_settings(NotifierSettings, RedisSettings, StorageSettings, TraceSettings)
        settings = read_settings(NotifierSettings)
        redis_settings = read_settings(RedisSettings)
        storage_settings = read_settings(StorageSettings)
        traces = open_traces(read_settings(TraceSettings), "notifier")
    except UnusableSettings as problem:
        sys.stderr.write(f"the notifier cannot start: {problem}\n")
        return os.EX_CONFIG
    configure_logs(settings.log_format, settings.log_level, process="notifier")
    ending = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ending.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    redis_url = str(redis_settings.url)
    with connect_sync(redis_url, redis_settings.timeout_s) as redis:
        try:
            check_server(redis)
            storage = paired(
                open_store(storage_settings), lambda: connect_sync(redis_url, redis_settings.timeout_s)
            )
            if (away := look_at_start(storage)) is not None:
                log.warning("storage_unavailable_at_start", reason=str(away))
            notifier = build(settings, redis_url, redis, storage, traces)
            log.info("notifier_started", allow_private=settings.webhook_allow_private)
            notifier.run(ending)
        except (StoreUnavailable, UnsuitableServer, StorageError, CannotStart) as problem:
            log.error("notifier_cannot_start", reason=str(problem))
            # What another start would not mend has one exit code in all processes.
            hopeless = isinstance(problem, UnsuitableServer | StorageError)
            return os.EX_CONFIG if hopeless else 1
        finally:
            traces.close()
    log.info("notifier_ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
