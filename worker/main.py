"""`python -m worker.main`: one process, one device, one model in memory, jobs until told to stop.

Exit codes: 0 drained, 70 hung (the watchdog ended it), 71 the device failed, 78 the settings are wrong,
1 anything else. A supervisor starts it again after all of them but 0.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from redis.exceptions import RedisError

from models.errors import BadWeights
from service.contracts.environment import UnusableSettings, check_settings, read_settings
from service.logs import configure_logs, get_logger
from service.queue import Tickets
from service.storage.artifact_store import StorageError
from service.storage.pairing import look_at_start
from service.storage.settings import StorageSettings, open_store
from service.store.connections import check_server, connect_sync
from service.store.errors import UnsuitableServer
from service.store.settings import RedisSettings
from service.store.storage_mark import paired
from service.tracing import TraceSettings, open_traces
from worker import engine as tickets_door
from worker.catalogue import public_spec
from worker.checkers.opening import open_checkers
from worker.checkpoints import Checkpoints
from worker.departure import Departure, end_before_the_loop, leave_on_signal
from worker.device.ladder import OomLadder
from worker.device.plan import MemoryPlan
from worker.ending import end_at_once
from worker.engine import Engine
from worker.events import Hung, StorageAway, StoreUnreachable, WeightsLoaded, tell_all
from worker.film.previews import open_previews
from worker.gpu_worker import Fullness, GpuWorker, work_until_stopped
from worker.grace import hang_grace_s
from worker.health import Health
from worker.keyframes import Keyframes
from worker.lease import LeaseKeeper, Leases
from worker.loading import Loaded, WrongSettings, load, plan_of
from worker.logbook import Logbook
from worker.metrics import WorkerMetrics
from worker.moderation import Moderator
from worker.parts import Parts, worker_name
from worker.patience import Patience
from worker.pod import open_deletion_cost
from worker.presence import Presence, Sweep
from worker.probes import CannotListen, Probes
from worker.provenance.certificate import UnusableCertificate
from worker.provenance.credentials import signer_of
from worker.provenance.ingredients import Ingredients
from worker.provenance.receipts import Receipts
from worker.readiness import keep_for_good, tell_plan, warm_up
from worker.settings import WorkerSettings
from worker.settlement import Settlement
from worker.spans import Spans
from worker.spool.kept import free_bytes
from worker.spool.opening import open_spool
from worker.step_gate import StepGate
from worker.story import Story
from worker.upload import Uploader
from worker.watchdog import Pulse, Watchdog
from worker.weights.source import WeightsAway, with_local_models

EXIT_SETTINGS, EXIT_DEVICE, EXIT_LATER = os.EX_CONFIG, 71, 1
#: A keyframe that storage does not take in this time goes there with the video; the GPU does not wait.
KEYFRAME_PATIENCE_S = 5.0


class Worker:
    """A worker composed around a loaded model."""

    def __init__(self, parts: Parts, plan: MemoryPlan, loaded: Loaded, pulse: Pulse) -> None:
        settings, tell, clock = parts.settings, parts.tell, parts.clock
        renderer, accelerator = loaded.renderer, loaded.accelerator
        self._parts, self._pulse = parts, pulse
        spec = public_spec(
            renderer.spec,
            weight_hash=renderer.weight_hash,
            pool=settings.pool,
            samplers=loaded.samplers,
            memory_bytes=plan.total,
        )
        store, tickets = parts.store(), Tickets(parts.connect())
        patience = Patience(parts.leave, pulse=pulse, tell=tell)
        patience_s = min(KEYFRAME_PATIENCE_S, settings.upload_patience_s)
        uploader = Uploader(parts.storage, patience_s=patience_s, tell=tell, clock=clock)
        self.leases = Leases(settings.lease_s, tell=tell, clock=clock)
        self.checkpoints = Checkpoints(
            parts.storage, parts.store(), every_s=settings.checkpoint_every_s, tell=tell, clock=clock
        )
        spool_pulse = Pulse(clock)
        self.spool = open_spool(
            parts, self.leases, accelerator, spool_pulse, on_end=self.checkpoints.look_again
        )
        gate = StepGate(
            store,
            self.leases,
            attempt_limit_s=settings.attempt_limit_s,
            leave=parts.leave,
            pulse=pulse,
            tell=tell,
            clock=clock,
        )
        ladder = OomLadder(plan, renderer.economise, accelerator, tell=tell)
        settlement = Settlement(
            store, tickets, self.leases, uploader, accelerator, patience, tell=tell, clock=clock
        )
        moderator = Moderator(parts.checkers, tell)
        self.previews = open_previews(parts, moderator, pulse)
        story = Story(
            renderer,
            spec,
            Keyframes(parts.storage, gate, uploader, self.spool, settlement, patience, moderator, tell=tell),
            accelerator,
            gate,
            self.spool,
            settlement,
            ladder,
            self.checkpoints,
            signer_of(settings, spec, Ingredients(store, parts.storage).of),
            moderator,
            self.previews,
            Receipts(renderer, accelerator, parts.storage),
            tell=tell,
            clock=clock,
        )
        self.engine = Engine(
            store,
            parts.storage,
            self.leases,
            self.spool,
            story,
            settlement,
            patience,
            worker=parts.name,
            pool=settings.pool,
            models=[spec.name],
            max_batch=lambda: ladder.max_batch,
            lease_s=settings.lease_s,
            leave=parts.leave,
            tell=tell,
            clock=clock,
        )
        self.departure = Departure(self.engine, settings.drain_grace_s)
        beats = parts.store()
        self.keeper = LeaseKeeper(
            self.leases, lambda held: beats.beat(parts.name, held, settings.lease_s), settings.beat_s
        )
        self.presence = Presence(
            parts.store(), parts.name, settings.pool, [spec], tell=tell, on_drain=parts.drain, clock=clock
        )
        self.sweep = Sweep(parts.store(), Tickets(parts.connect()), settings.lease_s, tell=tell)
        self.cost = open_deletion_cost(settings, lambda: self.leases.held)
        self._last_store = parts.store()
        self.grace_s = hang_grace_s(plan, settings.hang_grace_s)
        self.watchdog = Watchdog(pulse, self.grace_s, last_words=self._last_words, end=parts.end)
        # Two calls to a storage, each given up in its time, may pass between two signs of life.
        self.spool_watchdog = Watchdog(
            spool_pulse, 2 * self.grace_s, last_words=self._last_words, end=parts.end
        )

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Beat, announce, sweep and watch inside the block; off the list of live workers behind it."""
        sending = (self.spool_watchdog, self.departure, self.spool)  # a departure ends the sending, too
        running = (self.keeper, self.presence, self.sweep, self.cost, *sending, self.watchdog)
        for part in running:
            part.start()
        try:
            yield
        finally:
            for part in reversed(running):
                part.stop()
            self.checkpoints.flush()

    def loop(self) -> None:
        """Run tickets until the engine claims no more. Installs signal handlers: main thread only."""
        parts = self._parts
        full = Fullness(parts.tell)

        def gpu_worker() -> GpuWorker:
            return GpuWorker(
                self.engine,
                parts.connect(),
                name=parts.name,
                pool=parts.settings.pool,
                pulse=self._pulse,
                tell=parts.tell,
                full=full,
                on_cancel=self.keeper.nudge,
                on_drain=self.presence.retire,
            )

        tickets_door.install(self.engine)
        work_until_stopped(
            gpu_worker, self.engine, pause=parts.leave.wait, pulse=self._pulse, tell=parts.tell, full=full
        )
        leave_on_signal(self.engine, parts.clock)

    def _last_words(self, silence_s: float) -> None:
        """Hand the jobs back before the process ends: they need not wait for their leases to run out."""
        self._parts.tell(Hung(silence_s))
        rendered = self.spool.held  # not what hung
        for held in self.leases.held:
            try:
                blamed = held not in rendered
                self._last_store.release(*held, "worker_hung", counts_as_loss=blamed, alone=blamed)
            except RedisError as error:
                self._parts.tell(StoreUnreachable("release", str(error)))
                return


