"""RQ's in-process worker, with what a GPU worker needs on top: it drains, hears cancels and outlives Redis.

In-process because a forked child can neither use its parent's CUDA context nor keep a model between jobs. One
queue only: with two or more RQ pops without a safety net, and a kill at the wrong moment loses the ticket.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any, Final

from redis import Redis
from redis.client import PubSubWorkerThread
from redis.exceptions import OutOfMemoryError, RedisError
from rq import Queue, SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.utils import now
from rq.worker import WorkerStatus

from service.queue import gpu_queue
from worker.engine import Engine
from worker.events import StoreUnreachable, Tell
from worker.rhythm import Rhythm
from worker.watchdog import Pulse

# RQ waits worker_ttl - 15 seconds for a ticket, so the loop turns at least every two seconds.
WORKER_TTL_S: Final = 17
MAINTENANCE_S: Final = 30
TICKET_TTL_S: Final = 30
TICKET_BEAT_S: Final = 10.0
#: RQ's listening thread sleeps two seconds after an error before it looks whether it should end.
LISTENER_ENDS_S: Final = 3.0
#: A supervisor and a terminal may both pass on the same Ctrl-C; a second signal this soon is an echo.
ECHO = timedelta(seconds=1)
FULL_PAUSE_S: Final = 1.0


class Fullness:
    """Tells once that Redis is full, wherever and however often that is met, until it takes something."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._told = False

    def met(self, error: OutOfMemoryError) -> None:
        """A command was refused for want of memory."""
        if not self._told:
            self._tell(StoreUnreachable("ticket", f"Redis is full (maxmemory): {error}"))
        self._told = True

    def over(self) -> None:
        """Something was taken."""
        self._told = False

    @contextmanager
    def outlived(self) -> Iterator[None]:
        """What a full Redis refuses inside is told, and left undone."""
        try:
            yield
        except OutOfMemoryError as error:
            self.met(error)


