"""One server with workers and stand-in upstreams for each module that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support_program import CLOUD, GPU, Program
from tests.support_serving import ADMIN, Server, serving
from tests.support_upstream import Upstream

REFUSED = {"kind": "400", "match": "REFUSE"}
ROUTE = {"targets": ["gpu", "cloud"], "models": ["gpt-4o-mini"], "dedupe": "exact"}


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
        clients={"metered": {"quota": {"rows_per_day": 1}}},
        api={"any_window": True, "admin_key": ADMIN, "inbox_open": "5s"},
    )
    with serving(program, "--workers") as found:
        yield found
