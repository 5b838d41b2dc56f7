"""Names the parts of one worker process and the loops beside its ARQ listeners; main.py starts and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pipelines.errors import SpillwayError
from worker import aside, leased
from worker.beat import Heart, bury
from worker.context import Context
from worker.drain.drain import Drain
from worker.lease import Lease, hold, repeat
from worker.money.ledger import Ledger
from worker.queue import RedisError

if TYPE_CHECKING:
    from worker.hooks import Hooks
    from worker.money.alerts import Alerts
    from worker.prepare.prepare import Preparer
    from worker.provider_batches.lane import ProviderBatches

log = logging.getLogger("spillway.worker")

ROLES = ("prepare", "schedule", "local", "cloud", "settle")
MAX_JOBS = 128
"""Batches at once on each lane of a worker: small ones of a run that is due soon still fill the most slots that a lane may have."""
STOP_S = 25.0


MODULES = {
    "prepare": ("worker.prepare.prepare", "worker.dedupe.encode", "tiktoken"),
    "schedule": (
        "worker.schedule.scheduler",
        "worker.schedule.watch",
        "worker.schedule.history",
        "worker.money.alerts",
    ),
    "settle": ("worker.settle.settle",),
    "local": ("worker.backends.hot",),
    "cloud": ("worker.backends.hot",),
}
"""What a role imports besides this file; a process of lanes alone stays small."""


def load(roles: tuple[str, ...]) -> None:
    """Imports what these roles need, for a process that has nothing else to do yet."""
    for name in ("worker.main", *(module for role in roles for module in MODULES[role])):
        import_module(name)


class Process:
    """Everything that runs in one worker process."""

    def __init__(self, context: Context, roles: tuple[str, ...]) -> None:
        self.context, self.roles = context, roles
        self.ledger = Ledger(context.settings, context.targets)
        self.lanes = tuple(role for role in roles if role in ("local", "cloud"))
        self.drain = self._lanes() if self.lanes else None
        self.heart = Heart(context, self.drain, roles)
        self.stopping = asyncio.Event()
        self.failed = asyncio.Event()
        self.alerts: Alerts | None = None
        self.hooks: Hooks | None = None
        self.provider_batches: ProviderBatches | None = None
        self._listeners: list[leased.LeasedWorker] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def _lanes(self) -> Drain:
        from worker.backends.hot import Hot

        return Drain(self.context, self.ledger, Hot(), self.context.clock)

    async def start(self) -> None:
        """Registers, buries the dead of this machine, starts the loops of the roles."""
        if "prepare" in self.roles:
            self._start(asyncio.to_thread(self._warm_up))
        await self.context.clock.set(self.context.redis)
        await self.context.scripts.load()
        await aside.shared(self.context)
        await bury(self.context)
        await self.context.targets.trust_again(self.context.redis, self.context.keys)
        await self.heart.register()
        self._start(self.heart.run())
        bells = await leased.pool(self.context.redis_url)
        if self.drain is not None:
            self._start(self.drain.journal.run())
            if "cloud" in self.lanes:  # what it buys is called here
                self._start(self.drain.rescue.run())
            for lane in self.drain.lanes.values():
                self._start(lane.run())
            for role in self.lanes:
                self._listen(await leased.pool(self.context.redis_url), role)
            if "cloud" in self.lanes and await self._has_provider_batches():
                from worker.provider_batches.lane import ProviderBatches

                self.provider_batches = ProviderBatches(
                    self.context, self.ledger, self.drain.journal, self.drain.lengths
                )
                self._leased("provider_batch", self.provider_batches.step)
        await self._start_control(bells)

    async def _start_control(self, bells: Any) -> None:
        """The roles that need Arrow and the encoder; imported here, so that a process of lanes alone stays small."""
        if "schedule" in self.roles:
            from worker import hooks
            from worker.money.alerts import Alerts
            from worker.schedule.history import History
            from worker.schedule.scheduler import Scheduler
            from worker.schedule.watch import Watch

            scheduler = Scheduler(self.context, bells)
            self._leased("schedule", scheduler.step, scheduler.rest)
            self._leased("watch", Watch(self.context, self.stopping).run)
            self._leased("health", History(self.context).step)
            self.alerts = Alerts(self.context, self.stopping)
            self._leased("money", self.alerts.step)
            if hooks.wanted(self.context.settings):
                self.hooks = hooks.Hooks(self.context)
                self._start(repeat("webhooks", self.hooks.step, self.stopping))
        if "prepare" in self.roles:
            from worker.dedupe.encode import Encoder
            from worker.prepare.prepare import Preparer

            preparer = Preparer(self.context, self.ledger, Encoder())
            self._start(self._prepare(preparer))
        if "settle" in self.roles:
            from worker.settle.settle import Settler

            self.context.targets.introduce()
            self._leased("settle", Settler(self.context, self.ledger).step)

    async def _has_provider_batches(self) -> bool:
        """The configuration allows some, or has allowed those that are still out."""
        keys = self.context.keys
        allowed = any(target.provider_batch for target in self.context.settings.targets.values())
        return allowed or bool(await self.context.redis.exists(keys.orders, keys.given))

    def _warm_up(self) -> None:
        """The vocabulary that the first chunk needs, loaded while Redis is greeted."""
        from pipelines.tokens import count_tokens
        from worker.prepare.sift import vocabulary

        with contextlib.suppress(SpillwayError):  # a broken one is the first chunk's trouble
            count_tokens([""], vocabulary(self.context.settings))

    def _listen(self, pool: Any, role: str) -> None:
        assert self.drain is not None
        queue = self.context.keys.local_queue if role == "local" else self.context.keys.cloud_queue
        listener = leased.listen(pool, queue, self.drain.run_batch, MAX_JOBS)
        self._listeners.append(listener)
        self._start(self._serve(listener))
        self._start(listener.keep_leases())

    async def _serve(self, listener: leased.LeasedWorker) -> None:
        """ARQ's loop ends when Redis hiccups; ours does not."""
        while not self.stopping.is_set():
            try:
                await listener.async_run()
            except (RedisError, OSError) as error:
                log.warning("queue: %s; listening again", error)
                await asyncio.sleep(1.0)

    async def _prepare(self, preparer: Preparer) -> None:
        """One lease per client, taken as runs come."""
        await repeat("prepare", preparer.step, self.stopping)
        with contextlib.suppress(RedisError, OSError):
            await preparer.rest(everything=True)

    def _leased(self, name: str, step: Any, rest: Any = None) -> None:
        lease = Lease(self.context.scripts, self.context.keys, name, self.context.owner)
        self._start(hold(lease, step, self.stopping, rest))

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._watch)
        self._tasks.append(task)

    def _watch(self, task: asyncio.Task[Any]) -> None:
        """A loop that ends by itself takes the process with it: half a worker would hang everybody in silence."""
        if self.stopping.is_set() or task.cancelled() or task.exception() is None:
            return
        log.critical("a loop of this worker failed; stopping", exc_info=task.exception())
        self.failed.set()

    async def stop(self) -> None:
        """No new call; calls in flight end (at most STOP_S), batches go back, leases are given up."""
        self.stopping.set()
        for listener in self._listeners:
            listener.allow_pick_jobs = False
        if self.drain is not None:
            self.drain.stopping = True
            for running in list(self.drain.running.values()):
                self.drain.stop_batch(running)
            waits = [asyncio.create_task(self._batches_gone())]
            await asyncio.wait(waits, timeout=STOP_S)
        await self.context.again.kept()
        held = [task for task in self._tasks if not task.done()]
        await asyncio.wait(held, timeout=0.5)
        if self.alerts is not None:
            await self.alerts.finish()
        if self.hooks is not None:
            await self.hooks.finish()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.provider_batches is not None:
            await self.provider_batches.close()
        if self.drain is not None:
            await self.drain.close()
        try:
            await self.heart.leave()
        except (RedisError, OSError):
            log.info("Redis is gone already")

    async def _batches_gone(self) -> None:
        assert self.drain is not None
        while self.drain.running:
            await asyncio.sleep(0.02)
