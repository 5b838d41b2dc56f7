"""Beside the settler: which reuses of a run are really asked, what their answers say, and which routes that pauses.

The plan stands in the run's hash, made once; its calls travel as ordinary batches whose head says `audit`. What they say
is written when the run ends, from parts alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import audit, paths, schemas, wire
from pipelines.agreement import Agreement, Answer, agreement
from pipelines.audit import Reuse, Tally
from pipelines.budgets import Event, Scope
from pipelines.dialects import completions
from pipelines.pauses import WINDOW, Subject, pause, paused, say, tally
from worker.chunks import in_order
from worker.context import Context, RunContext
from worker.fence import Fence
from worker.hooks import announce_alert
from worker.queue import OPEN, noted
from worker.store import Store
from worker.tell import Teller

log = logging.getLogger("spillway.audit")

MOST = 500
"""Reuses of one run and route that are audited; each is two calls."""
PATIENCE_S = 60.0
"""A run whose rows have all ended waits no longer for its audits."""
DAY_KEPT_S = 3 * 86_400
SERVING, ANSWERED, CHECK_FAILED = ("ok", "duplicate"), ("ok", "refused"), "check_failed"
ENDED = ("status", "error_code", "error_message")
SAID = ("output", "parsed", "finish_reason")
COLUMNS = ["row", "leader_row", "leader_run", "route", "link_kind", "guard"]


class Audits:
    """For every open run that has reuses by more than exact keys."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._since: dict[str, float] = {}
        self._teller = Teller(context)

    async def plan(self, run_id: str) -> None:
        """Chooses once which reuses are asked; counts them for their routes' day."""
        context, keys = self._context, self._context.keys
        spared, counted, kept = await asyncio.to_thread(_reuses, context.store, run_id)
        day = context.clock.date(context.settings.spillway.timezone)
        today = {n.decode(): int(v) for n, v in (await context.redis.hgetall(keys.audits(day))).items()}
        plan: list[Reuse] = []
        counts = {f"{route} spared": count for route, count in spared.items()}
        for (route, grounds), count in sorted(counted.items()):
            share = context.settings.routes[route].audit_share if route in context.settings.routes else 0.0
            name = audit.pause_name(route, grounds)
            total, done = today.get(f"{name} reuses", 0) + count, today.get(f"{name} audited", 0)
            unasked = today.get(f"{route} spared", 0) + spared[route]
            chosen = audit.chosen(run_id, kept[route, grounds], audit.due(total, unasked, done, share, grounds))
            plan += chosen
            counts |= {f"{name} reuses": count, f"{name} audited": len(chosen)}
        args = [OPEN, wire.dump(plan), len(plan), DAY_KEPT_S, day, *(part for pair in counts.items() for part in pair)]
        planned = await context.scripts.audit_plan(keys=[keys.run(run_id), keys.audits(day)], args=args)
        if planned and plan:
            log.info("run %s: %d of %d reuses are asked to see whether they hold", run_id, len(plan), counted.total())

    async def wait(self, run_id: str, wanted: int, *, due: bool, blocked: bool) -> bool:
        """Whether a run whose rows have all ended still waits for its audits, which are `due` by that if they were held back; at
        last gives up what is not sent."""
        now, keys = asyncio.get_running_loop().time(), self._context.keys
        if not due:
            await self._context.scripts.note(keys=[keys.run(run_id)], args=noted({"audit_due": "1"}))
        if not blocked and now - self._since.setdefault(run_id, now) < PATIENCE_S:
            return True
        names = [keys.waiting(run_id), keys.drained(run_id), keys.run(run_id)]
        await self._context.scripts.close(keys=names, args=[keys.batch(""), "audits"])
        return bool(wanted)

    async def conclude(self, run: RunContext, plan: bytes | None, ours: Fence) -> None:
        """Writes what the run's audits said, and pauses routes that reuse too much that is wrong. Safe to repeat; raises LeaseLost
        when the run went on meanwhile."""
        self._since.pop(run.id, None)
        reused = [Reuse(*each) for each in wire.load(plan)] if plan else []
        if not reused:
            return
        now = datetime.fromtimestamp(self._context.clock.now_us() / 1e6, UTC)
        store = self._context.store
        judged = await asyncio.to_thread(_write, store, run, reused, now.date(), ours)
        await self._give_back(run.id, reused, judged)
        days = [paths.audits_day((now - timedelta(days=back)).date().isoformat()) for back in range(WINDOW.days + 1)]
        told = await asyncio.to_thread(tallies, store, days, {each.route for each in reused})
        for subject, counted in told.items():
            await self._judge(subject, counted, now)

    async def _give_back(self, run_id: str, reused: Sequence[Reuse], judged: Counter[str]) -> None:
        """What was planned and not judged, as a budget ended or its answers never came, counts no longer as done for the day."""
        keys = self._context.keys
        day = await self._context.redis.hget(keys.run(run_id), "audit_day")
        planned = Counter(audit.pause_name(each.route, each.grounds) for each in reused)
        args = [part for name, count in planned.items() for part in (f"{name} audited", judged[name] - count)]
        if day is not None:
            await self._context.scripts.audit_judged(keys=[keys.run(run_id), keys.audits(day.decode())], args=args)

    async def _judge(self, subject: Subject, counted: Tally, now: datetime) -> None:
        route, name = self._context.settings.routes.get(subject[0]), audit.pause_name(*subject)
        if route is None or not audit.condemned(*counted, route.max_false_reuse):
            return
        told = say(subject, counted, route.max_false_reuse, int((now + WINDOW).timestamp() * 1000))
        keys, redis = self._context.keys, self._context.redis
        scope = Scope(f"route:{name}", None)
        event = Event("dedupe_paused", now.date().isoformat(), scope, int(now.timestamp() * 1e6), told.message)
        known = await redis.hget(keys.paused, name) or b"{}"
        new = name not in paused({name: known}, {subject[0]: route.max_false_reuse}, event.at_us // 1000)
        if new:
            await announce_alert(self._context, event)  # before it is written down: who dies in between tells it again
        pipe = redis.pipeline(transaction=True)
        pipe.hset(keys.paused, name, pause(*told))
        pipe.pexpireat(keys.paused, told.until_ms)
        await pipe.execute()
        if new:
            self._teller.tell(event)


def _reuses(store: Store, run_id: str) -> tuple[Counter[str], Counter[Subject], Mapping[Subject, list[Reuse]]]:
    """How many rows of the run each route was spared, how many of these rest on more than an exact key, and those that are drawn first of
    them. Blocking."""
    spared: Counter[str] = Counter()
    counts: Counter[Subject] = Counter()
    kept: dict[Subject, list[Reuse]] = defaultdict(list)
    for part in in_order(store, run_id):
        table = store.read_table(part.name, columns=COLUMNS)
        table = table.filter(pc.is_valid(table["link_kind"]))
        spared.update(table["route"].to_pylist())
        table = table.filter(pc.is_in(table["link_kind"], value_set=pa.array(audit.GROUNDS)))
        found = [Reuse(*each) for each in zip(*(table[column].to_pylist() for column in COLUMNS), strict=True)]
        for subject in {(each.route, each.grounds) for each in found}:
            mine = [each for each in found if (each.route, each.grounds) == subject]
            counts[subject] += len(mine)
            kept[subject] = audit.chosen(run_id, [*kept[subject], *mine], MOST)
    return spared, counts, kept


def tallies(store: Store, days: Sequence[str], routes: set[str]) -> dict[Subject, Tally]:
    """What the audits of these days say of the reuses of each route, by what they rest on."""
    counts: dict[Subject, Counter[tuple[str, bool]]] = defaultdict(Counter)
    for name in (name for day in days for name in store.names(day)):
        table = store.sound_table(name, columns=["route", "link_kind", "part", "agrees"])
        if table is None:
            continue
        for route, kind, part, agrees in zip(
            *(table[column].to_pylist() for column in table.column_names), strict=True
        ):
            if route in routes and kind in audit.GROUNDS:
                counts[route, audit.GROUNDS[kind]][part, agrees] += 1
    return {subject: tally(count) for subject, count in counts.items()}


def _write(store: Store, run: RunContext, reused: Sequence[Reuse], today: date, ours: Fence) -> Counter[str]:
    """Compares the audits' answers with what was published. Under the day on which the run ends: it is judged by what was found of
    late, and may have been made long ago. A run that ends once more is there once. Returns how many reuses were judged, by the names
    of their pauses."""
    asked = _asked(store, run.id)
    published = _published(store, run.id, sorted({*asked, *(each.row for each in reused)}))
    rows: dict[tuple[int, str, str], dict[str, Any]] = {}
    for each in reused:
        for part, row, first, again in _compared(each, published, asked):
            said, anew = _answer(first), _answer(again)
            serve = [answer["status"] in SERVING for answer in (first, again)]
            if all(serve):
                found = agreement(said, anew, labels=run.labels is not None)
            else:  # an answer that fails its check, or a refusal, says something else than one that serves
                found = Agreement(not any(serve), "check", float(not any(serve)))
            if found is None:
                continue
            rows[row, part, each.grounds] = {
                "run_id": run.id, "client": run.client, "route": each.route, "row": row, "part": part,
                "link_kind": each.kind, "guard": each.guard, "leader_row": each.leader_row,
                "leader_run": each.leader_run, **found._asdict(), "published": _shown(said, first),
                "asked": _shown(anew, again), "at": again["finished_at"],
            }  # fmt: skip
    table = pa.Table.from_pylist(list(rows.values()), schema=schemas.AUDITS)
    name = paths.audits(today.isoformat(), run.id)
    store.write_table(name, table, ours)
    for folder in store.folders(paths.audits_dir()):
        before = f"{folder}/{run.id}.parquet"
        if before != name and store.exists(before):
            ours()
            store.delete(before)
    reuses = [row for row in rows.values() if row["part"] == "reuse"]
    return Counter(audit.pause_name(row["route"], audit.GROUNDS[row["link_kind"]]) for row in reuses)


Row = Mapping[str, Any]


def _answer(row: Row) -> Answer:
    """What a row says; the tools that it calls stand in its body alone."""
    calls = completions.calls(row.get("response"))
    return Answer(row["output"] or "", row["parsed"], None if row["finish_reason"] == "tool" and not calls else calls)


def _shown(said: Answer, row: Row) -> str | None:
    called = "; ".join(f"{name}({arguments})" for name, arguments in said.calls or ())
    return said.text or called or row.get("error_message")


def _compared(
    each: Reuse, published: Mapping[int, Row], asked: Mapping[int, Sequence[Row]]
) -> Iterator[tuple[str, int, Row, Row]]:
    """Part, row and two answers: the one that served the follower beside its own, and two of one prompt. Nothing of a follower that is
    served by that leader no more, and only what was answered."""
    served, own = published.get(each.row), asked.get(each.row, ())
    if served is None or (served["duplicate_of"], served["duplicate_run"]) != (each.leader_row, each.leader_run):
        return
    if own:
        yield "reuse", each.row, served, own[0]
    if each.leader_run is not None and len(own) > 1:
        yield "baseline", each.row, own[0], own[1]
    elif each.leader_run is None and each.leader_row in published and each.leader_row in asked:
        yield "baseline", each.leader_row, published[each.leader_row], asked[each.leader_row][0]


def _asked(store: Store, run_id: str) -> Mapping[int, Sequence[Row]]:
    """The answers of each row that was audited, also those that are not good enough, the first one first."""
    found: dict[int, list[Row]] = defaultdict(list)
    for name in store.names(paths.audit_parts_dir(run_id)):
        table = store.read_table(name, columns=["row", *ENDED, *SAID, "response", "finished_at"])
        for each in table.to_pylist():
            if each["status"] in ANSWERED or each["error_code"] == CHECK_FAILED:
                found[each["row"]].append(each)
    return {row: sorted(answers, key=itemgetter("finished_at")) for row, answers in found.items()}


def _published(store: Store, run_id: str, rows: Sequence[int]) -> Mapping[int, Row]:
    """What these rows' callers get. A row that follows has the answer of the row that it names. Bodies are long: only those that
    may call tools are read."""
    found = _picked(store, run_id, rows, [*SAID, "duplicate_of", "duplicate_run"])
    mute = [row for row, each in found.items() if each["finish_reason"] == "tool" or not each["output"]]
    bodies = _picked(store, run_id, mute, ["response"]) if mute else {}
    return found | {row: found[row] | body for row, body in bodies.items()}


def _picked(store: Store, run_id: str, rows: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Of these rows of the results those with an answer."""
    found: dict[int, dict[str, Any]] = {}
    wanted = np.array(rows, np.int64)
    for block in store.open_parquet(paths.results(run_id)).iter_batches(4096, columns=["row", "status", *columns]):
        picked = block.filter(pa.array(np.isin(block["row"].to_numpy(), wanted)))
        picked = picked.filter(pc.is_in(picked["status"], value_set=pa.array(SERVING)))
        found |= {each["row"]: each for each in picked.to_pylist()}
    return found
