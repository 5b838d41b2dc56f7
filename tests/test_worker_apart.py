"""`spillway worker` with all roles: its calls and its comparing of prompts are two processes that live and end together."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.crash.stage import Field
from tests.support_program import GPU, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts
from worker.main import divided
from worker.tasks import ROLES

CONTROL = ("prepare", "schedule", "settle")


def test_what_compares_prompts_is_parted_from_what_calls() -> None:
    assert divided(ROLES) == (("local", "cloud"), CONTROL)
    assert divided(("cloud", "prepare")) == (("cloud",), ("prepare",))
    for alone in (("local", "cloud"), CONTROL, ("schedule", "settle", "local")):
        assert divided(alone) == (alone, ())


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    with Upstream({"servers": {"gpu": GPU}}) as upstream, Field(tmp_path, upstream, [""]) as there:
        wait_until(lambda: len(owners(there)) == 2, 60)
        yield there


def owners(there: Field) -> dict[int, list[str]]:
    """The process ids of the living workers, and their roles."""
    redis: Any = there.redis.client
    said = redis.hgetall("spillway:workers").items()
    beats = {owner: redis.get(f"spillway:worker:{owner}") for owner, _ in said}
    return {json.loads(who)["pid"]: json.loads(beats[owner])["roles"] for owner, who in said if beats[owner]}


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_worker_drains_in_two_processes_and_both_stop_with_it(field: Field) -> None:
    [worker] = field.workers.processes
    found = owners(field)
    assert found.pop(worker.pid) == ["local", "cloud"]
    [(child, roles)] = found.items()
    assert tuple(roles) == CONTROL
    assert field.wait_for_end(field.submit(field.program.rows(prompts(30)))) == "completed"
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0
    assert not alive(child), "who stops has waited for both"
    assert field.workers.log().count("stopping: calls in flight end") == 2, "both have said so in one log"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_half_a_worker_does_not_go_on(field: Field, number: signal.Signals) -> None:
    [worker] = field.workers.processes
    [child] = owners(field).keys() - {worker.pid}
    os.kill(child, number)
    assert worker.wait(30) == 1, "whoever looks after it starts it again"
    assert "the process for prepare, schedule, settle ended" in field.workers.log()


def test_a_worker_that_is_killed_leaves_nothing(field: Field) -> None:
    [worker] = field.workers.processes
    [child] = owners(field).keys() - {worker.pid}
    worker.kill()
    wait_until(lambda: not alive(child), 20)
