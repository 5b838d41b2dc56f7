"""Which reuses of a run are chosen to be asked: a share of each route's own, whatever the other routes' names and sizes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipelines import paths, schemas, wire
from pipelines.settings import parse_settings
from tests.support_frames import RUN
from tests.support_worker import write
from worker.context import Context
from worker.settle import audits
from worker.settle.audits import Audits

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
