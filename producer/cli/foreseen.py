"""What a new run with a deadline will cost and when it ends: the figures of `spillway plan`, worked out beside the run.

By a process of its own (worker/asked.py) after the first answer; no run waits for it or fails with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import SpillwayError
from producer.cli import say

if TYPE_CHECKING:
    from producer.cli.run import Order
    from producer.runs import RunView


class Bounds(NamedTuple):
    """Of sources that are foreseen, not compressed, and of the time for it."""

    rows: int
    size_bytes: int
    limit_s: float


BESIDE, AT_SUBMIT = Bounds(200_000, 64 << 20, 60.0), Bounds(20_000, 8 << 20, 10.0)
"""`submit` waits for its figures."""
FIRST_ANSWER_S, LOOK_S = 3.0, 0.2
"""The processor is the run's until it has an answer, or that long."""
NAMES = (
    "deadline_s", "cost_usd_p50", "cost_usd_p90", "seconds_p50", "seconds_p90", "lacks", "assumption",
)  # fmt: skip


@asynccontextmanager
async def beside(
    wanted: Order, followed: Sequence[RunView], told: dict[str, Any], *, quiet: bool
) -> AsyncIterator[None]:
    """As long as the block lasts the figures are sought; once found they are said, and stand in `told` as `foreseen`."""
    task = asyncio.create_task(_beside(wanted, followed, told, quiet=quiet))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _beside(wanted: Order, followed: Sequence[RunView], told: dict[str, Any], *, quiet: bool) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_ANSWER_S):
            while not (followed and followed[-1].done):
                await asyncio.sleep(LOOK_S)
    told["foreseen"] = await _figures(wanted, BESIDE)
    if told["foreseen"] and not quiet:
        say.note(line(told["foreseen"]))


async def at_submit(wanted: Order) -> dict[str, Any] | None:
    """The figures of a run that is registered here and answered elsewhere; the command waits for them, not for long."""
    return await _figures(wanted, AT_SUBMIT)


async def _figures(wanted: Order, within: Bounds) -> dict[str, Any] | None:
    """NAMES of what `spillway plan` says; None where the sources are too large, it takes too long, or no row can be asked."""
    import msgspec

    from producer import apart
    from producer.sources import estimate

    with suppress(SpillwayError, OSError, ValueError):  # a TimeoutError is an OSError
        sizes = [await asyncio.to_thread(estimate, source) for source in wanted.sources]
        if sum(rows for rows, _ in sizes) > within.rows or sum(size for _, size in sizes) > within.size_bytes:
            return None
        question = apart.question(
            wanted.settings,
            "plan",
            within.limit_s,
            client=wanted.client,
            sources=msgspec.to_builtins(wanted.sources),
            options=msgspec.to_builtins(wanted.options),
        )
        async with asyncio.timeout(within.limit_s):
            said = apart.answer(await apart.run(apart.ASKED, question, {"OMP_NUM_THREADS": "1"}))
        return {name: said[name] for name in NAMES} if said.get("asked") else None
    return None


def line(said: Mapping[str, Any]) -> str:
    """`foreseen: $0.31 to $0.36, done in 3 m 10 s to 3 m 40 s (P50 to P90); needs +$0.20 or +3.0 min; …`."""
    from pipelines.reports.shared.format import dollars, duration

    cost = _range(*(dollars(Decimal(said[name])) for name in ("cost_usd_p50", "cost_usd_p90")))
    time = _range(*(duration(said[name]) for name in ("seconds_p50", "seconds_p90")))
    parts = [f"foreseen: {cost}, done in {time} (P50 to P90)"]
    if lacks := said["lacks"]:
        parts.append(f"needs {lacks['text'] or 'another lane: neither money nor time would do'}")
    return "; ".join([*parts, said["assumption"]])


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
