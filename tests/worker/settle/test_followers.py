"""How long the followers of another run wait for it: while it can still answer, and no longer."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import paths, schemas
from tests.support_frames import RUN
from tests.support_worker import write
from worker.context import Context
from worker.settle import followers
from worker.settle.follow import LinkTable
from worker.settle.followers import Followers
from worker.store import Store

OTHER = "20260301-070000-abc123"
DOWN = "no target is up: gpu: connection refused"


@pytest.fixture
async def following(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A run whose only row follows another run, of which nothing was answered; nobody is patient."""
    monkeypatch.setattr(followers, "PATIENCE_S", 0.0)
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
        ({"status": "in_progress", "out_rows": "5", "blocked": "budget day: the next call does not fit"}, True),
        ({"status": "failed"}, True),
        ({}, True),
    ],
    ids=["waits for its turn", "is with a provider", "is partly with a provider", "is down", "is out of money", "ended", "is gone"],
)  # fmt: skip
async def test_followers_wait_while_the_other_run_can_still_answer(
    following: Context, other: dict[str, str], expected: bool
) -> None:
    assert await asked(following, **other) is expected


async def test_patience_begins_when_the_other_run_is_blocked(
    following: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when it gave its last answer: it may have waited for a provider since."""
    settler = Followers(following)
    key = following.keys.run(OTHER)
    await following.redis.hset(key, mapping={"status": "in_progress", "out_rows": "5"})
    assert not await settler._over([OTHER], late=False)
    monkeypatch.setattr(followers, "PATIENCE_S", 60.0)
    settler._moved[OTHER] = (settler._moved[OTHER][0], settler._moved[OTHER][1] - 1000)
    assert not await settler._over([OTHER], late=False), "it is with the provider"
    await following.redis.hset(key, mapping={"out_rows": "0", "blocked": DOWN})
    assert not await settler._over([OTHER], late=False)
    settler._moved[OTHER] = (settler._moved[OTHER][0], settler._moved[OTHER][1] - 1000)
    assert await settler._over([OTHER], late=False) == {OTHER}
    assert await settler._over([OTHER], late=True) == {OTHER}


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
