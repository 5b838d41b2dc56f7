"""No request that the description of the API allows, and none that it does not, makes the server fail: schemathesis asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, Server, serving

EXAMPLES = 12
FEW = {"/v1/estimate": 2, "/v1/costs/summary": 3}
"""Each of these requests may start a process."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    api = {"admin_key": ADMIN, "requests_per_minute": 0}
    with redis_server() as url, serving(Program(tmp_path_factory.mktemp("schema"), api=api), redis_url=url) as found:
        yield found


def test_nothing_that_can_be_asked_breaks_the_server(server: Server) -> None:
    with server.http(None) as http:
        document = http.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    headers = {
        "authorization": f"Bearer {server.key('boss', admin=True)}", "anthropic-version": "2023-06-01",
        "x-spillway-wait-s": "0",  # nobody works here
    }  # fmt: skip
    began_s = time.monotonic()
    seen: dict[str, Counter[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        statuses = seen[f"{operation.method} {operation.path}"] = Counter()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            ask(operation, mode, server.url, headers, statuses)
    print(
        f"{sum(map(sum, (each.values() for each in seen.values())))} requests in {time.monotonic() - began_s:.1f} s: {seen}"
    )
    assert len(seen) == sum(len(methods) for methods in document["paths"].values())
    assert all(statuses for statuses in seen.values()), "something was not asked at all"
    assert not any(status >= 500 for statuses in seen.values() for status in statuses)
    assert seen["post /v1/runs"][200] and seen["post /v1/responses"][202], "what the description allows is taken"
    assert not [line for line in server.said if "Traceback" in line]


def ask(operation: Any, mode: GenerationMode, url: str, headers: dict[str, str], statuses: Counter[int]) -> None:
    """A dozen requests of one kind; fails at the first that the server does not survive."""

    @settings(
        max_examples=FEW.get(operation.path, EXAMPLES), deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(mode))
    def asking(case: Any) -> None:
        reply = case.call(base_url=url, headers=headers, timeout=30)
        statuses[reply.status_code] += 1
        assert reply.status_code < 500, f"{case.as_curl_command()}\n{reply.text}"

    try:
        asking()
    except Unsatisfiable:  # nothing can be wrong with a request that has no parameters
        assert mode is GenerationMode.NEGATIVE
