"""What `run` and `submit` with --deadline say of cost and end: the figures of `spillway plan`, beside the run and within bounds."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.settings import Settings
from pipelines.types import Options
from producer.cli import foreseen
from producer.cli.run import Order
from producer.records import Records
from producer.sources import resolve
from tests.support_program import CLOUD, GPU, Program
from tests.support_upstream import Upstream

CALL_S, DEADLINE_S = 0.15, 60
ROWS = [{"prompt": f"Name a colour for product {number}."} for number in range(1000)]
SAID = {
    "deadline_s": 300.0, "cost_usd_p50": "0.31", "cost_usd_p90": "0.36", "seconds_p50": 190.2, "seconds_p90": 220.0,
    "lacks": None, "assumption": "route small: lengths of 50 earlier answers",
}  # fmt: skip


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    servers = {"gpu": {**GPU, "slots": 1, "latency_ms": 1000 * CALL_S}, "cloud": CLOUD}
    with Upstream({"servers": servers, "routes": {"small": {"targets": ["gpu", "cloud"]}}}) as upstream:
        yield Program(tmp_path, upstream)


def test_a_run_with_a_deadline_says_what_plan_says_while_it_goes_on(program: Program) -> None:
    """Half of its calls would fit before the deadline, and its budget buys next to nothing."""
    earlier = program.run("run", str(program.rows(ROWS[:40], "earlier.jsonl")), "--json")
    assert "foreseen" not in earlier.stderr + earlier.stdout, "only with a deadline"
    took = program.costs()
    call_s = (took["finished_at"] - took["started_at"]).dt.total_milliseconds().mean() / 1000
    assert call_s >= CALL_S, "more on a slow machine"
    command = [str(program.rows(ROWS)), "--deadline", f"{DEADLINE_S}s", "--budget", "0.000001", "--fresh"]
    plan = program.json("plan", *command)
    run = program.start("run", *command, "--json")
    assert run.stderr is not None
    line = next(each for each in run.stderr if each.startswith("foreseen: ")).strip()
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=40)
    said = json.loads(out)["foreseen"]
    assert line == foreseen.line(said)
    assert list(said) == list(foreseen.NAMES) and plan.keys() > said.keys()
    for name in ("cost_usd_p50", "cost_usd_p90", "seconds_p50", "seconds_p90"):
        assert float(said[name]) == pytest.approx(float(plan[name]), rel=0.3) != 0, "its own first calls may be in it"
    assert said["deadline_s"] == DEADLINE_S <= said["seconds_p90"]
    assert said["lacks"]["seconds"] == pytest.approx(len(ROWS) * call_s - DEADLINE_S, rel=0.3)
    assert f"needs +$0.01 or +{said['lacks']['text'].partition(' or +')[2]}; route small: lengths of " in line


def test_the_line() -> None:
    told = "foreseen: $0.310 to $0.360, done in 3 m 10 s to 3 m 40 s (P50 to P90); "
    assert foreseen.line(SAID) == told + SAID["assumption"]
    lacks: dict[str, Any] = {"text": "+$0.20 or +3.0 min"}
    assert foreseen.line({**SAID, "lacks": lacks}) == told + "needs +$0.20 or +3.0 min; " + SAID["assumption"]
    sure = {**SAID, "cost_usd_p50": "0.00", "cost_usd_p90": "0.00", "seconds_p90": 190.4, "lacks": {"text": ""}}
    assert foreseen.line(sure).startswith("foreseen: $0, done in 3 m 10 s (P50 to P90); needs another lane: ")


async def test_what_is_too_large_or_takes_too_long_or_asks_nothing_is_not_foreseen(tmp_path: Path) -> None:
    def order(text: str, target: str = "gpu") -> Order:
        path = tmp_path / "rows.jsonl"
        path.write_text(text)
        settings = Settings.model_validate({
            "spillway": {"data": str(tmp_path / "data")},
            "targets": {"gpu": {"kind": "vllm", "base_url": "http://127.0.0.1:1/v1", "model": "q"}},
            "routes": {"small": {"targets": [target]}},
        })  # fmt: skip
        sources = resolve([str(path)])
        return Order(
            settings, Records(str(tmp_path / "data")), "default", sources, Options(deadline_s=60.0), fresh=False
        )

    row, wide = '{"prompt": "x"}\n', foreseen.Bounds(1000, 10_000, 60)
    found = await foreseen._figures(order(row), wide)
    assert found is not None and found["seconds_p50"] > 0 and "no such answers measured here yet" in found["assumption"]
    assert await foreseen._figures(order(row * 100), wide._replace(rows=99)) is None
    assert await foreseen._figures(order(row * 100), wide._replace(size_bytes=len(row) * 100 - 1)) is None
    began_s = time.monotonic()
    assert await foreseen._figures(order(row), wide._replace(limit_s=0.05)) is None
    assert time.monotonic() - began_s < 10
    assert await foreseen._figures(order("not a row\n"), wide) is None
