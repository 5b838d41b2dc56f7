"""What earlier runs under the data root measured, read from the newest ledger parts only, and in words: for `spillway plan`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import polars as pl
import pyarrow as pa

from pipelines import beside, lengths, paths, wire
from pipelines.batch import form_of
from pipelines.lengths import Known, latencies, measure
from pipelines.planning.capacity import LONG, idle
from pipelines.types import BatchHead, Options
from worker.store import Store
from worker.targets import Targets

MOST_ROWS, MOST_FILES = 100_000, 200
COLUMNS = [
    "client",
    "route",
    "lane",
    "target",
    "outcome",
    "error_code",
    "purpose",
    "output_tokens",
    "started_at",
    "finished_at",
]


class Earlier(NamedTuple):
    """Lengths of a client's answers, which no other client is told; times of its calls of a group or on a route, else of anybody's on
    that route, for a group says how prompts begin; and by target what its batch API's orders took, in seconds (lengths.latencies)."""

    lengths: Known
    times: Known
    latencies: Mapping[str, Sequence[float]]


def read(store: Store, options: Options, client: str) -> Earlier:
    """What the newest calls tell a client of runs whose answers were asked for in the same form: labels, a schema, or free text. Damaged
    files measure nothing."""
    wanted, forms = form_of(options), dict[str, str]()
    found: list[pa.Table] = []
    rows = 0
    for seen, name in enumerate(_newest(store)):
        if seen >= MOST_FILES or rows >= MOST_ROWS:
            break
        run = name.rpartition("/")[2].partition(".")[0]
        if run not in forms:
            forms[run] = _form_of(store, run)
        if forms[run] == wanted:
            try:
                table = store.read_table(name, columns=COLUMNS)
                found.append(table.append_column("group", pa.array(beside.groups(table), pa.string())))
            except (OSError, pa.ArrowException):
                continue
            rows += found[-1].num_rows
    if not found:
        return Earlier({}, {}, {})
    costs = pl.from_arrow(pa.concat_tables(found, promote_options="permissive"))
    assert isinstance(costs, pl.DataFrame)
    mine = measure(costs.filter(pl.col("client") == client))
    own_times = {(route, target): each for (route, target), each in mine.items() if route}
    return Earlier(mine, {**measure(costs.drop("group")), **own_times}, latencies(costs))


def _newest(store: Store) -> list[str]:
    return [name for day in reversed(store.folders("costs")) for name in reversed(store.names(day))]


def _form_of(store: Store, run: str) -> str:
    """The form of a run's answers; empty for a run without a record."""
    try:
        record = wire.load(store.read_bytes(paths.run_record(run)))
        return form_of(msgspec.convert(record["options"], Options))
    except (OSError, ValueError, KeyError, TypeError, msgspec.MsgspecError):
        return ""


def assumption(known: Known, targets: Targets, heads: list[BatchHead]) -> str:
    """Where lengths and times come from, and which local servers do nothing, in words."""
    routes, new = sorted({head.route for head in heads}), Counter[str]()
    others = {group for group in {head.group for head in heads} if lengths.is_new(known, group)}
    for head in heads:
        if head.group in others:
            new[head.route] += head.rows
    on = {name: [each for lane in ("local", "cloud") for each in targets.route_targets(name, lane)] for name in routes}
    measured = {name: found for name in routes if (found := lengths.of_route(known, name, (), on[name])) is not None}
    said = [f"route {name}: lengths of {found.calls:,} earlier answers" for name, found in measured.items()]
    said += [
        f"{rows:,} rows of route {name} are of a new kind: P90 assumes {LONG:g} times their tokens and time"
        for name, rows in sorted(new.items())
    ]
    if guessed := [name for name in routes if name not in measured]:
        said.append(
            f"route {', '.join(guessed)}: no such answers measured here yet, P90 assumes {LONG:g} times the tokens and time"
        )
    said += filter(None, (idle(name, targets.route_targets(name, "local")) for name in routes))
    return "; ".join(said)