class GpuWorker(SimpleWorker):
    """Pops tickets of one pool and lets the engine run them."""

    # An outage of Redis must not be followed by a minute of idleness.
    max_connection_wait_time = 2.0

    def __init__(
        self,
        engine: Engine,
        connection: Redis,
        *,
        name: str,
        pool: str,
        pulse: Pulse,
        tell: Tell,
        full: Fullness,
        on_cancel: Callable[[], None],
        on_drain: Callable[[], None],
    ) -> None:
        super().__init__(
            [Queue(gpu_queue(pool), connection=connection, serializer="json")],
            name=name,
            connection=connection,
            serializer="json",
            worker_ttl=WORKER_TTL_S,
            maintenance_interval=MAINTENANCE_S,
            log_job_description=False,
        )
        self._engine, self._pulse, self._tell = engine, pulse, tell
        self._on_cancel, self._on_drain = on_cancel, on_drain
        self._full = full
        self._in_ticket = False

    def register_birth(self) -> None:
        """The name is this process's own: a record under it was left by its own loop before an outage."""
        self.connection.delete(self.key)
        super().register_birth()  # type: ignore[no-untyped-call]

    def bootstrap(self, *args: Any, **keywords: Any) -> None:
        """RQ guards its loop, not the way into it, where a thread starts: signals wait until that is done."""
        early: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: early.append(received))
        try:
            super().bootstrap(*args, **keywords)
            self._install_signal_handlers()  # type: ignore[no-untyped-call]
            if early:
                self.request_stop(early[0], None)
        except BaseException:
            self.teardown()
            raise

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a ticket.

        RQ's own book-keeping may meet a Redis that is away; that must not cost a model reload.
        """
        beat = Rhythm("ticket-beat", TICKET_BEAT_S, self._keep_tickets)
        self._in_ticket = True
        beat.start()
        try:
            super().execute_job(job, queue)
        except RedisError as error:
            self._tell(StoreUnreachable("ticket", str(error)))
        finally:
            beat.stop()
            self._in_ticket = False
        if self._engine.stopping:
            self._stop_requested = True

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002 - RQ's signature
        """Seconds for which a ticket counts as running without a beat: short, since tickets are cheap."""
        return TICKET_TTL_S

    def heartbeat(self, *args: Any, **keywords: Any) -> None:
        """RQ beats at every turn of its loop, before it speaks to Redis: so the loop lives.

        Within a ticket a thread beats for RQ, which says nothing of the work; there the steps are the pulse.
        """
        if not self._in_ticket:
            self._pulse.beat()
        with self._full.outlived():
            super().heartbeat(*args, **keywords)
            if keywords.get("pipeline") is None:  # else nothing was sent yet
                self._full.over()

    def check_for_suspension(self, burst: bool) -> None:
        """RQ's own pause, which nobody here uses; looking for it writes a beat."""
        with self._full.outlived():
            super().check_for_suspension(burst)

    def run_maintenance_tasks(self) -> None:
        """RQ's tidying, which can wait for a Redis that has memory again."""
        with self._full.outlived():
            super().run_maintenance_tasks()  # type: ignore[no-untyped-call]

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[Job, Queue] | None:
        """Wait for a ticket. A full Redis hands none out, and RQ would end its loop with a traceback."""
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except OutOfMemoryError as error:
                self._full.met(error)
            time.sleep(FULL_PAUSE_S)  # a signal ends it: RQ's handlers raise

    def handle_payload(self, message: dict[str, Any]) -> None:
        """A message to this worker. RQ's other commands are for workers with a child process.

        "cancel" is only a hint to ask the record now; the beat's answer decides.
        """
        try:
            command = json.loads(message["data"])["command"]
        except (ValueError, KeyError, TypeError):
            return  # anyone may publish anything; this thread must outlive it
        if command == "cancel":
            self._on_cancel()
        elif command == "shutdown":
            super().handle_payload(message)  # type: ignore[no-untyped-call]

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """First SIGTERM or SIGINT: finish what runs, claim no more."""
        self._engine.drain()
        self._on_drain()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def request_force_stop(self, signum: int, frame: FrameType | None) -> None:
        """Second one: give back what runs at its next step. RQ would raise SystemExit in the middle of it."""
        if self._shutdown_requested_date and now() - self._shutdown_requested_date < ECHO:
            return
        self._engine.leave()
        if self.get_state() != WorkerStatus.BUSY:
            super().request_force_stop(signum, frame)

    def set_shutdown_requested_date(self) -> None:
        """RQ writes a date to Redis here, from inside the signal: that could block or raise in mid-step."""

    def teardown(self) -> None:
        """RQ says goodbye to Redis first; if that is away, its listening thread would be left behind."""
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        except RedisError as error:
            if isinstance(error, OutOfMemoryError):
                self._full.met(error)
            else:
                self._tell(StoreUnreachable("goodbye", str(error)))
            listening: PubSubWorkerThread | None = self.pubsub_thread
            if listening is not None:
                listening.stop()
                listening.join(LISTENER_ENDS_S)
                if listening.is_alive():
                    return  # Redis hangs: closing the connection under the thread is no better end for it
        self.connection.close()

    def _keep_tickets(self) -> None:
        with self._full.outlived():
            for execution in list(self.executions.values()):
                self.maintain_heartbeats(execution.job, execution)


def work_until_stopped(
    make: Callable[[], GpuWorker],
    engine: Engine,
    *,
    pause: Callable[[float], object],
    pulse: Pulse,
    tell: Tell,
    full: Fullness,
) -> None:
    """RQ's loop, begun again whenever Redis drove it out, until the engine claims no more.

    RQ ends its loop on a Redis error outside of its own waiting for tickets; the model would be lost with it.
    Each new try is a sign of life: however long Redis is away, this process is not hung.
    """
    while not engine.stopping:
        pulse.beat()
        try:
            try:
                make().work(logging_level="WARNING")
            except OutOfMemoryError as error:  # already when the loop should begin
                full.met(error)
            except RedisError as error:
                tell(StoreUnreachable("loop", str(error)))
            if not engine.stopping:
                pause(1.0)
        except StopRequested:
            return  # a signal found the worker between two loops
