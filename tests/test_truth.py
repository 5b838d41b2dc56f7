"""Local servers that mislead, through the whole program: each fault is named in the ledger, its prompt is answered by the
next target, and ten thousand answers of healthy servers raise no alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from tests.support_program import GPU, Program
from tests.support_upstream import Upstream

WORDS = "please look at the long history of this order before you answer the question about it " * 8
SPARE: dict[str, Any] = {**GPU, "personality": "vllm"}


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "prompt": f"{WORDS}\nWhat colour has object number {i}.", **more} for i in range(count)]


def run(folder: Path, gpu: dict[str, Any], asked: list[dict[str, Any]], **target: Any) -> tuple[dict[str, Any], Any]:
    """A run over a misbehaving server and a spare one; the ledger, each call with its row."""
    with Upstream({"servers": {"gpu": {**GPU, **gpu}, "spare": SPARE}}) as upstream:
        settings = upstream.settings()
        settings["targets"]["gpu"] |= target
        settings["routes"] = {"both": {"targets": ["gpu", "spare"]}}
        program = Program(folder, **settings)
        out = program.json("run", str(program.rows(asked)), "--dedupe", "off")
        assert program.run("doctor", "--run", out["run_id"]).returncode == 0
        return out, program.costs()


def test_an_answer_that_misleads_is_named_and_the_next_target_answers(tmp_path: Path) -> None:
    names = {"empty": "empty_answer", "cut_prompt": "prompt_cut", "wrong_model": "wrong_model", "length": "cut_short"}
    bad = {i: fault for start, fault in enumerate(names) for i in range(start, 40, 13)}
    faults = [{"match": f"object number {i}.", "kind": fault} for i, fault in bad.items()]
    out, costs = run(tmp_path, {"faults": faults}, rows(40))
    assert (out["ok"], out["failed"]) == (40, 0)
    doubted = costs.filter(pl.col("error_code").is_not_null())
    assert set(doubted["target"]) == {"gpu"}
    assert dict(doubted.select("row", "error_code").rows()) == {i: names[fault] for i, fault in bad.items()}
    assert sorted(costs.filter(pl.col("target") == "spare")["row"]) == sorted(bad), "and nobody else went there"
    assert set(costs.filter(pl.col("error_code") == "wrong_model")["model"]) == {"some-other-model"}


def test_the_rows_own_limit_is_no_fault(tmp_path: Path) -> None:
    out, costs = run(tmp_path, {"output_tokens_median": 50}, rows(30, max_tokens=8))
    assert (out["ok"], costs["error_code"].null_count(), set(costs["target"])) == (30, 30, {"gpu"})


def test_a_stalled_slot_is_given_up_once_and_the_next_target_answers(tmp_path: Path) -> None:
    faults = [{"match": "object number 5.", "kind": "stall"}]
    out, costs = run(tmp_path, {"faults": faults}, rows(20), timeout_s=1.5)
    assert out["ok"] == 20
    assert [
        (c["row"], c["target"], c["outcome"]) for c in costs.filter(pl.col("error_code") == "stalled").to_dicts()
    ] == [(5, "gpu", "lost")]
    assert costs.filter(pl.col("target") == "spare")["row"].to_list() == [5]


def test_while_a_model_is_being_swapped_others_answer(tmp_path: Path) -> None:
    faults = [{"at": [5, 30], "kind": "503_loading"}]
    out, costs = run(tmp_path, {"faults": faults}, rows(120))
    assert out["ok"] == 120
    loading = costs.filter(pl.col("error_code") == "model_loading")
    assert 1 <= loading.height <= 16, "the first to hear of it spares the others; at most what is in flight, and probes"
    spared = costs.filter(pl.col("target") == "spare")
    assert set(loading["row"]) <= set(spared["row"]) | set(costs.filter(pl.col("outcome") == "ok")["row"])
    assert spared.height > 0


def test_a_model_that_cannot_be_loaded_is_the_servers_trouble_and_no_rows(tmp_path: Path) -> None:
    words = 'Failed to load model "qwen". Error: Model loading was stopped due to insufficient system resources.'
    faults = [{"at": [1, 10_000], "kind": "404", "message": words}]
    out, costs = run(tmp_path, {"faults": faults}, rows(60))
    assert (out["ok"], out["failed"]) == (60, 0)
    gone = costs.filter(pl.col("target") == "gpu")
    assert set(gone["error_code"]) == {"model_gone"}
    assert gone.height < 40, "the breaker opened; since then one call at a time"


def test_a_misleading_server_without_another_is_a_failed_row_with_the_reason(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": {**GPU, "faults": [{"match": "number 2.", "kind": "wrong_model"}]}}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(rows(6))), "--dedupe", "off", code=3)
        assert (out["ok"], out["failed"], upstream.bill("gpu")["answered"]) == (5, 1, 7), "asked twice"
        program.run("doctor", "--run", out["run_id"])
    row = program.results(out["run_id"]).row(2, named=True)
    assert (row["status"], row["error_code"]) == ("failed", "wrong_model")
    assert 'served_as = ["some-other-model"]' in row["error_message"]


def test_ollama_gets_the_window_that_a_prompt_needs_or_is_refused(tmp_path: Path) -> None:
    long = "every word of this counts as one token at least and must be read before the answer is given " * 250
    asked = [{"id": "short", "prompt": "What colour?"}, {"id": "long", "prompt": long, "max_tokens": 50}]
    server = {"personality": "ollama", "model": "qwen", "answer": "hash"}
    with Upstream({"servers": {"home": server, "spare": {**SPARE, "model": "other"}}}) as upstream:
        settings = upstream.settings()
        settings["routes"] = {"both": {"targets": ["home", "spare"]}}
        settings["targets"]["home"].pop("context_tokens", None)
        grown = Program(tmp_path, **settings)
        out = grown.json("run", str(grown.rows(asked)), "--dedupe", "off")
        assert (out["ok"], upstream.bill("home")["answered"], upstream.bill("spare")["calls"]) == (2, 2, 0)
        results = grown.results(out["run_id"])
        assert results["input_tokens"][1] > 4_096, "read as a whole, though 4,096 is what was loaded"
        upstream.reset()
        settings["targets"]["home"] |= {"context_tokens": 4_096}
        (tmp_path / "fixed").mkdir()
        fixed = Program(tmp_path / "fixed", **settings)
        out = fixed.json("run", str(fixed.rows(asked)), "--dedupe", "off")
        assert (out["ok"], upstream.bill("home")["answered"], upstream.bill("spare")["answered"]) == (2, 1, 1)
        assert fixed.results(out["run_id"])["target"].to_list() == ["home", "spare"]


def test_ten_thousand_answers_of_healthy_servers_raise_no_alarm(tmp_path: Path) -> None:
    kinds = ("lmstudio", "ollama", "vllm", "llamacpp")
    server = {
        "slots": 32,
        "answer": "text",
        "output_tokens_median": 12,
        "output_tokens_sigma": 0.8,
        "context_tokens": 8_192,
    }
    servers = {kind: {"personality": kind, "model": f"org/{kind}-7b", **server} for kind in kinds}
    servers["llamacpp"]["context_tokens"] = 32 * 8_192
    asked = [
        {
            "model": kinds[i % 4],
            "prompt": f"{i}: " + WORDS[: (i * 37) % len(WORDS)],
            **({"max_tokens": 8} if i % 3 else {}),
        }
        for i in range(10_000)
    ]
    with Upstream({"servers": servers}) as upstream:
        settings = upstream.settings()
        settings.pop("routes", None)
        program = Program(tmp_path, **settings)
        out = program.json("run", str(program.rows(asked)), "--dedupe", "off")
    costs = program.costs()
    assert (out["ok"], out["calls"], costs.height) == (10_000, 10_000, 10_000)
    assert costs.filter(pl.col("error_code").is_not_null() | (pl.col("outcome") != "ok")).height == 0
    assert costs["target"].value_counts()["count"].to_list() == [2_500] * 4