def serve(parts: Parts, metrics: WorkerMetrics) -> int:
    """Load, warm up, work until stopped; returns the exit code. Raises UnsuitableServer and WrongSettings."""
    settings, log = parts.settings, get_logger("worker")
    pulse = Pulse(parts.clock)
    health = Health(pulse)
    host, port, registry = settings.probe_host, settings.probe_port, metrics.registry
    probes = Probes(host, port, live=health.live, ready=health.ready, registry=registry)
    probes.start()
    try:
        host, port = probes.address
        log.info("worker_starts", worker=parts.name, pool=settings.pool, probes=f"http://{host}:{port}")
        patience = Patience(parts.leave, pulse=pulse, tell=parts.tell)
        patience.ask("info", lambda: check_server(parts.connect()))
        if (away := look_at_start(parts.storage)) is not None:
            parts.tell(StorageAway(str(away)))
        began = parts.clock()
        plan = parts.plan()
        tell_plan(plan, settings.max_batch, hang_grace_s(plan, settings.hang_grace_s), parts.tell)
        loaded = parts.load()
        warm_up(loaded, plan)
        metrics.watch_memory(loaded.accelerator.memory_in_use)
        metrics.watch_disk(lambda: free_bytes(settings.spool_dir.expanduser()))
        parts.tell(WeightsLoaded(loaded.renderer.spec.name, parts.clock() - began))
        worker = Worker(parts, plan, loaded, pulse)
        with worker.alive():
            health.at_work(
                worker.grace_s,
                unheard_s=lambda: worker.presence.unheard_s,
                stopping=lambda: worker.engine.stopping,
                spool_full=lambda: worker.spool.full,
            )
            worker.loop()
    finally:
        probes.stop()
    code = EXIT_DEVICE if worker.engine.broken else 0
    log.info("worker_ends", worker=parts.name, code=code)
    return code


