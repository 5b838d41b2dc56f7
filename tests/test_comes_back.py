"""Health, through the whole program: a local target that was away is used again within seconds, and both are kept."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl

from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts

SOON_S = 6.0
"""A look every second, two seconds of breaker, a heartbeat, a tick; on a busy machine."""


def test_a_local_target_that_comes_back_is_used_within_seconds(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        program = Program(tmp_path, upstream)
        upstream.control("gpu", down=True)
        running = program.start("run", str(program.rows(prompts(40))), "--dedupe", "off", "--json")
        wait_until(lambda: list(program.data.glob("events/**/target_down-*.parquet")), 60)
        assert upstream.bill("gpu")["answered"] == 0
        upstream.control("gpu", down=False)
        back_s = time.time()
        out, err = running.communicate(timeout=90)
        first_s = min(call["time"] for call in upstream.calls("gpu"))
        assert running.returncode == 0, err
        assert json.loads(out)["ok"] == 40
        assert first_s - back_s < SOON_S
        shown = program.run("targets", "check", "gpu").stdout
    assert "target gpu is down: " in shown, "what befell it lately"
    assert "answered as qwen" in shown and "tokens/s" in shown


def test_an_outage_in_the_middle_spills_and_comes_home(tmp_path: Path) -> None:
    """Down and up again while a run works: the cloud helps out meanwhile, the history has both."""
    gpu = {**GPU, "latency_ms": 150, "slots": 4}
    with Upstream({"servers": {"gpu": gpu, "cloud": {**CLOUD, "latency_ms": 1_500, "max_parallel": 4}}}) as upstream:
        settings = upstream.settings()
        settings["targets"]["cloud"]["max_concurrency"] = 4
        program = Program(tmp_path, **settings)
        running = program.start("run", str(program.rows(prompts(500))), "--dedupe", "off", "--json")
        wait_until(lambda: upstream.bill("gpu")["answered"] > 40, 60)
        upstream.control("gpu", down=True)
        wait_until(lambda: list(program.data.glob("events/**/target_down-*.parquet")), 60)
        before = upstream.bill("gpu")["answered"]
        upstream.control("gpu", down=False)
        wait_until(lambda: upstream.bill("gpu")["answered"] > before + 40, 60)
        out, err = running.communicate(timeout=90)
        assert running.returncode == 0, err
    assert json.loads(out)["ok"] == 500
    events = pl.read_parquet(program.data / "events/**/*.parquet", hive_partitioning=False).sort("at")
    assert events["kind"].to_list() == ["target_down", "target_up"]
    assert set(events["target"]) == {"gpu"}
