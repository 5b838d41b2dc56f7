"""One server with workers and stand-in upstreams for each module that asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines import wire
from pipelines.settings import parse_settings
from producer.api.likely import Likely
from producer.api.state import State
from producer.clients import find_all
from producer.queue import Redis
from producer.records import Records
from producer.together import Together
from tests.support_program import CLOUD, GPU, Program
from tests.support_serving import ADMIN, Server, serving
from tests.support_upstream import Upstream

REFUSED = {"kind": "400", "match": "REFUSE"}
ROUTE = {"targets": ["gpu", "cloud"], "models": ["gpt-4o-mini"], "dedupe": "exact"}
METERED = {"metered": {"quota": {"rows_per_day": 1}}}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    servers = {"gpu": {**GPU, "faults": [REFUSED]}, "cloud": {**CLOUD, "faults": [REFUSED]}}
    with Upstream({"servers": servers}) as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Server]:
    program = Program(
        tmp_path_factory.mktemp("api"),
        upstream,
        routes={"small": ROUTE},
        clients=METERED,
        api={"any_window": True, "admin_key": ADMIN, "inbox_open": "5s"},
    )
    with serving(program, "--workers") as found:
        yield found


@pytest.fixture
def here(redis: Redis, tmp_path: Path) -> State:
    """What endpoints are given, to call them in process: for what no real server can be brought to do at will."""
    settings, keys = parse_settings({"clients": METERED, "api": {"admin_key": ADMIN}}), wire.Keys()
    finder, likely = Together(partial(find_all, redis, keys)), Likely(redis, keys)
    unused: Any = None
    records = Records(str(tmp_path))
    return State(settings, redis, keys, records, asyncio.Queue(), unused, unused, finder, likely, lambda _: None)
