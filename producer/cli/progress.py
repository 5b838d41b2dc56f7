"""The display of a run that is going on: a live panel on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.printable import one_line
from pipelines.reports.shared.format import dollars, duration
from producer.cli.say import console, note
from producer.runs import LaneView, RunView

if TYPE_CHECKING:
    from rich.console import RenderableType

LINE_EVERY_S, IDLE_EVERY_S = 5.0, 30.0
WINDOW_S = 10.0
_PICO = Decimal(10) ** -12


class Display(Protocol):
    """Shows the run as it is now."""

    def show(self, run: RunView, lanes: Sequence[LaneView]) -> None: ...


class Rate:
    """Rows per second over the last seconds: what is done at the start by links must not promise too much."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, done: int, now_s: float) -> float:
        """The rate after `done` rows at `now_s`."""
        self._seen.append((now_s, done))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= self._window_s:
            self._seen.popleft()
        first_s, first = self._seen[0]
        return max(0.0, (done - first) / (now_s - first_s)) if now_s > first_s else 0.0


def eta_s(run: RunView, rate: float) -> float | None:
    """Seconds to go at this rate; None when nobody can know."""
    left = run.total - run.done
    return left / rate if rate > 0 and left >= 0 else None


@contextmanager
def display(quiet: bool) -> Iterator[Display]:
    """The display that suits standard error: a panel on a terminal, lines in a file, nothing when quiet."""
    if quiet:
        yield _Silent()
    elif sys.stderr.isatty():
        with _panel() as panel:
            yield panel
    else:
        yield _Lines()


class _Silent:
    def show(self, run: RunView, lanes: Sequence[LaneView]) -> None:
        """Quiet is quiet."""


class _Lines:
    """A line every LINE_EVERY_S while the run moves, seldom while it does not, one at once when a target goes down or comes
    back, and one at the end."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._said_s = float("-inf")
        self._said = -1
        self._down: list[str] = []

    def show(self, run: RunView, lanes: Sequence[LaneView]) -> None:
        now_s = time.monotonic()
        rate = self._rate.add(run.done, now_s)
        moved = run.done + run.rows
        down = [] if run.ended else [lane.name for lane in lanes if not lane.up]
        every_s = LINE_EVERY_S if moved != self._said else IDLE_EVERY_S
        if run.ended or down != self._down or now_s - self._said_s >= every_s:
            self._said_s, self._said, self._down = now_s, moved, down
            note(line(run, rate, lanes))


def line(run: RunView, rate: float, lanes: Sequence[LaneView] = ()) -> str:
    """The run in one line."""
    left = eta_s(run, rate)
    parts = [f"{run.status}: {run.done:,}/{_total(run)} rows"]
    if not run.ended:  # afterwards the files know better than the live counters
        parts += [", ".join((*_by_lane(run), f"duplicates {run.duplicate:,}")), *_reading(run), *_trouble(run)]
    parts += [
        f"{dollars(run.cost_pusd * _PICO)} spent, {dollars(run.avoided_pusd * _PICO)} avoided",
        f"{rate:,.0f} rows/s",
    ]
    if left is not None and not run.ended:
        parts.append(f"{duration(left)} to go")
    if not run.ended and not run.blocked:  # what blocks a run names its targets
        parts += [one_line(f"{lane.name} is down: {lane.reason}") for lane in lanes if not lane.up]
    if run.needs:
        parts.append(one_line(run.needs))
    return "; ".join(parts) + (f"; waiting: {run.blocked}" if run.blocked else "")


@contextmanager
def _panel() -> Iterator[Display]:
    from rich.live import Live

    with Live(console=console(sys.stderr), auto_refresh=False, transient=True) as live:
        yield _Panel(live)


class _Panel:
    """The live panel; each call redraws it."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._rate = Rate()
        self._began_s = time.monotonic()

    def show(self, run: RunView, lanes: Sequence[LaneView]) -> None:
        now_s = time.monotonic()
        self._live.update(panel(run, lanes, self._rate.add(run.done, now_s), now_s - self._began_s), refresh=True)


def panel(run: RunView, lanes: Sequence[LaneView], rate: float, elapsed_s: float) -> RenderableType:
    """Bar, figures and targets of a run."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.markup import escape
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    left = eta_s(run, rate)
    top = Table.grid(padding=(0, 1), expand=True)
    top.add_column(ratio=1)
    top.add_column(justify="right", no_wrap=True)
    done = f"{run.done:,} of {_total(run)} rows"
    top.add_row(ProgressBar(total=max(1, run.total), completed=min(run.done, run.total)), done)
    facts = [*_by_lane(run), f"duplicates {run.duplicate:,}", *_reading(run), *_trouble(run)]
    money = [
        f"spent {dollars(run.cost_pusd * _PICO)}",
        f"avoided {dollars(run.avoided_pusd * _PICO)}",
        f"{rate:,.1f} rows/s",
        f"{duration(elapsed_s)} so far",
        *([f"{duration(left)} to go"] if left is not None else []),
    ]
    targets = Table.grid(padding=(0, 3))
    for lane in lanes:
        state = _in_flight(lane) if lane.up else f"[red]down[/red] {escape(one_line(lane.reason))}"
        targets.add_row(escape(lane.name), lane.lane, state, f"{lane.rows_per_s:,.1f} rows/s" if lane.up else "")
    below = [
        Columns(each, padding=(0, 3)) for each in (facts, money)
    ]  # each figure whole, on as many lines as it takes
    parts: list[RenderableType] = [top, *below, targets]
    parts += [
        Text(one_line(said), style="yellow")
        for said in (f"waiting: {run.blocked}" if run.blocked else "", run.needs)
        if said
    ]
    return Panel(
        Group(*parts), title=f"run {run.run_id}", subtitle=run.status, title_align="left", subtitle_align="left"
    )


def _in_flight(lane: LaneView) -> str:
    return f"{lane.in_flight}/{lane.slots} in flight" if lane.slots else f"{lane.in_flight} rows out"


def _by_lane(run: RunView) -> list[str]:
    """Rows answered, by lane; providers' batches once there are any."""
    batch = [f"provider batch {run.rows_provider_batch:,}"] if run.rows_provider_batch else []
    return [f"local {run.rows_local:,}", f"cloud {run.rows_cloud:,}", *batch]


def _total(run: RunView) -> str:
    return f"{run.total:,}" if run.prepared else f"~{run.total:,}"


def _reading(run: RunView) -> list[str]:
    """How much of the source is read, while that goes on."""
    return [] if run.prepared else [f"{run.rows:,} read"]


def _trouble(run: RunView) -> list[str]:
    return [f"{name} {count:,}" for name in ("invalid", "failed", "refused") if (count := getattr(run, name))]
