"""Limits, pauses, closed and broken targets over several worker processes; the simulator's own limits are the judge."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from tests.support_program import CLOUD, Program, wait_until
from tests.support_redis import redis_server
from tests.support_team import KEYS, team
from tests.support_upstream import Upstream
from worker.queue import connect

SERVERS = {
    "often": {**CLOUD, "rpm": 900, "burst_s": 2.0},
    "large": {**CLOUD, "tpm": 600_000, "burst_s": 33.0},
    "slow": {**CLOUD, "latency_ms": 300, "faults": [{"kind": "slow_down", "at": 60}]},  # Retry-After: 5
    "broke": {**CLOUD, "latency_ms": 100, "fault_rates": {"insufficient_quota": 1.0}},
    "broken": {**CLOUD, "latency_ms": 200, "down_mode": "503"},
}


class Shop(NamedTuple):
    """Servers, each with a target and a route of its own, and a team of three processes for them."""

    upstream: Upstream
    program: Program
    redis_url: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with redis_server() as redis_url, Upstream({"servers": SERVERS}) as upstream:
        config = upstream.settings()
        config["targets"]["often"]["rpm"], config["targets"]["large"]["tpm"] = 900, 600_000
        config["routes"] = {f"to-{name}": {"targets": [name]} for name in SERVERS}
        program = Program(tmp_path_factory.mktemp("shop"), None, **config, spillway={"redis_url": redis_url})
        with team(program, redis_url):
            yield Shop(upstream, program, redis_url)


def prompts(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "prompt": f"Name the colour of object number {i}.", **more} for i in range(count)]


async def states(redis_url: str) -> dict[str, dict[str, Any]]:
    """What workers say of targets."""
    redis = await connect(redis_url)
    said = {name.decode(): json.loads(state) for name, state in (await redis.hgetall(KEYS.targets)).items()}
    await redis.aclose()
    return said


def outcomes(upstream: Upstream, server: str = "cloud") -> dict[str, int]:
    return dict(upstream.status(server)["outcomes"])


def test_requests_and_tokens_a_minute_hold_over_two_processes(shop: Shop) -> None:
    program = shop.program
    many = str(program.rows(prompts(90), "many.jsonl"))
    free = [{**row, "id": f"free-{row['id']}"} for row in prompts(45)]  # each is sent with a limit of 4,096 tokens
    long = str(program.rows([*prompts(90, max_tokens=2000), *free], "long.jsonl"))
    began = time.monotonic()
    pairs = ((many, "to-often"), (long, "to-large"))
    runs = [program.start("run", source, "--route", route, "--dedupe", "off") for source, route in pairs]
    for run in runs:
        run.communicate(timeout=60)
    assert [run.returncode for run in runs] == [0, 0]
    assert outcomes(shop.upstream, "often") == {"ok": 90}, "no 429 at all"
    assert outcomes(shop.upstream, "large") == {"ok": 135}, "no 429 at all"
    assert time.monotonic() - began > 4, "90 requests at 15 a second"
    said = asyncio.run(states(shop.redis_url))
    named = [(said[name].get("told_rpm", 0), said[name].get("told_tpm", 0)) for name in ("often", "large")]
    assert named == [(900, 0), (0, 600_000)], "as the headers of answers name them"


def test_retry_after_pauses_every_process(shop: Shop) -> None:
    source = str(shop.program.rows(prompts(400), "slow.jsonl"))
    out = shop.program.json("run", source, "--route", "to-slow", "--dedupe", "off")
    times = sorted(call["time"] for call in shop.upstream.calls("slow"))
    assert out["ok"] == 400
    gaps = [(after - before, before - times[0]) for before, after in pairwise(times)]
    pause_s, since_s = max(gaps)
    assert pause_s > 3.5, f"all processes were silent for most of the 5 s; longest silence {pause_s:.1f} s"
    assert since_s < 3, "the news takes a heartbeat, not a minute"


def test_a_storm_of_429_burns_no_prompt(tmp_path: Path) -> None:
    storm = {**CLOUD, "fault_rates": {"429_ms": 0.9}}
    with Upstream({"servers": {"cloud": storm}}) as upstream:
        program = Program(tmp_path, upstream)
        running = program.start("run", str(program.rows(prompts(100))), "--dedupe", "off", "--json")
        wait_until(lambda: outcomes(upstream).get("rate", 0) + outcomes(upstream).get("429_ms", 0) > 60)
        time.sleep(2)
        upstream.control("cloud", fault_rates={})
        running.communicate(timeout=60)
        refused = sum(count for name, count in outcomes(upstream).items() if name != "ok")
    assert running.returncode == 0 and refused > 60
    results, costs = program.results(), program.costs()
    assert results["status"].to_list() == ["ok"] * 100
    rejected = costs.filter(pl.col("outcome") == "rejected")
    assert rejected.height == refused and float(rejected["cost_usd"].sum()) == 0, "all in the ledger, none paid"
    assert int(results["attempts"].sum()) == costs.height


def test_a_wrong_key_closes_the_target_and_a_mended_one_resumes(tmp_path: Path) -> None:
    with Upstream({"servers": {"cloud": {**CLOUD, "latency_ms": 150, "api_key": "sk-right-0123456789"}}}) as upstream:
        program = Program(tmp_path, upstream)
        good = program.config.read_text()
        assert "sk-right-0123456789" in good
        program.config.write_text(good.replace("sk-right-0123456789", "sk-wrong-9876543210"))
        source = str(program.rows(prompts(300)))
        stopped = program.run("run", source, "--dedupe", "off", "--json", code=4)
        assert "no target is up: cloud: HTTP 401" in stopped.stderr
        assert "sk-wrong-9876543210" not in stopped.stderr + stopped.stdout + program.log()
        assert sum(outcomes(upstream).values()) <= 128, "closed at once: only what was in flight was refused"
        program.config.write_text(good)
        assert program.json("run", source, "--dedupe", "off")["ok"] == 300


def test_a_misspelt_model_closes_its_target_and_no_other(tmp_path: Path) -> None:
    """Its rows wait or go to the next target of their route; what others of the same file ask for is answered."""
    with Upstream({"servers": {"good": {**CLOUD, "latency_ms": 50}, "typo": {**CLOUD, "latency_ms": 50}}}) as upstream:
        config = upstream.settings()
        config["targets"]["typo"]["model"] = "gpt-4o-minni"
        config["routes"] = {
            "to-good": {"targets": ["good"], "models": ["alpha"]},
            "to-typo": {"targets": ["typo"], "models": ["beta"]},
            "either": {"targets": ["typo", "good"], "models": ["gamma"]},
        }
        program = Program(tmp_path, None, **config)
        rows = [{**row, "model": ("alpha", "beta", "gamma")[i % 3]} for i, row in enumerate(prompts(300))]
        source = str(program.rows([*rows, {"prompt": "Hi.", "model": "delta"}]))
        stopped = program.run("run", source, "--dedupe", "off", "--json", code=4)
        assert "typo: HTTP 404: The model `gpt-4o-minni` does not exist" in stopped.stderr
        assert "is `model` of this target right?" in stopped.stderr
        told = json.loads(stopped.stdout)
        assert (told["ok"], told["failed"], told["invalid"], told["unanswered"]) == (200, 0, 1, 100)
        assert sum(outcomes(upstream, "typo").values()) <= 128, "closed at once: only what was in flight was refused"
        checked = program.json("targets", "check", "typo", code=3)
        assert "gpt-4o-minni" in json.dumps(checked)
        program.config.write_text(program.config.read_text().replace("gpt-4o-minni", "gpt-4o-mini"))
        assert program.json("run", source, "--dedupe", "off", code=3)["ok"] == 300


def test_gone_funds_close_the_target_for_all_processes(shop: Shop) -> None:
    program, upstream = shop.program, shop.upstream
    source = str(program.rows(prompts(400), "broke.jsonl"))
    stopped = program.run("run", source, "--route", "to-broke", "--dedupe", "off", code=4)
    assert "no target is up: broke: HTTP 429" in stopped.stderr and "quota" in stopped.stderr
    asked = sum(outcomes(upstream, "broke").values())
    assert asked <= 192, "closed at once: only what was in flight was refused"
    time.sleep(1)
    assert sum(outcomes(upstream, "broke").values()) == asked, "nobody knocks again"
    upstream.control("broke", fault_rates={})
    with team(program, shop.redis_url, lanes=0):  # a worker that starts tries again
        assert program.json("run", source, "--route", "to-broke", "--dedupe", "off")["ok"] == 400


def test_a_broken_target_is_left_alone_by_all_and_comes_back(shop: Shop) -> None:
    program, upstream = shop.program, shop.upstream
    source = str(program.rows(prompts(1000), "broken.jsonl"))
    running = program.start("run", source, "--route", "to-broken", "--dedupe", "off", "--json")
    wait_until(lambda: outcomes(upstream, "broken").get("ok", 0) > 50)
    upstream.control("broken", down=True)
    time.sleep(2.5)
    before = upstream.status("broken")["requests"]
    time.sleep(2.5)
    knocks = upstream.status("broken")["requests"] - before
    upstream.control("broken", down=False)
    out, _ = running.communicate(timeout=80)
    assert running.returncode == 0 and json.loads(out)["ok"] == 1000
    assert knocks <= 12, "probes and trial calls only"
    assert "target broken is down" in program.log()
