"""Reuses that are really asked: booked as audits, outside the rows' cost; a route whose reuses do not hold pauses them."""

from __future__ import annotations

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream
from tests.test_flow import agrees_with

pytestmark = pytest.mark.timeout(600)  # several programs, each of which loads its model, on a machine that may be busy

SAID = "route small: reuse by proof is paused until "
PLACES = ("Oslo", "Bergen", "Turku", "Malmo", "Gdansk", "Tartu", "Narvik", "Vaasa")
THINGS = ("card", "letter", "parcel", "invoice", "refund")


def stream(name: str, count: int) -> list[dict[str, str]]:
    """Questions, then each of them again with a polite word that changes nothing."""
    asked = [
        f"could somebody tell me where the new {THINGS[n % 5]} for my office in {PLACES[n // 5]} is now"
        for n in range(count)
    ]
    texts = [f"{name}: {text}" for text in (*asked, *(f"please {text}" for text in asked))]
    return [{"id": f"{name}-{number}", "prompt": text} for number, text in enumerate(texts)]


def told(program: Program) -> str:
    """What the only event says."""
    events = pl.read_parquet(program.data / "events/**/*.parquet", hive_partitioning=False)
    assert events["kind"].to_list() == ["dedupe_paused"]
    return str(events["message"].item())


def test_reuses_that_do_not_hold_are_found_and_paused(tmp_path: Path) -> None:
    """The stand-in answers by the letters of a prompt, so two forms of one question never agree, and a leader always does."""
    with Upstream({"servers": {"cloud": CLOUD}}) as upstream:
        routes = {"small": {"targets": ["cloud"], "audit_share": 1.0, "task": "open"}}
        program = Program(tmp_path, upstream, routes=routes)
        ran = program.run("run", str(program.rows(stream("a", 40))), "--json")
        first = json.loads(ran.stdout)
        assert (first["ok"], first["duplicate"]) == (40, 40)
        assert SAID in ran.stderr, "its own audits began it"
        costs = program.costs()
        assert dict(costs["purpose"].value_counts().rows()) == {"answer": 40, "audit": 80}
        assert first["calls"] == 120
        agrees_with(program, upstream)
        rows_cost = program.results(first["run_id"])["cost_usd"].sum()
        assert rows_cost == costs.filter(pl.col("purpose") == "answer")["cost_usd"].sum()
        assert Decimal(first["cost_usd"]) == costs["cost_usd"].sum() > rows_cost
        assert program.run("doctor", "--run", first["run_id"]).returncode == 0
        audits = pl.read_parquet(program.data / "audits/**/*.parquet", hive_partitioning=False)
        assert audits.group_by("part", "agrees").len().sort("part").rows() == [
            ("baseline", True, 40), ("reuse", False, 40),
        ]  # fmt: skip
        second = program.json("run", str(program.rows([*stream("b", 10), *stream("a", 40)[:40]], "b.jsonl")))
        assert (second["ok"], second["duplicate"]) == (20, 40), "what rests on a key goes on"
        report = program.run("report", "dedupe").stdout
        assert "leaders asked twice" in report and "paused" in report
        page = program.run("report", "dedupe", "--format", "html").stdout
        assert page.count('class="pair"') >= 20 and re.search(r"<ins>\s*please\s*</ins>", page)
        assert SAID in told(program)
        assert SAID in program.run("status").stdout, "no Redis runs now"


def test_a_pause_outlives_redis_and_a_plan_reckons_with_it(tmp_path: Path) -> None:
    with Upstream({"servers": {"cloud": CLOUD}}) as upstream:
        routes = {"small": {"targets": ["cloud"], "audit_share": 1.0, "task": "open"}}
        program = Program(tmp_path, upstream, routes=routes)
        program.json("run", str(program.rows(stream("a", 40))))
        shutil.rmtree(program.data / "redis")
        rows = str(program.rows(stream("b", 10), "b.jsonl"))
        planned = program.json("plan", rows)
        assert (planned["asked"], planned["duplicate"]) == (20, 0) and SAID in planned["assumption"]
        ran = program.run("run", rows, "--json")
        done = json.loads(ran.stdout)
        assert (done["ok"], done["duplicate"]) == (20, 0) and ran.stderr.count(SAID) == 1
        assert SAID not in program.run("run", rows, "--fresh", "--dedupe", "exact").stderr, (
            "it does not concern this one"
        )


