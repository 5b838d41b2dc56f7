"""How long the followers of another run wait for it: while it can still answer, and no longer."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import paths, schemas, wire
from pipelines.settings import parse_settings
from pipelines.types import Done, Item
from tests.support_frames import RUN
from tests.support_worker import write
from worker.context import Context
from worker.settle import follow, followers
from worker.settle.follow import Again, Following, LinkTable
from worker.settle.followers import Followers
from worker.settle.pressing import rows_out
from worker.settle.settle import Settler
from worker.store import Store

OTHER = "20260301-070000-abc123"
DOWN = "no target is up: gpu: connection refused"
SPENT = "budget day: the next call does not fit"


class NoPrices:
    def price(self, name: str) -> None: ...
    def prices(self) -> list[Any]:
        return []


@pytest.fixture
async def following(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A run whose only row follows another run, of which nothing was answered; nobody is patient."""
    monkeypatch.setattr(followers, "PATIENCE_S", 0.0)
    monkeypatch.setattr(followers, "BUDGET_PATIENCE_S", 0.0)
    monkeypatch.setattr(followers, "LOOK_S", 0.0)
    link = {"row": 0, "kind": "link", "leader_row": 7, "leader_run": OTHER, "link_kind": "exact", "tags": "{}"}
    write(tmp_path / paths.chunk(RUN, 0, 0), [link], schemas.CHUNK)
    await context.redis.hset(context.keys.run(RUN), mapping={"status": "in_progress", "cursor": '{"row": 1}'})
    return context


async def asked(context: Context, **other: str) -> bool:
    """Whether the follower is asked itself when the other run stays as it is."""
    await context.redis.hset(context.keys.run(OTHER), mapping={"rows": "9", "ok": "3", **other})
    settler = Followers(context)
    for _ in range(3):
        await settler.hold(RUN, last=True)
        for state in settler._states.values():
            state.next_s = 0.0
    return bool(await context.redis.hlen(context.keys.promoted(RUN)))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"status": "in_progress"}, False),
        ({"status": "in_progress", "out_rows": "5"}, False),
        ({"status": "in_progress", "out_rows": "5", "blocked": DOWN}, False),
        ({"status": "in_progress", "out_rows": "0", "blocked": DOWN}, True),
        ({"status": "in_progress", "out_rows": "5", "blocked": SPENT}, False),
        ({"status": "in_progress", "out_rows": "0", "blocked": SPENT}, True),
        ({"status": "failed"}, True),
        ({}, True),
    ],
    ids=["waits for its turn", "is with a provider", "is partly with a provider", "is down", "is out of money with a provider", "is out of money", "ended", "is gone"],
)  # fmt: skip
async def test_followers_wait_while_the_other_run_can_still_answer(
    following: Context, other: dict[str, str], expected: bool
) -> None:
    assert await asked(following, **other) is expected


async def test_it_is_told_how_many_followers_of_another_run_have_an_answer(following: Context, tmp_path: Path) -> None:
    links = [
        {"row": n, "kind": "link", "leader_row": 7 + n, "leader_run": OTHER, "link_kind": "exact"} for n in range(3)
    ]
    write(tmp_path / paths.chunk(RUN, 0, 0), [{**link, "tags": "{}"} for link in links], schemas.CHUNK)
    await following.redis.hset(following.keys.run(RUN), "cursor", '{"row": 3}')
    seen = []
    for ended_ in ((), (7,), (7, 8)):
        if ended_:
            ended(tmp_path, len(ended_), ended_[-1], run=OTHER, status="ok")
        await asked(following, status="in_progress")
        seen.append(await following.redis.hmget(following.keys.run(RUN), "freed", "lent"))
    assert seen == [[b"0", b"0"], [b"1", b"1"], [b"2", b"2"]]
    await asked(following, status="cancelled")
    assert await following.redis.hmget(following.keys.run(RUN), "freed", "lent") == [b"3", b"2"]