def main() -> int:
    """Read the settings, compose the real parts, serve."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end_before_the_loop)
    try:
        check_settings(WorkerSettings, RedisSettings, StorageSettings, TraceSettings)
        settings = read_settings(WorkerSettings)
        redis, storage = read_settings(RedisSettings), read_settings(StorageSettings)
        traces = open_traces(read_settings(TraceSettings), "worker")
    except UnusableSettings as error:
        sys.stderr.write(f"the worker cannot start: {error}\n")
        return EXIT_SETTINGS
    configure_logs(settings.log_format, settings.log_level, process="worker")
    metrics, log = WorkerMetrics(), get_logger("worker")

    # Fetching may take minutes: not before the probes answer, and once for the plan and the loading.
    at_hand = cache(lambda: with_local_models(settings, storage))
    try:
        parts = Parts(
            settings=settings,
            name=worker_name(settings),
            connect=lambda: connect_sync(str(redis.url), redis.timeout_s),
            storage=paired(open_store(storage), lambda: connect_sync(str(redis.url), redis.timeout_s)),
            plan=lambda: plan_of(at_hand()),
            load=lambda: keep_for_good(load(at_hand())),
            checkers=open_checkers(settings),
            tell=tell_all(metrics.tell, Logbook(log).tell, Spans(traces).tell),
        )
        return serve(parts, metrics)
    except (UnsuitableServer, WrongSettings, BadWeights, StorageError, UnusableCertificate) as error:
        log.error("cannot_start", problem=str(error))
        return EXIT_SETTINGS
    except (WeightsAway, CannotListen) as error:
        log.error("cannot_start_yet", problem=str(error))
        return EXIT_LATER
    finally:
        traces.close()


if __name__ == "__main__":
    end_at_once(main())