def test_audits_leave_a_budget_to_the_rows_that_need_it(tmp_path: Path) -> None:
    """Enough for all rows, and for a few audits beside them."""
    with Upstream({"servers": {"cloud": {**CLOUD, "latency_ms": 50}}}) as upstream:
        routes = {"small": {"targets": ["cloud"], "audit_share": 1.0, "task": "open", "max_false_reuse": 1.0}}
        program = Program(tmp_path, upstream, routes=routes)
        rows = [*stream("a", 40), *stream("b", 40)[:40]]
        source = str(program.rows([{**row, "max_tokens": 8} for row in rows]))
        program.json("run", source)
        need = program.costs().filter(pl.col("purpose") == "answer")["cost_usd"].sum()
        program.json("run", source, "--fresh", "--client", "other", "--budget", f"{need * Decimal('1.1'):.6f}")
        found = program.costs().filter(pl.col("client") == "other")
        assert found.filter(pl.col("purpose") == "answer").height == 80
        assert 0 < found.filter(pl.col("purpose") == "audit").height < 80
        answered, audited = (found.filter((pl.col("purpose") == "audit") == audit) for audit in (False, True))
        assert answered["finished_at"].max() <= audited["started_at"].min()
        agrees_with(program, upstream)


def test_a_bound_closes_where_all_leaders_are_of_another_run(tmp_path: Path) -> None:
    """One file a day: the follower is asked twice, to see how it disagrees with itself."""
    with Upstream({"servers": {"cloud": CLOUD}}) as upstream:
        program = Program(
            tmp_path, upstream, routes={"small": {"targets": ["cloud"], "audit_share": 1.0, "task": "open"}}
        )
        program.json("run", str(program.rows(stream("a", 40)[:40])))
        second = program.json("run", str(program.rows(stream("a", 40)[40:], "b.jsonl")))
        assert (second["ok"], second["duplicate"], second["calls"]) == (0, 40, 80)
        agrees_with(program, upstream)
        audits = pl.read_parquet(program.data / "audits/**/*.parquet", hive_partitioning=False)
        assert audits.group_by("part", "agrees").len().sort("part").rows() == [
            ("baseline", True, 40), ("reuse", False, 40),
        ]  # fmt: skip
        assert "reuse by proof is paused" in told(program)
        assert program.run("doctor", "--run", second["run_id"]).returncode == 0


def test_canonical_reuses_that_do_not_hold_leave_exact_ones_alone(tmp_path: Path) -> None:
    """The stand-in tells two forms of white space apart, as a model may that counts letters."""
    with Upstream({"servers": {"cloud": CLOUD}}) as upstream:
        program = Program(
            tmp_path, upstream, routes={"small": {"targets": ["cloud"], "audit_share": 1.0, "task": "open"}}
        )
        rows = stream("a", 40)[:40]
        wide = [{"id": f"w{row['id']}", "prompt": row["prompt"].replace(" ", "  ")} for row in rows]
        first = program.json("run", str(program.rows([*rows, *wide])))
        assert (first["ok"], first["duplicate"], first["calls"]) == (40, 40, 120)
        assert "anything but exact keys is paused" in told(program)
        more = [*rows, *({**row, "prompt": f"{row['prompt']} "} for row in wide)]
        second = program.json("run", str(program.rows(more, "b.jsonl")))
        assert (second["ok"], second["duplicate"]) == (40, 40), "exact copies are reused, other forms are asked"
        report = program.run("report", "dedupe").stdout
        assert "canonical" in report and "paused" in report
