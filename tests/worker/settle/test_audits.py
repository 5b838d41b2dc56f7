"""Which reuses of a run are chosen to be asked: a share of each route's own, whatever the other routes' names and sizes. And what their
answers are compared with, and when they are judged."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines import paths, schemas, wire
from pipelines.audit import Reuse
from pipelines.settings import parse_settings
from tests.support_frames import RUN, result
from tests.support_worker import write
from worker.context import Context, RunContext
from worker.fence import no_fence
from worker.settle import audits
from worker.settle.audits import Audits, _write, tallies
from worker.store import Store

OTHER = "20260301-070000-abc123"
ROUTES = ("able", "baker", "charlie")


async def test_a_busy_route_leaves_the_audits_of_the_others_alone(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "MOST", 5)
    target = {"lane": "local", "kind": "vllm", "base_url": "http://127.0.0.1:9/v1", "model": "q"}
    routes = {name: {"targets": ["gpu"], "audit_share": 0.5} for name in ROUTES}
    context.settings = parse_settings(
        {"spillway": {"data": str(tmp_path)}, "targets": {"gpu": target}, "routes": routes}
    )
    links = [
        {"row": row, "kind": "link", "leader_row": 0, "link_kind": "edit", "route": ROUTES[row % 3], "tags": "{}"}
        for row in range(30)
    ]
    write(tmp_path / paths.chunk(RUN, 0, 0), links, schemas.CHUNK)
    await context.redis.hset(context.keys.run(RUN), mapping={"status": "in_progress"})
    await Audits(context).plan(RUN)
    plan = wire.load(await context.redis.hget(context.keys.run(RUN), "audit"))
    assert Counter(each[3] for each in plan) == dict.fromkeys(ROUTES, 5)


def a_run() -> RunContext:
    """Made long ago."""
    return RunContext(RUN, {"client": "acme", "created_ms": "1"}, parse_settings({}))


def row_of(row: int, text: str, **more: Any) -> dict[str, Any]:
    return result(row, output=text, run_id=RUN, **more)


def answer(row: int, text: str | None) -> dict[str, Any]:
    """None: one that fails its check."""
    if text is None:
        return answer(row, "") | {
            "output": None,
            "status": "failed",
            "error_code": "check_failed",
            "error_message": "no label",
        }
    return row_of(row, text, generation=0, worth_usd=Decimal(0))


@pytest.mark.parametrize(
    ("link", "again", "expected"),
    [
        ((1, 0, None), [(0, "a"), (1, "b")], [("reuse", 1, False), ("baseline", 0, True)]),
        ((1, 7, OTHER), [(1, "b"), (1, "c")], [("reuse", 1, False), ("baseline", 1, False)]),
        ((1, 7, OTHER), [(1, "a")], [("reuse", 1, True)]),
        ((1, 0, None), [(0, "a"), (1, None)], [("reuse", 1, False), ("baseline", 0, True)]),
        ((1, 0, None), [(0, None), (1, "a")], [("reuse", 1, True), ("baseline", 0, False)]),
        ((1, 7, OTHER), [(1, None), (1, None)], [("reuse", 1, False), ("baseline", 1, True)]),
        ((1, 0, None), [(0, "a")], [("baseline", 0, True)]),
        ((1, 7, None), [(0, "a"), (1, "b")], []),
        ((2, 0, None), [(0, "a"), (2, "b")], []),
    ],
    ids=[
        "leader here",
        "leader elsewhere",
        "once only",
        "fails its check",
        "the leader fails it",
        "fails it twice",
        "given up",
        "served by another",
        "asked itself",
    ],
)
def test_a_reuse_is_compared_with_what_served_it_and_a_prompt_with_itself(
    tmp_path: Path,
    link: tuple[int, int, str | None],
    again: list[tuple[int, str | None]],
    expected: list[tuple[str, int, bool]],
) -> None:
    store, run = Store(str(tmp_path)), a_run()
    row, leader, other = link
    served = {"status": "duplicate", "duplicate_of": 0 if other is None else leader, "duplicate_run": other}
    rows = [row_of(0, "a"), row_of(1, "a", **served), row_of(2, "b")]
    write(tmp_path / paths.results(RUN), rows, schemas.RESULTS)
    for number, one in enumerate(again):
        write(tmp_path / paths.audit_part(RUN, f"{number:08d}"), [answer(*one)], schemas.PART)
    _write(store, run, [Reuse(row, leader, other, "small", "edit", "typo")], date(2026, 3, 1), no_fence)
    found = store.read_table(paths.audits("2026-03-01", RUN)).to_pylist()
    assert [(each["part"], each["row"], each["agrees"]) for each in found] == expected


def calling(team: str | None) -> dict[str, Any]:
    """An answer without text that calls a tool; None: of which the body was not kept."""
    called = {"function": {"name": "route", "arguments": f'{{"team": "{team}"}}'}}
    body = None if team is None else wire.dump({"choices": [{"message": {"tool_calls": [called]}}]})
    return {"finish_reason": "tool", "response": body}


@pytest.mark.parametrize(
    ("published", "asked", "expected"),
    [
        ("refund", "refund", ("tools", True, 'route({"team": "refund"})')),
        ("refund", "billing", ("tools", False, 'route({"team": "refund"})')),
        (None, None, None),
    ],
)
def test_answers_without_text_are_compared_by_the_tools_that_they_call(
    tmp_path: Path, published: str | None, asked: str | None, expected: tuple[str, bool, str] | None
) -> None:
    store, served = Store(str(tmp_path)), {"status": "duplicate", "duplicate_run": OTHER, "duplicate_of": 7}
    write(tmp_path / paths.results(RUN), [row_of(1, "", **calling(published), **served)], schemas.RESULTS)
    write(tmp_path / paths.audit_part(RUN, "1"), [answer(1, "") | calling(asked)], schemas.PART)
    _write(store, a_run(), [Reuse(1, 7, OTHER, "small", "canonical", "")], date(2026, 3, 1), no_fence)
    found = store.read_table(paths.audits("2026-03-01", RUN)).to_pylist()
    assert [(each["measure"], each["agrees"], each["published"]) for each in found] == ([expected] if expected else [])


def test_audits_are_filed_under_the_day_on_which_a_run_ends_and_once(tmp_path: Path) -> None:
    """A run that took long, or ended once more, is judged by what was found of late."""
    store, run = Store(str(tmp_path)), a_run()
    write(
        tmp_path / paths.results(RUN),
        [row_of(0, "a"), row_of(1, "a", status="duplicate", duplicate_of=0)],
        schemas.RESULTS,
    )
    write(tmp_path / paths.audit_part(RUN, "1"), [answer(0, "a"), answer(1, "b")], schemas.PART)
    write(tmp_path / paths.audits("2026-03-01", OTHER), [], schemas.AUDITS)
    for day in (date(2026, 3, 1), date(2026, 3, 9), date(2026, 3, 9)):
        _write(store, run, [Reuse(1, 0, None, "small", "edit", "typo")], day, no_fence)
    assert [name for folder in store.folders(paths.audits_dir()) for name in store.names(folder)] == [
        paths.audits("2026-03-01", OTHER), paths.audits("2026-03-09", RUN),
    ]  # fmt: skip
    assert tallies(store, ["audits/day=2026-03-09"], {"small"}) == {("small", "proof"): (1, 1, 0, 1)}
    assert tallies(store, ["audits/day=2026-03-01"], {"small"}) == {}


async def test_a_run_made_long_ago_is_judged_when_it_ends(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    count, judged = 40, []
    run = a_run()
    leaders = [row_of(row, "a") for row in range(count)]
    followers = [row_of(count + row, "a", status="duplicate", duplicate_of=row) for row in range(count)]
    write(Path(context.store.path(paths.results(RUN))), [*leaders, *followers], schemas.RESULTS)
    asked = [answer(row, "a" if row < count else "b") for row in range(2 * count)]
    write(Path(context.store.path(paths.audit_part(RUN, "1"))), asked, schemas.PART)
    audits_ = Audits(context)

    async def judge(subject: Any, tally: Any, now: Any) -> None:
        judged.append((subject, tally))

    monkeypatch.setattr(audits_, "_judge", judge)
    plan = wire.dump([Reuse(count + row, row, None, "small", "canonical", "") for row in range(count)])
    await audits_.conclude(run, plan, no_fence)
    assert judged == [(("small", "canonical"), (40, 40, 0, 40))]


async def test_what_was_planned_and_not_judged_is_free_for_the_days_next_run(context: Context) -> None:
    keys, redis, day = context.keys, context.redis, context.keys.audits("2026-03-01")
    plan = wire.dump([Reuse(row, 0, None, "small", "edit", "typo") for row in range(1, 31)])
    await redis.hset(keys.run(RUN), mapping={"audit": plan, "audit_day": "2026-03-01"})
    await redis.hset(day, mapping={"small audited": 40, "small reuses": 90})
    served = [row_of(row, "a", status="duplicate", duplicate_of=0) for row in range(1, 31)]
    write(Path(context.store.path(paths.results(RUN))), [row_of(0, "a"), *served], schemas.RESULTS)
    write(
        Path(context.store.path(paths.audit_part(RUN, "1"))),
        [answer(0, "a"), answer(1, "a"), answer(2, "b")],
        schemas.PART,
    )
    for _ in range(2):
        await Audits(context).conclude(a_run(), plan, no_fence)
        assert await redis.hgetall(day) == {b"small audited": b"12", b"small reuses": b"90"}
    await redis.delete(day)
    await redis.hdel(keys.run(RUN), "audit_judged")
    await Audits(context).conclude(a_run(), plan, no_fence)
    assert not await redis.exists(day), "a day that is over stays over"


async def test_audits_that_were_held_back_are_due_when_all_rows_have_ended(context: Context) -> None:
    run, audits_ = context.keys.run(RUN), Audits(context)
    await context.redis.hset(run, mapping={"status": "in_progress", "open": 1, "audit_open": 1})
    assert await audits_.wait(RUN, 0, due=False, blocked=False)
    assert await context.redis.hget(run, "audit_due") == b"1"
    assert not await audits_.wait(RUN, 0, due=True, blocked=True), "the budget ends: they are left out"
    await Audits(context).wait("20260301-090000-abc123", 1, due=False, blocked=False)
    assert not await context.redis.exists(context.keys.run("20260301-090000-abc123")), "a run that is gone stays gone"


async def test_exact_copies_are_no_opinion(context: Context, tmp_path: Path) -> None:
    """But they count among what was spared, which says what audits of proofs are worth; canonical ones are drawn by their own share."""
    kinds = ["exact"] * 400 + ["canonical"] * 200 + ["edit"] * 20 + ["semantic"] * 20
    links = [
        {"row": row, "kind": "link", "leader_row": 0, "link_kind": kind, "route": "small", "tags": "{}"}
        for row, kind in enumerate(kinds)
    ]
    target = {"kind": "vllm", "base_url": "http://127.0.0.1:9/v1", "model": "q"}
    context.settings = parse_settings(
        {"spillway": {"data": str(tmp_path)}, "targets": {"gpu": target}, "routes": {"small": {"targets": ["gpu"]}}}
    )
    write(Path(context.store.path(paths.chunk(RUN, 0, 0))), links, schemas.CHUNK)
    await context.redis.hset(context.keys.run(RUN), mapping={"status": "in_progress"})
    await Audits(context).plan(RUN)
    plan = [Reuse(*each) for each in wire.load(await context.redis.hget(context.keys.run(RUN), "audit"))]
    assert Counter(each.grounds for each in plan) == {"canonical": 4, "proof": 30}


async def test_a_day_of_small_runs_adds_up(context: Context, tmp_path: Path) -> None:
    target = {"kind": "vllm", "base_url": "http://127.0.0.1:9/v1", "model": "q"}
    context.settings = parse_settings(
        {"spillway": {"data": str(tmp_path)}, "targets": {"gpu": target}, "routes": {"small": {"targets": ["gpu"]}}}
    )
    kinds = ["exact"] * 60 + ["edit"] * 20
    links = [
        {"row": row, "kind": "link", "leader_row": 0, "link_kind": kind, "route": "small", "tags": "{}"}
        for row, kind in enumerate(kinds)
    ]
    planned = []
    for run_id in (RUN, OTHER, "20260301-090000-abc123", "20260301-100000-abc123", "20260301-110000-abc123"):
        write(Path(context.store.path(paths.chunk(run_id, 0, 0))), links, schemas.CHUNK)
        await context.redis.hset(context.keys.run(run_id), mapping={"status": "in_progress"})
        await Audits(context).plan(run_id)
        planned.append(len(wire.load(await context.redis.hget(context.keys.run(run_id), "audit"))))
    assert planned == [8, 8, 8, 6, 0]
