"""Takes open batches from state to state beside the requests: looks at their files, makes runs of them, writes their outputs.

Each step reads what is true, does what is safe to repeat, and changes the state last: a server that is killed anywhere
leaves a batch that another one, or the next, takes on from there. The states themselves are in `batches.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import Any

from pipelines import hooks
from pipelines.dialects.openai_lines import Wrong
from pipelines.errors import SourceError, SpillwayError
from pipelines.hooks import Notice
from pipelines.types import Options
from producer import batches, intake, orphans, uploads
from producer.api import messages, outputs, quota
from producer.api.errors import ApiError
from producer.api.files import MOST_S
from producer.api.state import State
from producer.batches import Batch
from producer.lease import held
from producer.queue import RedisError, now_ms
from producer.quotas import ticket_of
from producer.runs import RunView
from producer.sources import inspect
from producer.uploads import Upload
from producer.vetting import Vetted, vet

log = logging.getLogger("spillway.api")

LOOK_S = 0.25
SWEEP_S = 30.0
ORPHANS_S = 3600.0
"""Between two looks at all the files that there are."""
AT_ONCE = 4
RETRY_S = 2.0
LOOK_SHARE = 10


class Keeper:
    """One server's part in keeping the batches of all servers going."""

    def __init__(self, here: State) -> None:
        self._here = here
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._swept_s = self._orphans_s = float("-inf")

    async def run(self) -> None:
        """Until it is cancelled; what fails is tried again."""
        try:
            while True:
                rest_s = await self._look_round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rest_s):
                        while True:
                            self._begin(await self._here.bell.get())
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _look_round(self) -> float:
        """Begins whatever is due; how long to rest, so that looking takes a small share of the time."""
        began_s = time.monotonic()
        try:
            for batch_id in await batches.due(self._here.redis, self._here.keys):
                self._begin(batch_id)
            if began_s - self._swept_s > SWEEP_S:
                self._swept_s = began_s
                here = self._here
                ended = partial(batches.ended, here.redis, here.keys)
                await uploads.sweep(here.redis, here.keys, here.store, ended)
            if began_s - self._orphans_s > ORPHANS_S:
                self._orphans_s = began_s
                await self._sweep_orphans()
        except (RedisError, OSError, SpillwayError) as error:
            log.warning("batches: %s", error)
            return RETRY_S
        except Exception:
            log.exception("looking after the batches failed; trying again")
            return RETRY_S
        return max(LOOK_S, LOOK_SHARE * (time.monotonic() - began_s))

    async def _sweep_orphans(self) -> None:
        here = self._here
        kept_s = max(int(here.settings.api.keep_files), MOST_S)
        if gone := await orphans.sweep(here.redis, here.keys, here.records, kept_s):
            log.warning("%d files that no record names are deleted: %s", len(gone), ", ".join(gone[:5]))

    def _begin(self, batch_id: str) -> None:
        if batch_id not in self._busy:
            self._busy[batch_id] = asyncio.create_task(self._take(batch_id))

    async def _take(self, batch_id: str) -> None:
        """All the steps that can be taken now."""
        here = self._here
        try:
            async with self._places, held(here.redis, here.keys, f"api:{batch_id}") as ours:
                while ours and (found := await batches.read(here.redis, here.keys, [batch_id])):
                    batch, run = found[0]
                    if batch.ended or not batches.is_due(
                        batch.status, run.status if run else "", bool(run and run.cancel)
                    ):
                        break
                    await self._step(batch, run)
        except (RedisError, OSError, SpillwayError) as error:
            log.warning("%s: %s; trying again", batch_id, error)
            await asyncio.sleep(RETRY_S)
        except Exception:
            log.exception("%s failed; trying again", batch_id)
            await asyncio.sleep(RETRY_S)
        finally:
            self._busy.pop(batch_id, None)

    async def _step(self, batch: Batch, run: RunView | None) -> None:
        if batch.status == "validating":
            await self._validate(batch)
        elif run is None:
            await self._end(batch, "cancelled" if batch.status == "cancelling" else "failed")
        elif run.ended:
            await self._finish(batch, run)
        elif batch.status == "cancelling":
            await intake.cancel(self._here.redis, self._here.keys, batch.run_id)

    # -- from a file to a run --------------------------------------------------------------------------------------

    async def _validate(self, batch: Batch) -> None:
        here = self._here
        found = await uploads.get(here.redis, here.keys, batch.client, batch.input_file_id)
        if found is None and not await self._is_held(batch):
            await self._refuse(batch, (_no_file(batch.input_file_id),))
            return
        file = found or await uploads.even_if_gone(here.redis, here.keys, batch.input_file_id)
        assert file is not None
        if batch.is_messages:
            vetted = Vetted(batch.total, None)  # looked at as they came in
        else:
            vetted = await asyncio.to_thread(self._vet, file, batch.endpoint, batch.client)
        if vetted.wrong:
            await self._refuse(batch, vetted.wrong)
            return
        if wrong := await self._book_and_register(batch, file, vetted):
            await self._refuse(batch, (wrong,))
            return
        at_s = await batches.now_s(here.redis)
        started: dict[str, Any] = {
            "status": "in_progress",
            "in_progress_at": at_s,
            "total": vetted.rows,
            "model": vetted.model,
        }
        was = await batches.step(here.redis, here.keys, batch.id, ("validating",), **started)
        if was != "validating":  # it was cancelled meanwhile
            await batches.step(here.redis, here.keys, batch.id, ("cancelling",), total=vetted.rows)
            await intake.cancel(here.redis, here.keys, batch.run_id)

    async def _book_and_register(self, batch: Batch, file: Upload, vetted: Vetted) -> Wrong | None:
        """The run of this batch, once, within its client's quota; or why there is none."""
        here = self._here
        if await here.redis.exists(here.keys.run(batch.run_id)):
            return None
        try:
            ticket = ticket_of(batch.run_id, 0)
            async with quota.admitted(here, batch.client, vetted.rows, file.size_bytes, ticket=ticket, submissions=0):
                await self._register(batch, file, vetted)
        except ApiError as over:
            of_tokens = (over.param or "").startswith("tokens")
            return Wrong("token_limit_exceeded" if of_tokens else str(over.code), over.detail, over.param)
        except SourceError as error:
            return Wrong("invalid_request", str(error), "file_id")
        return None

    async def _is_held(self, batch: Batch) -> bool:
        held_by = self._here.keys.api_held(batch.input_file_id)
        return bool(await self._here.redis.sismember(held_by, batch.id))

    def _vet(self, file: Upload, endpoint: str, client: str) -> Vetted:
        here = self._here
        with here.store.open(file.name) as stream:
            return vet(stream, file.form, endpoint, here.models(client), here.settings.api.max_batch_rows)

    async def _register(self, batch: Batch, file: Upload, vetted: Vetted) -> None:
        here = self._here
        source = await asyncio.to_thread(inspect, here.store.path(file.name))
        at_ms = await now_ms(here.redis)
        await intake.register_as(
            here.redis,
            here.keys,
            here.records,
            batch.run_id,
            client=batch.client,
            sources=(source,),
            options=Options(
                deadline_s=max(1.0, batch.expires_at - at_ms / 1000),
                keep_response=here.settings.spillway.keep_response,
            ),
            now_ms=at_ms,
            origin=f"batch {batch.id}",
            estimate=(vetted.rows, file.size_bytes),
        )

    async def _refuse(self, batch: Batch, wrong: tuple[Wrong, ...]) -> None:
        await self._end(batch, "failed", errors=wrong)

    # -- from a run to its files -----------------------------------------------------------------------------------

    async def _finish(self, batch: Batch, run: RunView) -> None:
        here = self._here
        if batch.finalizing_at is None:
            at_s = await batches.now_s(here.redis)
            status = "cancelling" if batch.status == "cancelling" else "finalizing"
            await batches.step(here.redis, here.keys, batch.id, (batch.status,), status=status, finalizing_at=at_s)
            return
        if batch.is_messages:
            made = outputs.Made([], {"tally": await asyncio.to_thread(messages.tally, here, batch)})
        else:
            made = await asyncio.to_thread(outputs.write, here, batch)
        for file in made.files:
            await uploads.keep(here.redis, here.keys, file)
        status = "cancelled" if batch.status == "cancelling" else run.status
        errors = (Wrong("server_error", run.error or "The input cannot be read on."),) if status == "failed" else ()
        await self._end(batch, status, errors=errors, **made.fields)

    async def _end(self, batch: Batch, status: str, **fields: object) -> None:
        here = self._here
        at_s = await batches.now_s(here.redis)
        told = self._notice(batch, status, at_s)
        changed: dict[str, Any] = {"status": status, f"{status}_at": at_s, **fields}
        was = await batches.step(here.redis, here.keys, batch.id, (batch.status,), notice=told, **changed)
        if was == batch.status and uploads.is_id(batch.input_file_id):
            await uploads.release(here.redis, here.keys, here.store, batch.input_file_id, batch.id)

    def _notice(self, batch: Batch, status: str, at_s: int) -> Notice | None:
        """What the client's webhook is told."""
        client = self._here.settings.clients.get(batch.client)
        if client is None or client.webhook is None:
            return None
        subject, data = f"{batch.id} {batch.generation}", {"id": batch.id, "status": status}
        return hooks.notice(batch.client, f"batch.{status}", subject, at_s * 1000, data)


def _no_file(file_id: str) -> Wrong:
    message = f"Cannot find file '{file_id}', or the organization does not have access to it."
    return Wrong("invalid_request", message, "file_id")
