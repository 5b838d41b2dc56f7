"""`spillway bench` against stand-in servers whose speed is known: the curve, the knee, the file, and what a run makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from producer.cli import main
from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream

TASKS = """
[[tasks]]
id = "one"
kind = "label"
prompt = "Say red or blue."
check = { labels = ["red", "blue"], answer = "red" }

[[tasks]]
id = "two"
kind = "extract"
prompt = "Give a JSON object."
check = { fields = { a = 1 } }
"""


def test_models_are_measured_and_the_run_uses_what_was_found(tmp_path: Path) -> None:
    # One call takes 64 tokens x 5 ms; four at once each the same, for four slots are real though eight are shown.
    server: dict[str, Any] = {
        "personality": "lmstudio", "model": "fast", "models": ["other", "text-embed"], "slots": 8, "effective_slots": 4,
        "token_ms": 5, "answer": "text:red", "output_tokens_median": 64,
    }  # fmt: skip
    (tmp_path / "tasks.toml").write_text(TASKS)
    with Upstream({"servers": {"gpu": server, "cloud": CLOUD}}) as upstream:
        upstream.control("gpu", answer="text:red " + "and so on " * 40)
        settings = upstream.settings()
        settings["routes"] = {"main": {"targets": ["gpu", "cloud"], "min_quality": {"extract": 0.5}}}
        settings["targets"]["gpu"]["max_concurrency"] = "auto"
        program = Program(tmp_path, **settings)
        asked = ("bench", "gpu", "--tasks", str(tmp_path / "tasks.toml"), "--concurrency", "1,2,4,8")
        found: list[dict[str, Any]] = program.json(*asked)  # type: ignore[assignment]
        assert [each["model"] for each in found] == ["fast", "other"], "every model that can answer"
        first = found[0]
        speed = {each["concurrency"]: each["tokens_per_s"] for each in first["throughput"]}
        assert speed[4] > 2.5 * speed[1] and speed[8] < 1.5 * speed[4], speed
        assert (first["parallel"], first["parallel_told"], first["server"]) == (4, 8, "lmstudio")
        assert 0 < first["first_token_p50_s"] <= first["first_token_p90_s"]
        assert first["quality_by_kind"]["extract"] == 0.0
        assert first["tasks"][1]["problem"]
        kept = json.loads((program.data / "model_performance.json").read_text())
        assert [each["model"] for each in kept["models"]] == ["fast", "other"]
        shown = program.run(
            "bench", "gpu", "--tasks", str(tmp_path / "tasks.toml"), "--concurrency", "1", "--model", "fast"
        )
        assert "tokens/s" in shown.stdout and "quality" in shown.stdout
        kept = json.loads((program.data / "model_performance.json").read_text())
        assert len(kept["models"]) == 2, "the other model keeps its figures"
        out = program.json("run", str(program.rows([{"prompt": f"colour {i}?"} for i in range(5)])))
        assert (out["local_calls"], out["cloud_calls"]) == (0, 5), "not good enough for this route"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody",), "no target 'nobody'; there are gpu, cloud, rented"),
        (("cloud",), "its calls cost money"),
        (("rented",), "its calls cost money"),
        (("http://127.0.0.1:10/v1",), "nobody answers at"),
        (("http://localhost:9",), "target cloud is at http://localhost:9, and its calls cost money"),
        (("gpu", "--concurrency", "1,x"), "is not a list of numbers"),
        (("gpu",), "target gpu is down"),
    ],
)
def test_what_cannot_be_measured_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    local = {"kind": "vllm", "model": "m", "base_url": "http://127.0.0.1:8/v1"}
    rented = {**local, "input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    cloud = {"kind": "openai", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1"}
    program = Program(tmp_path, targets={"gpu": local, "cloud": cloud, "rented": rented})
    assert main([*program.command("bench", *arguments)[3:]]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
