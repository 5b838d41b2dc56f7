"""A model server that is not ours, end to end on the CPU: `transformers serve` with a tiny model as a local target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support_model import Served, transformers_serve
from tests.support_program import Program, wait_until
from tests.test_flow import prompts


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with transformers_serve("--device", "cpu") as running:
        yield running


def targets(served: Served, **more: Any) -> dict[str, Any]:
    given = {"kind": "openai", "lane": "local", "base_url": served.base_url, "model": served.model}
    return {"targets": {"home": {**given, "max_concurrency": 4, **more}}}


def test_a_run_on_a_real_server(tmp_path: Path, served: Served) -> None:
    program = Program(tmp_path, **targets(served))
    asked = [*prompts(20, max_tokens=6, temperature=0), {"id": "long", "prompt": "many words " * 80, "max_tokens": 3}]
    out = program.json("run", str(program.rows(asked)), "--dedupe", "exact")
    assert (out["ok"], out["local_calls"], out["cloud_calls"]) == (21, 21, 0)
    results, costs = program.results(out["run_id"]), program.costs()
    assert costs["error_code"].null_count() == 21, "a healthy server raises no doubt"
    assert set(costs["model"]) == {f"{served.model}@main"}, (
        "it answers under a name of its own, which is the same model"
    )
    assert results["output_tokens"].to_list() == [6] * 20 + [3]
    assert set(results["finish_reason"]) == {"length"}
    read = dict(results.select("custom_id", "input_tokens").rows())
    assert read["long"] == len("user: \nassistant: ") + len("many words " * 80), "its tokens are bytes"
    assert program.run("doctor", "--run", out["run_id"]).returncode == 0


def test_it_is_looked_at_and_tried(tmp_path: Path, served: Served) -> None:
    program = Program(tmp_path, **targets(served))
    wait_until(lambda: program.json("targets")[0]["up"], 60)  # type: ignore[index]  # a busy machine may be slow to say so
    (record,) = program.json("targets", "check", "home")  # type: ignore[misc]
    assert (record["ok"], record["error"]) == (True, "")
    assert record["output_tokens"] == 48
    assert record["tokens_per_s"] > 0


def test_another_model_than_asked_for_is_not_answered(tmp_path: Path, served: Served) -> None:
    """This server says so itself; one that answers all the same is found out by the name (test_truth.py)."""
    program = Program(tmp_path, **targets(served, model="qwen2.5-7b-instruct"))
    out = program.json("run", str(program.rows(prompts(2, max_tokens=4))), "--dedupe", "off", code=3)
    assert (out["ok"], out["failed"]) == (0, 2)
    assert "tiny-llama" in program.results(out["run_id"])["error_message"][0]


def test_it_is_measured(tmp_path: Path, served: Served) -> None:
    program = Program(tmp_path, **targets(served))
    (tmp_path / "tasks.toml").write_text(
        '[[tasks]]\nid = "one"\nkind = "label"\nprompt = "red or blue?"\nmax_tokens = 4\n'
        'check = { labels = ["red", "blue"], answer = "red" }\n'
    )
    asked = ("bench", served.base_url, "--model", served.model, "--concurrency", "1,2")
    (found,) = program.json(*asked, "--tasks", str(tmp_path / "tasks.toml"))  # type: ignore[misc]
    assert (found["target"], found["server"], found["problem"]) == ("home", "openai", "")
    assert [speed["concurrency"] for speed in found["throughput"]] == [1, 2]
    assert all(speed["tokens_per_s"] > 0 for speed in found["throughput"])
    assert 0 < found["first_token_p50_s"] < found["throughput"][0]["call_p50_s"]
    assert found["quality_by_kind"] == {"label": 0.0}, "random weights know nothing"
