"""What is asked beside runs: estimates, targets, costs, metrics and health; who may ask what."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from producer.api.child import LIMIT_S
from tests.producer.api.conftest import ROUTE
from tests.producer.api.test_runs import ended, error, fresh, lines, start
from tests.support_program import Program, processes, wait_until
from tests.support_serving import ADMIN, Server, serving
from tests.support_upstream import Upstream

_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Server]:
    clients = {
        "acme": {"budget": {"daily_usd": 5.0}},
        "homely": {"routes": ["home"]},
        "small": {"quota": {"rows_per_day": 10, "submissions_per_minute": 6}},
        "waiting": {"quota": {"rows_in_queue": 5}},
    }
    routes = {
        "small": ROUTE,
        "home": {"targets": ["gpu"], "models": ["house-model"], "dedupe": "exact", "max_complexity": 0.1},
    }
    program = Program(
        tmp_path_factory.mktemp("watch"), upstream, routes=routes, clients=clients, api={"admin_key": ADMIN}
    )
    with serving(program, "--workers") as found:
        yield found


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    with server.http(None) as http:
        http.headers["x-api-key"] = ADMIN
        yield http


def test_an_estimate_says_what_plan_says_and_spends_nothing(server: Server, upstream: Upstream) -> None:
    prompts: list[Any] = [*fresh(5), 7]
    prompts.append(prompts[0])
    before = upstream.bill()
    with server.http() as http:
        reply = http.post("/v1/estimate", json={"prompts": prompts, "route": "small", "deadline": "1h"})
        assert reply.status_code == 200, reply.text
        said = reply.json()
        counted = [said[name] for name in ("rows", "asked", "duplicate", "invalid")]
        assert counted == [7, 5, 1, 1] and said["deadline_s"] == 3600
        assert [route["route"] for route in said["routes"]] == ["small"]
        assert {lane["lane"] for lane in said["lanes"]} == {"local", "cloud"} and Decimal(said["all_cloud_usd"]) > 0
        assert http.get("/v1/runs").json()["data"] == []
        assert error(http.post("/v1/estimate", json={"prompts": ["a"], "route": "nowhere"}))["param"] == "route"
        assert error(http.post("/v1/estimate", json={"file_id": "file-x"}), 404)
    assert upstream.bill() == before
    rows = server.program.rows([{"prompt": each} if isinstance(each, str) else each for each in prompts], "plan.jsonl")
    plan = server.program.json("plan", str(rows), "--route", "small", "--deadline", "1h", "--client", "acme")
    assert plan == {name: value for name, value in said.items() if name != "object"}


def test_a_file_is_estimated_too_and_only_its_owners(server: Server) -> None:
    content = b"".join(b'{"prompt": "Name a colour for %d."}\n' % i for i in range(20))
    with server.openai() as client, server.http() as http, server.http("rival") as rival:
        file = client.files.create(file=("rows.jsonl", content), purpose="batch")
        assert http.post("/v1/estimate", json={"file_id": file.id}).json()["rows"] == 20
        theirs = error(rival.post("/v1/estimate", json={"file_id": file.id}), 404)
        client.files.delete(file.id)
        assert theirs == error(rival.post("/v1/estimate", json={"file_id": file.id}), 404)


def test_who_hangs_up_ends_the_child_that_worked_for_him(server: Server) -> None:
    hung_up = threading.Event()
    asking = threading.Thread(target=_hang_up, args=(server, hung_up))
    asking.start()
    try:
        wait_until(lambda: _children(server))
        [child] = _children(server)
        os.kill(child, signal.SIGSTOP)  # it would never end by itself
    finally:
        hung_up.set()
        asking.join()
    wait_until(lambda: not _children(server), LIMIT_S / 2)
    with server.http() as http:
        assert http.post("/v1/estimate", json={"prompts": fresh(1)}).status_code == 200, "and his place is free"


def _hang_up(server: Server, when: threading.Event) -> None:
    """Asks for an estimate and goes without its answer."""
    body = json.dumps({"prompts": ["Name a colour."]})
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address) as client:
        head = f"POST /v1/estimate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key()}\r\n"
        client.sendall(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        when.wait(60)


def _children(server: Server) -> list[int]:
    """Process ids of the children that answer questions."""
    found, parent = [], f"PPid:\t{server.process.pid}\n"
    for pid in processes("worker.asked"):
        with suppress(OSError):
            if parent in Path(f"/proc/{pid}/status").read_text():
                found.append(pid)
    return found


def test_targets_are_shown_to_each_as_far_as_they_concern_him(server: Server, admin: httpx.Client) -> None:
    with server.http() as http, server.http("homely") as homely:
        mine = {each["name"]: each for each in http.get("/v1/targets").json()["data"]}
        assert set(mine) == {"gpu", "cloud"} and mine["cloud"]["price"]["input_usd_per_mtok"].rstrip("0") == "0.15"
        assert [each["name"] for each in homely.get("/v1/targets").json()["data"]] == ["gpu"]
        assert not {"base_url", "in_flight", "slots"} & set(mine["gpu"])
        assert http.post("/v1/targets/gpu/check").status_code == 403
    whole = {each["name"]: each for each in admin.get("/v1/targets").json()["data"]}
    assert whole["gpu"]["base_url"].startswith("http://127.0.0.1:") and "in_flight" in whole["gpu"]
    checked = admin.post("/v1/targets/gpu/check").json()
    assert (checked["object"], checked["ok"], checked["name"]) == ("target.check", True, "gpu")
    assert checked["answer"] and error(admin.post("/v1/targets/none/check"), 404)


def test_costs_are_those_of_the_ledger_and_of_the_client_alone(server: Server, admin: httpx.Client) -> None:
    with server.http("spender") as http, server.http("thrifty") as other:
        run = start(http, prompts=fresh(4), route="cloud")
        done = ended(http, run["id"])
        ended(other, start(other, prompts=fresh(2), route="cloud")["id"])
        summary = http.get("/v1/costs/summary", params={"since": "1h"}).json()
        [row] = summary["data"]
        assert (summary["client"], row["answered"], row["calls"]) == ("spender", 4, 4)
        ledger = server.program.costs()
        spent = ledger.filter(ledger["client"] == "spender")["cost_usd"].sum()
        assert Decimal(row["spent_usd"]) == spent == Decimal(done["cost_usd"]) > 0
        assert error(http.get("/v1/costs/summary", params={"client": "thrifty"}), 403)["param"] == "client"
        assert (
            http.get("/v1/costs/summary", params={"client": "spender", "by": "run"}).json()["data"][0]["run"]
            == run["id"]
        )
        assert "no time" in error(http.get("/v1/costs/summary", params={"since": "soon"}))["message"]
        assert error(http.get("/v1/costs/summary", params={"by": "secret"}))["param"] == "by"
    rows = admin.get("/v1/costs/summary", params={"by": "client"}).json()["data"]
    assert {"spender", "thrifty"} <= {each["client"] for each in rows}
    assert sum(Decimal(each["spent_usd"]) for each in rows) == server.program.costs()["cost_usd"].sum()
    with server.http() as http:
        scopes = {scope["scope"].split(":")[2]: scope for scope in http.get("/v1/costs/summary").json()["budgets"]}
        assert set(scopes) == {"day", "month"} and Decimal(scopes["day"]["limit_usd"]) == 5


def test_metrics_are_for_the_admin_and_count_what_there_is(
    server: Server, admin: httpx.Client, upstream: Upstream
) -> None:
    with server.http() as http:
        assert error(http.get("/metrics"), 403)["code"] == "admin_only"
        upstream.control(latency_ms=2000)
        run = start(http, prompts=fresh(40), route="small")
        seen: dict[str, float] = {}
        until = time.monotonic() + 60
        while not seen.get('spillway_target_in_flight{lane="local",target="gpu"}'):
            assert time.monotonic() < until, seen
            seen = figures(admin.get("/metrics").text)
        upstream.control(latency_ms=20)
        assert seen['spillway_runs_open{status="in_progress"}'] == 1 and seen["spillway_queue_rows"] > 0
        assert seen["spillway_workers"] >= 1 and seen['spillway_target_up{lane="local",target="gpu"}'] == 1
        assert seen['spillway_limit_usd{client="acme",scope="day"}'] == 5
        ended(http, run["id"])
        http.get("/v1/runs/whoever")
        http.get("/v1/whatever/else")
    after = figures(admin.get("/metrics").text)
    assert after["spillway_queue_rows"] == 0 and after['spillway_runs_open{status="in_progress"}'] == 0
    assert after["spillway_runs_known"] >= 1 and after['spillway_spent_usd{client="",scope="day"}'] >= 0
    assert after['spillway_http_requests_total{method="GET",path="/v1/runs/{run_id}",status="404"}'] == 1
    assert after['spillway_http_requests_total{method="GET",path="other",status="404"}'] == 1
    assert after['spillway_http_request_seconds_count{method="POST",path="/v1/runs"}'] >= 1


def figures(text: str) -> dict[str, float]:
    """Prometheus' text, labels in the order of their names."""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line):
            labels = ",".join(sorted(re.findall(r'\w+="[^"]*"', match[2] or "")))
            found[match[1] + (f"{{{labels}}}" if labels else "")] = float(match[3])
    return found


