"""Every kind of provider through the whole program: who may answer a row, what it costs there, and the shape of what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
from openai.types.chat import ChatCompletion

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream
from tests.test_flow import agrees_with, prompts

CLAUDE = {**CLOUD, "personality": "anthropic", "model": "claude"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("look", "wait")
]


def test_every_kind_answers_and_the_ledger_is_the_bill(tmp_path: Path) -> None:
    kinds = (
        "openai", "anthropic", "gemini", "openrouter", "cerebras", "runpod", "huggingface", "lmstudio", "ollama", "vllm",
        "llamacpp",
    )  # fmt: skip
    priced = {
        "latency_ms": 5,
        "usd_per_mtok_in": 0.15,
        "usd_per_mtok_out": 0.6,
        "reasoning_tokens": 3,
        "answer": "hash",
    }
    free = {"latency_ms": 5, "answer": "hash"}
    local = ("lmstudio", "ollama", "vllm", "llamacpp")
    servers = {
        kind: {**(free if kind in local else priced), "personality": kind, "model": f"m-{kind}"} for kind in kinds
    }
    servers["responses"] = {**priced, "personality": "openai", "model": "m-responses"}
    targets = {"responses": {"api": "responses"}}
    with Upstream({"servers": servers, "targets": targets, "routes": {"all": {"targets": ["openai"]}}}) as upstream:
        program = Program(tmp_path, upstream)
        rows = [
            {"id": f"{name}-{number}", "prompt": f"Name object {number} of {name}.", "model": name, "max_tokens": 40,
             "system": "Be brief.", "temperature": 0.5}
            for name in servers for number in range(4)
        ]  # fmt: skip
        out = program.json("run", str(program.rows(rows)), "--dedupe", "off")
        agrees_with(program, upstream)
        assert {name: upstream.bill(name)["answered"] for name in servers} == dict.fromkeys(servers, 4)
    assert out["ok"] == len(rows)
    results = program.results()
    assert results["target"].to_list() == [row["model"] for row in rows]
    assert (results["output"].str.len_chars() == 16).all()
    thought = results.filter(~pl.col("target").is_in(local))
    assert set(thought["reasoning_tokens"]) == {3}


def test_a_row_goes_to_the_next_target_that_can_and_no_call_is_made_for_it_elsewhere(tmp_path: Path) -> None:
    own: dict[str, Any] = {"messages": [{"role": "user", "content": "Name it."}], "max_tokens": 30, "brand_new": 1}
    rows = [
        *prompts(3, max_tokens=30),
        {"id": "twice", "prompt": "Name two.", "n": 2, "max_tokens": 30},
        {"id": "seeded", "prompt": "Name three.", "seed": 7, "max_tokens": 30},
        {"custom_id": "odd", "method": "POST", "url": "/v1/chat/completions", "body": own},
    ]
    routes = {"both": {"targets": ["claude", "gpt"]}}
    with Upstream({"servers": {"claude": CLAUDE, "gpt": CLOUD}, "routes": routes}) as upstream:
        program = Program(tmp_path, upstream)
        program.json("run", str(program.rows(rows)), "--dedupe", "off", "--route", "both", code=3)
        agrees_with(program, upstream)
        assert (upstream.bill("claude")["calls"], upstream.bill("gpt")["answered"]) == (3, 2)
    results = program.results()
    assert results["target"].to_list()[:5] == ["claude"] * 3 + ["gpt"] * 2
    costs = program.costs().filter(pl.col("custom_id").is_in(["twice", "seeded"]))
    assert set(costs["target"]) == {"gpt"}
    odd = results.row(5, named=True)
    assert (odd["status"], odd["http_status"]) == ("failed", 400)
    assert "brand_new" in odd["error_message"]


def test_what_nobody_can_is_said_by_name(tmp_path: Path) -> None:
    with Upstream({"servers": {"claude": CLAUDE}}) as upstream:
        program = Program(tmp_path, upstream)
        program.json("run", str(program.rows([{"id": "a", "prompt": "Hi.", "seed": 7}])), code=3)
        assert upstream.bill("claude")["calls"] == 0
    row = program.results().row(0, named=True)
    assert (row["status"], row["error_code"], row["attempts"]) == ("failed", "unsupported_parameter", 0)
    assert row["error_message"].startswith("anthropic cannot do `seed`")


def test_tool_calls_of_any_provider_come_back_in_openais_shape(tmp_path: Path) -> None:
    names = ("anthropic", "gemini", "ollama", "responses", "openai")
    servers = {
        name: {**CLOUD, "personality": "openai" if name == "responses" else name, "model": f"m-{name}", "lane": "cloud"}
        for name in names
    }
    targets = {"responses": {"api": "responses"}}
    rows = [
        {"id": name, "model": name, "prompt": "Please call look and call wait.", "tools": TOOLS, "max_tokens": 64}
        for name in names
    ]
    with Upstream({"servers": servers, "targets": targets}) as upstream:
        program = Program(tmp_path, upstream)
        run = program.json("run", str(program.rows(rows)), "--dedupe", "off")["run_id"]
    program.run("results", run, "--format", "openai", "--out", str(tmp_path / "lines.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == list(names)
    for line in lines:
        made = ChatCompletion.model_validate(line["response"]["body"], strict=True)
        calls = made.choices[0].message.tool_calls
        assert calls is not None, line["custom_id"]
        assert [call.function.name for call in calls if call.type == "function"] == ["look", "wait"]
        assert made.choices[0].finish_reason == "tool_calls"
        assert made.usage is not None and made.usage.completion_tokens > 0


def test_a_window_that_a_refusal_named_is_asked_no_more(tmp_path: Path) -> None:
    """Rows that certainly do not fit either go on without a call."""
    long = [{"id": f"r{i}", "prompt": f"{i} " + "word " * 400, "max_tokens": 20} for i in range(40)]
    small = {**CLOUD, "context_tokens": 200}
    routes = {"both": {"targets": ["small", "large"]}}
    targets = {"small": {"max_concurrency": 2, "context_tokens": 100_000}}
    with Upstream({"servers": {"small": small, "large": CLAUDE}, "routes": routes, "targets": targets}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(long)), "--dedupe", "off", "--route", "both")
        assert (out["ok"], upstream.bill("large")["answered"]) == (40, 40)
        first = upstream.bill("small")["calls"]
        assert 1 <= first <= 4, "what was in flight when the first was refused, and no more"
        again = program.json("run", str(program.rows(long[:2], "more.jsonl")), "--dedupe", "off", "--route", "both")
        assert (again["ok"], upstream.bill("small")["calls"] > first) == (2, True), "a new worker asks anew"


def test_a_quota_that_is_gone_for_the_day_is_not_waited_for_where_another_target_can(tmp_path: Path) -> None:
    spent = {**CLOUD, "personality": "gemini", "model": "gemini-2.5-flash-lite", "fault_rates": {"429_day": 1.0}}
    routes = {"both": {"targets": ["spent", "other"]}}
    with Upstream({"servers": {"spent": spent, "other": CLOUD}, "routes": routes}) as upstream:
        targets = upstream.settings()["targets"]
        targets["spent"]["max_concurrency"] = 2
        program = Program(tmp_path, targets=targets, routes=routes)
        out = program.json("run", str(program.rows(prompts(30))), "--dedupe", "off", "--route", "both", timeout_s=60)
        assert (out["ok"], upstream.bill("other")["answered"]) == (30, 30)
        assert upstream.bill("spent")["calls"] <= 4, "those in flight when the first heard of it"
    refused = program.costs().filter(pl.col("target") == "spent")
    assert set(refused["error_code"]) == {"quota_per_day"}


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    faults = [{"at": 3, "kind": "503", "retry_after_s": 12}]
    server = {**CLOUD, "faults": faults}
    with Upstream({"servers": {"one": server}, "targets": {"one": {"max_concurrency": 1}}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(prompts(8))), "--dedupe", "off")
        assert (out["ok"], out["seconds"] > 12) == (8, True)
    costs = program.costs().sort("started_at")
    busy = costs.filter(pl.col("error_code").is_not_null())
    (asked,), after = busy["finished_at"], costs.filter(pl.col("started_at") > busy["finished_at"][0])["started_at"]
    assert (after.min() - asked).total_seconds() > 11.5, "nobody asked before"


RULES: dict[str, tuple[str, str, int, str]] = {
    # fault → the row's status, who answered, calls at the first target, the outcome of the first of them
    "400": ("ok", "second", 1, "rejected"),
    "413": ("ok", "second", 1, "rejected"),
    "context_overflow": ("ok", "second", 1, "rejected"),
    "refusal": ("refused", "first", 1, "ok"),
    "content_filter": ("refused", "first", 1, "ok"),
    "moderation": ("refused", "first", 1, "ok"),
    "length": ("ok", "first", 1, "ok"),
    "429_ms": ("ok", "first", 2, "rejected"),
    "503": ("ok", "first", 2, "rejected"),
    "500": ("ok", "first", 2, "error"),
    "lost": ("ok", "first", 2, "lost"),
    "empty": ("ok", "first", 2, "ok"),  # it told what it cost
}
ONCE = {"429_ms", "503", "500", "lost", "empty"}


def test_each_outcome_has_its_rule(tmp_path: Path) -> None:
    faults = [{"match": f"<{kind}>", "kind": kind, **({"times": 1} if kind in ONCE else {})} for kind in RULES]
    servers = {"first": {**CLOUD, "faults": faults, "answer": "text"}, "second": CLAUDE}
    rows = [{"id": kind, "prompt": f"<{kind}> Tell me more.", "max_tokens": 40} for kind in RULES]
    with Upstream({"servers": servers, "routes": {"both": {"targets": ["first", "second"]}}}) as upstream:
        program = Program(tmp_path, upstream)
        program.json("run", str(program.rows(rows)), "--dedupe", "off", "--route", "both", code=3)
    costs = program.costs().sort("attempt")
    found = {}
    for row in program.results().iter_rows(named=True):
        calls = costs.filter((pl.col("custom_id") == row["custom_id"]) & (pl.col("target") == "first"))
        found[row["custom_id"]] = (row["status"], row["target"], calls.height, calls["outcome"][0])
    assert found == RULES


def test_a_host_that_is_dearer_than_what_is_reserved_is_never_paid(tmp_path: Path) -> None:
    """Its rows are not failed for a price that has risen: another target answers."""
    router = {**CLOUD, "personality": "openrouter", "usd_per_mtok_in": 0.2}
    with Upstream({"servers": {"router": router, "cloud": CLOUD}}) as upstream:
        settings = upstream.settings()
        settings["targets"]["router"]["input_usd_per_mtok"] = 0.1
        settings["routes"] = {"all": {"targets": ["router", "cloud"]}}
        program = Program(tmp_path, **settings)
        out = program.json("run", str(program.rows(prompts(40))), "--dedupe", "off")
        assert (out["ok"], upstream.bill("router")["answered"], upstream.bill("cloud")["answered"]) == (40, 0, 40)
        assert "dearer than its price" in program.run("targets", "check", "router", "--json", code=3).stdout
    refused = program.costs().filter(pl.col("error_code") == "no_provider")
    assert refused.height and float(refused["cost_usd"].sum()) == 0
