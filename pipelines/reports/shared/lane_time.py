"""Lanes over time, and what one more hour of a local target would have saved: read from the ledger's calls."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from pipelines.batch import PREFILL_WEIGHT
from pipelines.beside import Room
from pipelines.lengths import BATCHES, BUSY_S
from pipelines.money import PUSD_PER_USD, pusd_to_usd
from pipelines.reports.shared.sections import Section

BUCKETS = 24
HOUR_S, MINUTES = 3600.0, 60


GIVEN_UP = "too_late"
"""The code of a local call that was given up for the cloud: an hour more would have been its time."""


def sections(
    costs: pl.LazyFrame, timezone: str = "UTC", rooms: Mapping[str, Room] = MappingProxyType({})
) -> list[Section]:
    """Both as tables; calls in flight also as bars, by the clock of the zone. `rooms`: what is known of targets'."""
    calls = costs.select(
        "run_id", "row", "lane", "target", "route", "outcome", "error_code", "purpose", "cost_usd", "cost_basis", "input_tokens",
        "output_tokens", "started_at", "finished_at",
    ).collect()  # fmt: skip
    found = []
    if hours := one_more_hour(calls, rooms):
        found.append(Section("What one more hour of each local target would have saved", hours))
    if flights := in_flight(calls, timezone, rooms):
        lanes = [name for name in flights[0] if name != "from" and not name.endswith("_share")]
        bars = [(f"{row['from']} {lane}", f"{row[lane]:.1f}", row[lane]) for row in flights for lane in lanes]
        found.append(Section("Calls in flight over time", flights, bars=bars))
    return found


def one_more_hour(calls: pl.DataFrame, rooms: Mapping[str, Room] = MappingProxyType({})) -> list[dict[str, Any]]:
    """Answers that were bought on the target's routes, those first that cost most for its time, as many as it would have given
    in one more hour at work at its own pace, less what its own calls cost for as much work; `per_hour_usd` is the shadow price:
    sixty times what its first minute was worth. Not what it could not have answered: its window is too small, or it has tried."""
    good = calls.filter((pl.col("outcome") == "ok") & (pl.col("purpose") == "answer"))
    good = good.filter(pl.col("cost_basis") != "upper_bound")  # what it was charged is no price of what it says it took
    # an answer that came without its usage says nothing of time
    good = good.filter(pl.col("input_tokens") + pl.col("output_tokens") > 0)
    local, bought = good.filter(pl.col("lane") == "local"), good.filter(pl.col("lane") != "local")
    tried = calls.filter((pl.col("lane") == "local") & (pl.col("outcome") != "lost"))
    tried = tried.filter(pl.col("error_code").fill_null("") != GIVEN_UP)
    found = []
    for (name,), mine in local.sort("target").group_by("target", maintain_order=True):
        there = bought.filter(pl.col("route").is_in(mine["route"].unique().to_list()))
        there = there.join(tried.filter(pl.col("target") == name), on=["run_id", "row"], how="anti")
        if hour := _hour(mine, there, rooms.get(str(name), Room())):
            found.append({"target": name, **hour})
    return found


def _hour(mine: pl.DataFrame, there: pl.DataFrame, room: Room) -> dict[str, Any]:
    """Of a target's own answers and those that were bought; nothing where its own took no time."""
    busy_s = mine.select(BUSY_S).item()
    # all of its input: what the other lane's cache held says nothing of this one's
    work = (room.prefill or PREFILL_WEIGHT) * pl.col("input_tokens") + pl.col("output_tokens")
    done = float(mine.select(work.sum()).item())
    if busy_s <= 0:
        return {}
    most, own_usd = HOUR_S * done / busy_s, float(mine["cost_usd"].sum()) / done
    if room.window_tokens:
        there = there.filter(pl.col("input_tokens") + pl.col("output_tokens") <= room.window_tokens)
    there = there.with_columns(work.alias("work"))
    there = there.with_columns((pl.col("cost_usd").cast(pl.Float64) - own_usd * pl.col("work")).alias("saved"))
    there = there.filter(pl.col("saved") > 0).sort(pl.col("saved") / pl.col("work"), descending=True)
    there = there.with_columns(pl.col("work").cum_sum().alias("until"))
    first = there.filter(pl.col("until") - pl.col("work") < most / MINUTES)
    dearest = float(first["saved"].sum()) / float(first["work"].sum() or 1)
    there = there.filter(pl.col("until") <= most)
    return {
        "busy_s": busy_s, "per_hour_usd": _usd(dearest * most), "more_rows": len(there),
        "saved_usd": _usd(float(there["saved"].sum())),
    }  # fmt: skip


def _usd(usd: float) -> Decimal:
    return pusd_to_usd(round(PUSD_PER_USD * usd))


def in_flight(
    calls: pl.DataFrame, timezone: str = "UTC", rooms: Mapping[str, Room] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """The mean of each lane in each of 24 equal times from the first call to the last answer, and what part that is of its targets'
    slots, as far as they are known; no fewer than were ever in flight there."""
    if calls.is_empty():
        return []
    began, ended = (calls[column].dt.epoch("us").to_numpy() / 1e6 for column in ("started_at", "finished_at"))
    edges = np.linspace(began.min(), max(ended.max(), began.min() + 1e-6), BUCKETS + 1)
    lanes = {lane: (calls["lane"] == lane).to_numpy() for lane in sorted(calls["lane"].unique().to_list())}
    slots = {
        lane: sum(rooms.get(name, Room()).slots for name in calls.filter(mine)["target"].unique())
        if lane != BATCHES
        else 0
        for lane, mine in lanes.items()
    }
    most = {lane: max(slots[lane], _most(began[mine], ended[mine])) for lane, mine in lanes.items()}
    times = pl.from_epoch(pl.Series((edges[:-1] * 1e6).astype(np.int64)), time_unit="us").dt.replace_time_zone("UTC")
    shown = times.dt.convert_time_zone(timezone).dt.strftime("%F %T" if edges[1] - edges[0] >= 1 else "%F %T%.3f")
    found = []
    for moment, (low, high) in zip(shown, pairwise(edges), strict=True):
        inside = np.clip(np.minimum(ended, high) - np.maximum(began, low), 0.0, None) / (high - low)
        row: dict[str, Any] = {"from": moment}
        for lane, mine in lanes.items():
            busy = float(inside[mine].sum())
            row |= {lane: busy, f"{lane}_used_share": busy / most[lane]}
        found.append(row)
    return found


def _most(began: Any, ended: Any) -> int:
    """At once, at the most: of two that touch, one has ended."""
    edges = np.concatenate((began, ended))
    steps = np.concatenate((np.ones(len(began)), -np.ones(len(ended))))
    return max(1, int(steps[np.lexsort((steps, edges))].cumsum().max()))