def test_a_client_goes_only_the_ways_that_it_may(server: Server) -> None:
    with server.http("homely") as http, server.openai("homely") as client:
        for body in ({"route": "small"}, {"route": "gpu"}):
            assert error(http.post("/v1/runs", json={"prompts": fresh(1), **body}))["param"] == "route"
        named = [
            {"prompt": fresh(1)[0], "model": "gpt-4o-mini"},
            {"prompt": fresh(1)[0], "model": "cloud"},
            {"prompt": fresh(1)[0], "model": "house-model"},
            {"prompt": "Explain why, prove and analyse: compare, derive, design the algorithm step-by-step. " * 20},
        ]
        run = ended(http, start(http, prompts=named)["id"])
        rows = lines(http, run["id"])
        assert [(row["status"], row["route"]) for row in rows] == [
            ("invalid", None), ("invalid", None), ("ok", "home"), ("ok", "home"),
        ]  # fmt: skip
        assert "gpt-4o-mini" not in (rows[0]["error_message"] or "").partition("known:")[2]
        from tests.support_serving import ended as batch_ended
        from tests.support_serving import jsonl, line, make, put

        batch = batch_ended(client, make(client, put(client, jsonl([line("a", *fresh(1))])).id).id)
        assert batch.status == "failed" and batch.errors is not None and batch.errors.data is not None
        assert batch.errors.data[0].code == "model_not_found"


