"""Answers across runs, in flight and after failures, on real processes: what is asked, what is free, what is walled off."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from pipelines import invariants, paths
from tests.crash.stage import Field
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_serving import ADMIN, CHAT, serving
from tests.support_upstream import Upstream
from tests.test_flow import agrees_with, prompts


def asked(upstream: Upstream) -> Counter[str]:
    return Counter(str(call["prompt_hash"]) for call in upstream.calls())


def renamed(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [{**row, "id": f"{name}-{number}"} for number, row in enumerate(rows)]


def fails(prompt: str, rows: int = 1) -> dict[str, Any]:
    """The first rows that ask this prompt end without an answer, by no fault of its form."""
    return {"kind": "400", "status": 418, "match": prompt, "times": rows}


def test_earlier_answers_are_reused_by_the_same_client_only(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU, "cloud": CLOUD}}) as upstream:
        program = Program(tmp_path, upstream)
        first = program.json("run", str(program.rows(prompts(40))), "--dedupe", "exact")
        more = program.rows(renamed(prompts(60), "again"), "more.jsonl")
        second = program.json("run", str(more), "--dedupe", "exact")
        assert sum(asked(upstream).values()) == 60, "40 of the 60 were answered before"
        assert (second["ok"], second["duplicate"], second["calls"]) == (20, 40, 20)
        other = program.json("run", str(more), "--dedupe", "exact", "--client", "other")
        assert (other["ok"], other["duplicate"]) == (60, 0), "nothing crosses clients"
        fresh = program.json("run", str(more), "--dedupe", "exact", "--fresh")
        assert (fresh["ok"], fresh["duplicate"]) == (60, 0), "who says --fresh wants new answers"
        agrees_with(program, upstream)
        results = program.results(second["run_id"])
        copied = results.filter(pl.col("status") == "duplicate")
        assert set(copied["duplicate_run"]) == {first["run_id"]}
        assert copied["duplicate_of"].to_list() == list(range(40))
        before = program.results(first["run_id"])
        assert copied["output"].to_list() == before["output"].to_list()
        assert copied["avoided_usd"].sum() == before["avoided_usd"].sum() > 0
        for run in (second, other, fresh):
            assert program.run("doctor", "--run", run["run_id"]).returncode == 0


def test_two_runs_at_once_ask_each_prompt_once(tmp_path: Path) -> None:
    slow = {**GPU, "latency_ms": 300, "slots": 8}
    with Upstream({"servers": {"gpu": slow}}) as upstream:
        roles = ["prepare,schedule,settle", "prepare", "local,cloud"]
        with Field(tmp_path, upstream, roles) as there:
            one = there.submit(there.program.rows(prompts(120), "one.jsonl"))
            two = there.submit(there.program.rows(renamed(prompts(150), "two"), "two.jsonl"))
            elsewhere = there.submit(there.program.rows(prompts(30), "three.jsonl"), "--client", "other")
            for run in (one, two, elsewhere):
                assert there.wait_for_end(run) == "completed"
            assert sum(asked(upstream).values()) == 150 + 30
            results = pl.concat([there.program.results(run) for run in (one, two)])
            costs = there.program.costs()
    assert results["status"].value_counts().sort("status").rows() == [("duplicate", 120), ("ok", 150)]
    assert costs.height == 180
    outputs = results.group_by(results["custom_id"].str.extract(r"(\d+)$")).agg(pl.col("output").n_unique())
    assert outputs["output"].max() == 1


def test_a_follower_takes_the_place_of_a_leader_that_fails(tmp_path: Path) -> None:
    rows = [*prompts(20), *renamed(prompts(20), "b"), *renamed(prompts(20), "c")]
    faults = [{"kind": "lost", "match": "number 7.", "times": 3}, {"kind": "400", "match": "number 3."}]
    with Upstream({"servers": {"gpu": {**GPU, "faults": faults}}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(rows)), "--dedupe", "exact", code=3)
        results, costs = program.results(out["run_id"]), program.costs()
        agrees_with(program, upstream)
    assert results.filter(pl.col("row") % 20 == 7)["status"].to_list() == ["failed", "ok", "duplicate"]
    assert results["duplicate_of"][47] == 27, "the others follow the one that took its place"
    assert results.filter(pl.col("row") % 20 == 3)["status"].to_list() == ["failed"] * 3
    assert costs.filter(pl.col("row") % 20 == 3)["row"].to_list() == [3], (
        "a refusal by its form is shared, not repeated"
    )
    assert (out["ok"], out["duplicate"], out["failed"]) == (19, 37, 4)
    assert program.run("doctor", "--run", out["run_id"]).returncode == 0


def test_of_copies_that_followed_by_proof_one_takes_the_place_of_a_leader_that_fails(tmp_path: Path) -> None:
    text = "could somebody tell me where the new card for my office in Oslo is now"
    rows = [{"id": str(row), "prompt": f"please {text}" if row else text} for row in range(6)]
    faults = [{"kind": "lost", "match": "Oslo", "times": 3}]
    with Upstream({"servers": {"gpu": {**GPU, "faults": faults}}}) as upstream:
        program = Program(tmp_path, upstream, routes={"small": {"targets": ["gpu"], "task": "open"}})
        out = program.json("run", str(program.rows(rows)), code=3)
        results, costs = program.results(out["run_id"]), program.costs()
        agrees_with(program, upstream)
    assert results["status"].to_list() == ["failed", "ok", *["duplicate"] * 4]
    assert results["duplicate_of"].to_list() == [None, None, 1, 1, 1, 1]
    assert costs["row"].to_list() == [0, 0, 0, 1], "each copy was paid for"
    assert program.run("doctor", "--run", out["run_id"]).returncode == 0


def test_a_run_that_is_killed_and_cancelled_leaves_its_followers_to_themselves(tmp_path: Path) -> None:
    slow = {**GPU, "latency_ms": 250, "slots": 6}
    roles = ["prepare,schedule,settle", "local,cloud"]
    with Upstream({"servers": {"gpu": slow}}) as upstream, Field(tmp_path, upstream, roles) as there:
        one = there.submit(there.program.rows(prompts(150), "one.jsonl"))
        wait_until(lambda: there.fields(one).get("prepared") == "1", 40)
        two = there.submit(there.program.rows([*renamed(prompts(150), "two"), *prompts(5, system="x")], "two.jsonl"))
        wait_until(lambda: there.fields(two).get("prepared") == "1" and there.requests() > 40, 60)
        there.kill_workers()
        there.ask("cancel", one)
        assert there.wait_for_end(one) == "cancelled"
        assert there.wait_for_end(two) == "completed"
        results, costs = there.program.results(two), there.program.costs()
        kept = there.program.results(one).filter(pl.col("status") == "ok").height
        calls = asked(upstream)
    assert 0 < kept < 150
    assert dict(results["status"].value_counts().rows()) == {"duplicate": kept, "ok": 155 - kept}
    assert set(results.filter(pl.col("status") == "duplicate")["duplicate_run"]) == {one}
    mine = costs.filter(pl.col("run_id") == two)
    assert not invariants.check(results.lazy(), mine.lazy(), 155)
    assert max(calls.values()) <= 2, "only what was in flight when the workers died is asked again"
    assert sum(calls.values()) <= 155 + 2 * 6


def test_answers_are_reused_as_long_as_the_route_says(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        routes = {"short": {"targets": ["gpu"], "reuse_for": "1s"}, "long": {"targets": ["gpu"]}}
        program = Program(tmp_path, upstream, routes=routes)
        for name, route in (("a", "short"), ("b", "long")):
            program.json("run", str(program.rows(prompts(10), f"{name}.jsonl")), "--dedupe", "exact", "--route", route)
        time.sleep(1.0)
        for name, route, calls in (("c", "short", 10), ("d", "long", 0)):
            source = program.rows(prompts(10), f"{name}.jsonl")
            out = program.json("run", str(source), "--dedupe", "exact", "--route", route)
            assert out["calls"] == calls, route


def test_broken_files_of_earlier_runs_cost_no_more_than_their_answers(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        program = Program(tmp_path, upstream)
        rows = prompts(40)
        for number in range(4):
            some = program.rows(rows[10 * number : 10 * number + 10], f"{number}.jsonl")
            run = program.json("run", str(some), "--dedupe", "exact")["run_id"]
            folder = program.data / paths.run_dir(run)
            [part], [chunk] = (folder / "parts").glob("*.parquet"), (folder / "chunks").glob("*.parquet")
            broken = [chunk, folder / "results.parquet", part][number : number + 1]
            for file in broken:
                whole = file.read_bytes()
                file.write_bytes([b"", whole[: len(whole) // 2], b"?" * len(whole)][number])
        out = program.json("run", str(program.rows(renamed(rows, "all"), "all.jsonl")), "--dedupe", "exact")
        assert (out["ok"], out["duplicate"]) == (30, 10), "only the last of them can still be read"
        assert sum(asked(upstream).values()) == 70
        answers = program.results(out["run_id"]).sort("row")["output"].to_list()
        first = program.results(run).sort("row")["output"].to_list()
        assert answers[30:] == first
        assert program.run("doctor", "--run", out["run_id"]).returncode == 0


def test_a_follower_in_a_later_segment_takes_the_place_of_a_leader_that_fails(tmp_path: Path) -> None:
    """Another one of the run did so before, when there was one segment less."""
    faults = [fails(f"{name} failure") for name in ("first", "second")]
    route = {"targets": ["gpu"], "models": [GPU["model"]], "dedupe": "exact"}
    ended = []
    with Upstream({"servers": {"gpu": {**GPU, "faults": faults}}}) as upstream:
        api = {"admin_key": ADMIN, "inbox_open": "60s"}
        program = Program(tmp_path, upstream, routes={"small": route}, api=api)
        with serving(program, "--workers") as server, server.http() as http:
            for name in ("first", "second"):
                body = {"model": GPU["model"], "messages": [{"role": "user", "content": f"the {name} failure"}]}
                told = [http.post(CHAT, json=body, headers={"x-spillway-wait-s": "0"}) for _ in range(2)]
                leader, follower = (each.json()["spillway"]["id"] for each in told)
                answer = http.get(f"{CHAT}/{follower}", headers={"x-spillway-wait-s": "45"})
                ended.append((http.get(f"{CHAT}/{leader}").status_code, answer.status_code))
            runs = list((program.data / "inbox").iterdir())
    assert len(runs) == 1, "both questions came to one run"
    assert ended == [(502, 200), (502, 200)]


def copies(count: int, times: int) -> list[dict[str, Any]]:
    """Prompts, each of them so many times, the equal ones far apart."""
    return [row for time in range(times) for row in renamed(prompts(count), f"copy-{time}")]


def test_a_resume_asks_each_prompt_once(tmp_path: Path) -> None:
    """Leaders whose calls were out when their worker died and the run was cancelled: nobody takes their place meanwhile."""
    slow = {**GPU, "latency_ms": 20_000}
    with Upstream({"servers": {"gpu": slow}}) as upstream, Field(tmp_path, upstream, [""]) as there:
        source = there.program.rows(copies(6, 3))
        run = there.submit(source)
        wait_until(lambda: there.fields(run).get("prepared") == "1" and there.requests() == 6, 40)
        there.kill_workers(mend=False)
        there.ask("cancel", run)
        assert there.wait_for_end(run) == "cancelled"
        cancelled = there.program.results(run)
        assert set(cancelled["status"]) == {"cancelled"} and cancelled["attempts"].to_list() == [*[1] * 6, *[0] * 12]
        upstream.control("gpu", latency_ms=1_500)
        before = there.requests()
        assert there.submit(source) == run
        assert there.wait_for_end(run) == "completed"
        results, asked_again = there.program.results(run), there.requests() - before
    assert results["status"].to_list() == [*["ok"] * 6, *["duplicate"] * 12]
    assert asked_again == 6


def test_a_retry_asks_each_prompt_once_however_many_of_its_copies_had_failed(tmp_path: Path) -> None:
    faults = [fails(f"number {number}.", 4) for number in range(2)]  # each leader, and three in its place
    with (
        Upstream({"servers": {"gpu": {**GPU, "faults": faults}}}) as upstream,
        Field(tmp_path, upstream, [""]) as there,
    ):
        run = there.submit(there.program.rows(copies(2, 6)))
        assert there.wait_for_end(run) == "completed"
        failed = there.program.results(run)
        assert failed["status"].to_list() == ["failed"] * 12
        assert failed["attempts"].to_list() == [*[1] * 8, *[0] * 4]
        before = there.requests()
        there.ask("retry", run)
        assert there.wait_for_end(run) == "completed"
        results, asked_again = there.program.results(run), there.requests() - before
        there.ask("doctor", "--run", run)
    assert results["status"].to_list() == [*["ok"] * 8, *["duplicate"] * 4]
    assert results["output"].n_unique() == 2
    assert asked_again == 2


def test_a_source_that_is_gone_keeps_no_follower_of_another_one_from_being_asked(tmp_path: Path) -> None:
    """The one ends in the middle of the second chunk, and the other begins there."""
    first, last, beyond, fine = (prompts(4)[number : number + 1] for number in range(4))
    one = [*first, *renamed(first, "a"), *renamed(296 * fine, "b"), *last, *renamed(last, "c")]
    two = [*renamed(beyond, "d"), *renamed(beyond, "e"), *renamed(first, "f"), *renamed(fine, "g")]
    gpu = {**GPU, "latency_ms": 1_000, "faults": [fails(f"number {number}.") for number in range(3)]}
    with Upstream({"servers": {"gpu": gpu}}) as upstream, Field(tmp_path, upstream, [""]) as there:
        sources = there.program.rows(one, "one.jsonl"), there.program.rows(two, "two.jsonl")
        run = there.submit(sources[0], str(sources[1]))
        wait_until(lambda: there.fields(run).get("prepared") == "1", 40)
        sources[1].rename(tmp_path / "elsewhere.jsonl")
        assert there.wait_for_end(run) == "completed"
        found = there.program.results(run)["status"].to_list()
    assert found[:3] == ["failed", "ok", "ok"] and set(found[3:298]) == {"duplicate"}
    assert found[298:300] == ["failed", "ok"], "read up to where the other source begins"
    assert found[300:] == ["failed", "failed", "duplicate", "duplicate"]


def test_who_follows_asks_itself_in_time_for_its_own_deadline(tmp_path: Path) -> None:
    """Beside a run that waits for a slow local lane: it waited until a quarter of its time was left, too late for two a second."""
    servers = {"gpu": {**GPU, "latency_ms": 5000, "slots": 1}, "cloud": {**CLOUD, "rpm": 120, "burst_s": 2}}
    with Upstream({"servers": servers, "targets": {"cloud": {"rpm": 120}}}) as upstream:
        roles, routes = ["prepare,schedule,settle", "local,cloud"], {"small": {"targets": ["gpu", "cloud"]}}
        with Field(tmp_path, upstream, roles, routes=routes) as there:
            one = there.submit(there.program.rows(prompts(60), "one.jsonl"))
            wait_until(lambda: there.fields(one).get("prepared") == "1", 40)
            two = there.submit(there.program.rows(renamed(prompts(30), "two"), "two.jsonl"), "--deadline", "28s")
            assert there.wait_for_end(two) == "completed"
            assert set(there.program.results(two)["status"]) <= {"ok", "duplicate"}


def test_beside_a_run_that_ends_for_want_of_money_no_prompt_is_paid_twice(tmp_path: Path) -> None:
    """What it had answered in a batch that waits for money was not settled, and was asked by who followed it."""
    cloud = {**CLOUD, "latency_ms": 200, "answer": "text:red"}
    world = {"servers": {"cloud": cloud}, "targets": {"cloud": {"max_concurrency": 8}}}
    with Upstream(world) as upstream, Field(tmp_path, upstream, ["prepare,schedule,settle", "local,cloud"]) as there:
        rows = [{**row, "max_tokens": 10} for row in prompts(60)]
        one = there.submit(there.program.rows(rows, "one.jsonl"), "--budget", "0.0001")
        wait_until(lambda: there.fields(one).get("prepared") == "1", 40)
        two = there.submit(there.program.rows(renamed(rows, "two"), "two.jsonl"))
        assert there.wait_for_end(two) == "completed"
        results, paid = there.program.results(two), asked(upstream)
        assert there.fields(one)["blocked"].startswith("budget")
        there.ask("cancel", one)
        assert there.wait_for_end(one) == "cancelled"
        there.ask("doctor", "--run", one)
        there.ask("doctor", "--run", two)
    assert len(paid) == 60 and set(paid.values()) == {1}
    counts = dict(results.group_by("status").len().rows())
    assert counts["ok"] + counts["duplicate"] == 60 and min(counts.values()) > 5