@pytest.mark.parametrize(("cancel", "status"), [("1", "cancelled"), ("expired", "expired")])
async def test_a_run_that_is_stopped_while_the_settler_looks_at_it_ends_as_stopped(
    following: Context, cancel: str, status: str
) -> None:
    """What the settler had read of it was older: it ended `completed`, its followers `failed`, and could not be resumed."""
    redis, keys = following.redis, following.keys
    await redis.hset(keys.run(OTHER), mapping={"status": "in_progress"})
    await redis.hset(keys.run(RUN), mapping={"prepared": "1", "borrowed": "1", "generation": "0"})
    await redis.sadd(keys.open_runs, RUN)
    await redis.set(keys.lease("settle"), following.owner)
    settler = Settler(following, NoPrices())  # type: ignore[arg-type]
    hold = settler._followers.hold

    async def stopped_first(run_id: str, *, last: bool) -> bool:
        await redis.hset(keys.run(run_id), mapping={"cancel": cancel})
        return await hold(run_id, last=last)

    settler._followers.hold = stopped_first  # type: ignore[method-assign]
    for _ in range(2):
        await settler.step()
    assert await redis.hget(keys.run(RUN), "status") == status.encode()
    assert pq.read_table(Path(following.store.root) / paths.results(RUN))["status"].to_pylist() == [status]