def test_over_quota_is_429_with_the_limit_and_when_it_turns(server: Server) -> None:
    files = len(list(server.program.data.glob("files/*")))
    with server.http("small") as http:
        run = start(http, prompts=fresh(8))
        refused = http.post("/v1/runs", json={"prompts": fresh(3)})
        told = error(refused, 429)
        assert (told["code"], told["param"]) == ("quota_exceeded", "rows_per_day")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400 and int(refused.headers["x-ratelimit-reset"]) > 0
        assert "resets at" in told["message"]
        long = b'{"prompt": "' + b"x" * (1 << 20) + b'"}\n' + b'{"prompt": "y"}\n' * 20
        fooled = http.post("/v1/runs", files={"file": ("rows.jsonl", long)})
        assert error(fooled, 429)["param"] == "rows_per_day" and "asks for 21" in error(fooled, 429)["message"]
        never = http.post("/v1/runs", json={"prompts": fresh(11)})
        assert error(never, 429)["param"] == "rows_per_day" and "retry-after" not in never.headers
        ended(http, run["id"])
        ended(http, start(http, prompts=fresh(2))["id"])  # what was refused was not counted, and left no file
        assert len(http.get("/v1/runs").json()["data"]) == 2
        assert len(list(server.program.data.glob("files/*"))) == files + 2
        codes = [error(http.post("/v1/runs", json={"prompts": fresh(1)}), 429)["param"] for _ in range(8)]
        assert codes[0] == "rows_per_day"


def test_rows_in_the_queue_are_limited_until_they_are_answered(server: Server, upstream: Upstream) -> None:
    with server.http("waiting") as http:
        upstream.control(latency_ms=2000)
        run = start(http, prompts=fresh(4))
        refused = http.post("/v1/runs", json={"prompts": fresh(2)})
        assert error(refused, 429)["param"] == "rows_in_queue" and refused.headers["retry-after"]
        upstream.control(latency_ms=20)
        ended(http, run["id"])
        ended(http, start(http, prompts=fresh(5))["id"])