async def test_patience_begins_when_the_other_run_is_blocked(
    following: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when it gave its last answer: it may have waited for a provider since."""
    settler = Followers(following)
    key = following.keys.run(OTHER)
    await following.redis.hset(key, mapping={"status": "in_progress", "out_rows": "5"})
    assert not await settler._over([OTHER])
    monkeypatch.setattr(followers, "PATIENCE_S", 60.0)
    settler._moved[OTHER] = (settler._moved[OTHER][0], settler._moved[OTHER][1] - 1000)
    assert not await settler._over([OTHER]), "it is with the provider"
    await following.redis.hset(key, mapping={"out_rows": "0", "blocked": DOWN})
    assert not await settler._over([OTHER])
    settler._moved[OTHER] = (settler._moved[OTHER][0], settler._moved[OTHER][1] - 1000)
    assert set(await settler._over([OTHER])) == {OTHER}


async def test_a_run_out_of_money_is_waited_for_until_what_it_has_answered_is_settled(
    following: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was given up at once: its followers paid for rows that it had answered in batches which wait for money."""
    monkeypatch.setattr(followers, "BUDGET_PATIENCE_S", 60.0)
    settler, key = Followers(following), following.keys.run(OTHER)
    await following.redis.hset(key, mapping={"status": "in_progress", "blocked": SPENT})
    assert not await settler._over([OTHER])
    settler._moved[OTHER] = (settler._moved[OTHER][0], settler._moved[OTHER][1] - 1000)
    await following.redis.hset(key, mapping={"settled": "12"})
    assert not await settler._over([OTHER])
    settler._moved[OTHER] = (settler._moved[OTHER][0], settler._moved[OTHER][1] - 1000)
    assert set(await settler._over([OTHER])) == {OTHER}


LANE = {"up": True, "slots": 4, "rows_per_s": 2.0, "latency_s": 0.5, "spans": 3}
BOTH = {
    "targets": {
        "gpu": {"lane": "local", "kind": "vllm", "base_url": "http://127.0.0.1:1", "model": "m", "max_concurrency": 4},
    },
    "routes": {"small": {"targets": ["gpu"]}},
}  # fmt: skip


@pytest.fixture
async def hurried(server: str, following: Context, tmp_path: Path) -> Context:
    """A run that follows 40 rows of another one, two by two alike, on a lane that answers two a second."""
    context = Context(parse_settings({"spillway": {"data": str(tmp_path)}, **BOTH}), following.redis, server)
    rows = [
        {"row": row, "leader_row": row // 2, "leader_run": OTHER, "link_kind": "exact", "route": "small", "tags": "{}"}
        for row in range(80)
    ]
    write(tmp_path / paths.chunk(RUN, 0, 0), [{**row, "kind": "link"} for row in rows], schemas.CHUNK)
    await context.redis.hset(context.keys.lanes, "gpu", wire.dump(LANE))
    await context.redis.hset(context.keys.run(OTHER), mapping={"status": "in_progress"})
    await context.redis.hset(context.keys.run(RUN), "cursor", '{"row": 80}')
    await context.scripts.load()
    return context


async def asked_with(context: Context, left_s: float, deadline_s: float, **own: Any) -> list[int]:
    """Rows that are asked when so much of a deadline is left."""
    deadline = {"deadline_ms": context.clock.now_ms() + int(left_s * 1000), "deadline_s": deadline_s}
    await context.redis.hset(context.keys.run(RUN), mapping={**deadline, **own})
    assert await Followers(context).hold(RUN, last=True)
    return sorted(int(row) for row in await context.redis.hkeys(context.keys.promoted(RUN)))


@pytest.mark.parametrize(
    ("left_s", "deadline_s", "own", "expected"),
    [
        (90, 100, {}, False),
        (50, 100, {}, False),
        (30, 100, {}, True),
        (24, 100, {}, True),
        (90, 100, {"held_rows": 100}, True),
        (900, 4000, {}, True),
    ],
    ids=["just begun", "half", "as long as it takes", "the last quarter", "with rows of its own", "the last quarter of much"],
)  # fmt: skip
async def test_followers_wait_until_the_lanes_need_the_time_that_is_left(
    hurried: Context, left_s: float, deadline_s: float, own: dict[str, Any], expected: bool
) -> None:
    """40 prompts take 1.4 times 20 s, four calls, a second, and five seconds until they are on the lane."""
    assert await asked_with(hurried, left_s, deadline_s, **own) == (list(range(0, 80, 2)) if expected else [])


async def test_what_the_other_run_has_out_is_waited_for_until_it_alone_needs_the_time(hurried: Context) -> None:
    keys, redis = hurried.keys, hurried.redis
    places = {"rung": keys.rung, "given": keys.given}
    for first, (name, place) in enumerate([*places.items(), ("drained", ""), ("part", ""), ("waiting", "")]):
        items = [Item(row, b"{}", 5, 5, f"r{row}") for row in (2 * first, 2 * first + 1)]
        await redis.hset(keys.batch(f"{OTHER}.0.{name}"), mapping={"payload": wire.pack_items(items)})
        if place:
            await redis.zadd(place, {f"{OTHER}.0.{name}": 1, f"{OTHER}9.0.other": 2})
    await redis.rpush(keys.drained(OTHER), f"{OTHER}.0.drained")
    await redis.hset(keys.parts(OTHER), "00000001", wire.dump([f"{OTHER}.0.part"]))
    assert await asked_with(hurried, 30, 100) == list(range(16, 80, 2)), "leaders 0 to 7 are out, 8 and 9 wait"
    assert await asked_with(hurried, 12, 40) == list(range(0, 80, 2))


async def test_answered_rows_of_a_batch_that_came_back_are_out(hurried: Context) -> None:
    keys, redis, batch = hurried.keys, hurried.redis, f"{OTHER}.0.waiting"
    await redis.zadd(keys.waiting(OTHER), {batch: 1})
    await redis.hset(keys.batch(batch), mapping={"left": 1, "state": "waiting"})
    done = Done(3, "ok", "c", 1, "yes", None, "stop", None, None, None, 200, None, 1, 2)
    await redis.rpush(keys.journal(batch), wire.pack_entries([done]))
    assert (await rows_out(hurried, OTHER)).tolist() == [3]


@pytest.mark.parametrize(("due_s", "expected"), [(20, False), (40, True), (None, True)])
async def test_a_run_that_must_end_before_is_waited_for(hurried: Context, due_s: int | None, expected: bool) -> None:
    if due_s is not None:
        due_ms = hurried.clock.now_ms() + due_s * 1000
        await hurried.redis.hset(hurried.keys.run(OTHER), "deadline_ms", due_ms)
    assert await asked_with(hurried, 30, 100) == (list(range(0, 80, 2)) if expected else [])


async def test_who_could_not_be_done_in_the_whole_of_the_time_waits(hurried: Context) -> None:
    """The other run is as far as it is; the same server would answer all of it twice."""
    assert await asked_with(hurried, 90, 100, held_rows=161) == []
    assert await asked_with(hurried, 24, 100, held_rows=161) == list(range(0, 80, 2))


async def test_followers_are_asked_early_where_no_speed_is_known(hurried: Context) -> None:
    await hurried.redis.delete(hurried.keys.lanes)
    assert await asked_with(hurried, 200, 250) == []
    assert await asked_with(hurried, 110, 250) == list(range(0, 80, 2)), "six seconds a call in each of four slots"


def test_links_of_parts_that_kept_no_keys_are_read_as_each_alone(tmp_path: Path) -> None:
    key = b"k" * 16
    kinds = [("edit", key), ("edit", key), ("exact", None), ("canonical", None)]
    links = [
        {"row": row, "leader_row": 0, "link_kind": kind, "link_key": key}
        for row, (kind, key) in enumerate(kinds, start=1)
    ]
    old = pa.schema([field for field in schemas.CHUNK if field.name != "link_key"])
    write(tmp_path / paths.chunk(RUN, 0, 0), links, schemas.CHUNK)
    write(tmp_path / paths.chunk(RUN, 0, 9), links, old)
    store = Store(str(tmp_path))
    table = LinkTable(store, RUN)
    table.read(store.names(paths.chunks_dir(RUN)))
    new, older = table.links.twin.tolist()[:4], table.links.twin.tolist()[4:]
    assert new[0] == new[1] > 0 == new[2] == new[3]
    assert 0 < older[0] != older[1] > 0 == older[2] == older[3]


RETRIED = {RUN: Again(1, ["failed"])}


def links(folder: Path, count: int, leader_run: str | None = None) -> Following:
    """Of a run whose rows 1, 2, … are copies of row 0, here or in another run."""
    rows = [
        {"row": row, "leader_row": 0, "leader_run": leader_run, "link_kind": "exact"} for row in range(1, count + 1)
    ]
    write(folder / paths.chunk(RUN, 0, 0), rows, schemas.CHUNK)
    following = Following(Store(str(folder)), RUN)
    following.prepared(count + 1)
    return following


def ended(
    folder: Path, part: int, *rows: int, run: str = RUN, status: str = "failed", generation: int = 0, attempts: int = 1
) -> None:
    money = dict.fromkeys(("cost_usd", "avoided_usd", "worth_usd"), Decimal(0))
    end: dict[str, Any] = {"status": status, "generation": generation, "attempts": attempts, **money}
    end["output"] = "answer " * 50
    write(folder / paths.part(run, f"{part:08d}"), [{**end, "row": row} for row in rows], schemas.PART)


def due(following: Following, again: dict[str, Again], *over: str) -> tuple[list[int], int]:
    following.answered(again[RUN].generation)
    rows, waiting = following.due({}, again, dict.fromkeys(over, follow.ALL))
    return rows, len(waiting)


def test_nobody_takes_the_place_of_a_leader_that_is_asked_again_until_it_has_failed_again(tmp_path: Path) -> None:
    following = links(tmp_path, 4)
    ended(tmp_path, 1, 0, 1, 2)
    assert due(following, {RUN: Again()})[0] == [3]
    assert due(following, RETRIED)[0] == []
    ended(tmp_path, 2, 0, generation=1)
    assert due(following, RETRIED)[0] == [1], "who had failed before has another try"
    ended(tmp_path, 3, 1, generation=1)
    assert due(following, RETRIED)[0] == [2]
    ended(tmp_path, 4, 2, status="ok", generation=1)
    assert due(following, RETRIED)[0] == []


def test_a_leader_that_is_not_asked_again_has_somebody_in_its_place(tmp_path: Path) -> None:
    """A run that was cancelled is resumed: what had failed in it stays so."""
    following = links(tmp_path, 2)
    ended(tmp_path, 1, 0)
    ended(tmp_path, 2, 1, status="cancelled")
    assert due(following, {RUN: Again(1, ["expired", "cancelled"])})[0] == [1]


def test_a_follower_that_failed_is_asked_again_although_its_leader_was_then_given_up_unasked(tmp_path: Path) -> None:
    """A retry that was cancelled at once: the next one asks who failed, and the leader is not one of them any more."""
    following = links(tmp_path, 2)
    ended(tmp_path, 1, 0, 1)
    ended(tmp_path, 2, 0, status="cancelled", generation=1, attempts=0)
    assert due(following, RETRIED)[0] == [], "not in the retry that gave it up"
    assert due(following, {RUN: Again(2, ["failed"])})[0] == [1]
    ended(tmp_path, 3, 1, generation=2)
    assert due(following, {RUN: Again(2, ["failed"])})[0] == []


def test_links_of_a_part_that_was_left_over_are_not_read(tmp_path: Path) -> None:
    """Rows 1 to 4 are prepared once more as one chunk; what was row 3 of another leader before stays on the disk."""
    for first, rows, leader in ((1, range(1, 5), 0), (3, range(3, 4), 2)):
        part = [{"row": row, "leader_row": leader, "link_kind": "exact"} for row in rows]
        write(tmp_path / paths.chunk(RUN, 0, first), part, schemas.CHUNK)
    following = Following(Store(str(tmp_path)), RUN)
    following.prepared(5)
    assert following._table.links.follower.tolist() == [1, 2, 3, 4]
    assert following._table.links.leader.tolist() == [0] * 4


def test_followers_wait_for_a_leader_that_its_run_asks_again(tmp_path: Path) -> None:
    following = links(tmp_path, 3, OTHER)
    ended(tmp_path, 1, 0, run=OTHER)
    ended(tmp_path, 1, 1, 2)
    assert due(following, RETRIED, OTHER) == ([1], 0), "once, not each that had failed"
    assert due(following, {**RETRIED, OTHER: Again(1, ["failed"])}) == ([], 3)
    ended(tmp_path, 2, 0, run=OTHER, generation=1)
    assert due(following, {**RETRIED, OTHER: Again(1, ["failed"])}) == ([1], 0)


def test_a_retry_asks_one_of_those_whose_leaders_answer_cannot_be_read(tmp_path: Path) -> None:
    following = links(tmp_path, 3, OTHER)
    ended(tmp_path, 1, 0, run=OTHER, status="ok")
    part = tmp_path / paths.part(OTHER, "00000001")
    meta = pq.read_metadata(part).row_group(0)
    output = next(meta.column(at) for at in range(meta.num_columns) if meta.column(at).path_in_schema == "output")
    raw = bytearray(part.read_bytes())
    end = (output.dictionary_page_offset or output.data_page_offset) + output.total_compressed_size
    raw[end - 20 : end] = b"?" * 20
    part.write_bytes(raw)
    assert due(following, {RUN: Again()}, OTHER) == ([], 0), "that it had one is all that is looked at"
    assert due(links(tmp_path, 3, OTHER), RETRIED, OTHER) == ([1], 0)


async def test_followers_that_cannot_be_read_keep_nobody_from_being_asked(
    following: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: their names do not stay in Redis, and they are not wanted once more."""
    monkeypatch.setattr(follow, "FEW", 2)
    redis, keys, folder = following.redis, following.keys, Path(following.store.root)
    rows = [{"row": row, "leader_row": row % 5, "leader_run": OTHER, "link_kind": "edit"} for row in range(5)]
    write(folder / paths.chunk(RUN, 0, 0), [{**row, "kind": "link", "tags": "{}"} for row in rows], schemas.CHUNK)
    await redis.hset(keys.run(RUN), "cursor", '{"row": 5}')
    settler, unread = Followers(following), [keys.promoted(RUN), keys.run(RUN)]
    wanted = []
    while await settler.hold(RUN, last=True):
        found = sorted(int(row) for row, state in (await redis.hgetall(keys.promoted(RUN))).items() if state == b"w")
        if found:
            wanted.append(found)
            await following.scripts.unasked(keys=unread, args=found)
    assert wanted == [[0, 1], [2, 3], [4]]
    assert not await redis.exists(keys.promoted(RUN))
