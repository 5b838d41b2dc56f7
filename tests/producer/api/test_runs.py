"""Native runs over HTTP: prompts, files and options in; progress, rows and money out."""

from __future__ import annotations

import csv
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from pipelines import paths
from pipelines.types import Options
from producer import intake, runs
from producer.api import events
from producer.api.auth import Identity
from producer.api.errors import ApiError
from producer.api.runs import retry, shown
from producer.api.state import State
from producer.queue import now_ms
from producer.runs import RunView
from producer.sources import inspect
from tests.support_program import Program, wait_until
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, Server, jsonl, line, make, put, serving
from tests.support_serving import ended as batch_ended
from tests.support_upstream import Upstream

_numbers = count()
ENDED = ("completed", "failed", "expired", "cancelled")


def fresh(rows: int) -> list[str]:
    """Prompts that nobody has asked before."""
    return [f"Name a colour for run thing {next(_numbers)}." for _ in range(rows)]


def start(http: httpx.Client, **body: Any) -> dict[str, Any]:
    reply = http.post("/v1/runs", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def ended(http: httpx.Client, run_id: str, seconds: float = 90) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while (run := http.get(f"/v1/runs/{run_id}").json())["status"] not in ENDED:
        assert time.monotonic() < until, run
        time.sleep(0.05)
    return dict(run)


def lines(http: httpx.Client, run_id: str, form: str = "jsonl") -> list[dict[str, Any]]:
    reply = http.get(f"/v1/runs/{run_id}/results", params={"format": form})
    assert reply.status_code == 200, reply.text
    return [json.loads(line) for line in reply.text.splitlines()]


def error(reply: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    found: dict[str, Any] = reply.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def test_every_kind_of_prompt_goes_in_and_bad_ones_end_invalid(server: Server) -> None:
    text, other = fresh(2)
    prompts: list[Any] = [
        text,
        {"prompt": other, "id": "mine", "colour": "blue"},
        {"messages": [{"role": "user", "content": fresh(1)[0]}], "max_tokens": 20},
        {"prompt": 7},
        5,
        None,
        ["a list"],
        "",
        'two\nlines \u2028 and "quotes"',
        text,
    ]
    with server.http() as http:
        run = start(http, prompts=prompts, metadata={"job": "x"})
        assert (run["object"], run["metadata"]) == ("run", {"job": "x"}) and run["rows"] == 10
        done = ended(http, run["id"])
        assert done["status"] == "completed" and done["finished_at"] >= done["created_at"]
        assert [done[name] for name in ("rows", "ok", "duplicate", "invalid", "unanswered")] == [10, 4, 1, 5, 0]
        rows = lines(http, run["id"])
        assert [row["row"] for row in rows] == list(range(10))
        assert rows[1]["custom_id"] == "mine" and rows[1]["tags"]["colour"] == "blue"
        assert [row["status"] for row in rows] == [*["ok"] * 3, *["invalid"] * 5, "ok", "duplicate"]
        assert sum(float(row["cost_usd"]) for row in rows) == pytest.approx(float(done["cost_usd"]))


def test_results_come_in_every_form_and_say_the_same(server: Server) -> None:
    with server.http() as http:
        run = start(http, prompts=[*fresh(3), "=1+1 is a formula?"])
        ended(http, run["id"])
        url = f"/v1/runs/{run['id']}/results"
        rows = lines(http, run["id"])
        table = pl.read_parquet(io.BytesIO(http.get(url, params={"format": "parquet"}).content))
        assert table["output"].to_list() == [row["output"] for row in rows]
        cells = list(csv.DictReader(io.StringIO(http.get(url, params={"format": "csv"}).text)))
        assert [cell["custom_id"] for cell in cells] == [row["custom_id"] for row in rows]
        openai = lines(http, run["id"], "openai")
        assert [line["response"]["status_code"] for line in openai] == [200] * 4
        assert http.get(url).headers["x-spillway-run-status"] == "completed"
        assert error(http.get(url, params={"format": "xml"}))["param"] == "format"


def test_options_are_those_of_the_command(server: Server, upstream: Upstream) -> None:
    rows = [{"product": f"chair {next(_numbers)}"}, {"colour": "no product"}]
    options = {
        "template": "Name a colour for {{ product }}.", "route": "small", "deadline": "2h", "budget_usd": "1.50",
        "dedupe": "off", "labels": ["red", "blue"],
    }  # fmt: skip
    with server.http() as http:
        run = start(http, prompts=rows, **options)
        assert run["deadline_at"] - run["created_at"] == 7200
        done = ended(http, run["id"])
        found = lines(http, run["id"])
        assert found[1]["status"] == "invalid" and found[1]["error_code"] == "template_error"
        assert done["rows"] == 2 and found[0]["route"] == "small"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompts"),
        ({"prompts": []}, "prompts"),
        ({"prompts": "text"}, "prompts"),
        ({"prompts": ["a"], "file_id": "file-1"}, "prompts"),
        ({"file_id": 7}, "file_id"),
        ({"prompts": ["a"], "routes": "x"}, "routes"),
        ({"prompts": ["a"], "route": "nowhere"}, "route"),
        ({"prompts": ["a"], "deadline": "soon"}, "deadline"),
        ({"prompts": ["a"], "deadline": "0s"}, "deadline"),
        ({"prompts": ["a"], "budget_usd": -1}, "budget_usd"),
        ({"prompts": ["a"], "budget_usd": "NaN"}, "budget_usd"),
        ({"prompts": ["a"], "dedupe": "perhaps"}, "dedupe"),
        ({"prompts": ["a"], "labels": ["one"]}, "labels"),
        ({"prompts": ["a"], "labels": ["a", "b"], "schema": {}}, "labels"),
        ({"prompts": ["a"], "schema": {"type": "nothing"}}, "schema"),
        ({"prompts": ["a"], "schema": {"$ref": "file:///etc/passwd"}}, "schema"),
        ({"prompts": ["a"], "template": "{{ a"}, "template"),
        ({"prompts": ["a"], "template": "{% include 'x' %}"}, "template"),
        ({"prompts": ["a"], "template": "{% set a = x ~ x %}"}, "template"),
        ({"prompts": ["a"], "metadata": {"a": 1}}, "metadata.a"),
        ({"prompts": ["a"], "metadata": {str(i): "" for i in range(17)}}, "metadata"),
    ],
)
def test_nonsense_is_told_before_anything_is_written(server: Server, body: dict[str, Any], param: str) -> None:
    before = sorted(server.program.data.glob("files/*"))
    with server.http() as http:
        assert error(http.post("/v1/runs", json=body))["param"] == param
    assert sorted(server.program.data.glob("files/*")) == before


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"prompts": [', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(server: Server, body: bytes) -> None:
    with server.http() as http:
        reply = http.post("/v1/runs", content=body, headers={"content-type": "application/json"})
        assert error(reply)["code"] in ("invalid_json", "invalid_type")


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_file_comes_with_the_request(server: Server, form: str) -> None:
    prompts = fresh(3)
    frame = pl.DataFrame({"prompt": prompts, "id": ["a", "b", "c"]})
    content = io.BytesIO()
    {"jsonl": frame.write_ndjson, "csv": frame.write_csv, "parquet": frame.write_parquet}[form](content)
    files = {"file": (f"rows.{form}", content.getvalue())}
    with server.http() as http:
        reply = http.post("/v1/runs", files=files, data={"options": json.dumps({"metadata": {"form": form}})})
        assert reply.status_code == 200, reply.text
        done = ended(http, reply.json()["id"])
        assert (done["status"], done["ok"], done["metadata"]) == ("completed", 3, {"form": form})
        assert [row["custom_id"] for row in lines(http, done["id"])] == ["a", "b", "c"]
        assert error(http.post("/v1/runs", files=files, data={"options": "{"}))["code"] == "invalid_json"
        assert error(http.post("/v1/runs", files={"file": ("x.csv", b"prompt\n")}))["code"] == "invalid_file_format"


def test_an_uploaded_file_runs_and_goes_on_when_it_is_deleted(server: Server) -> None:
    content = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in fresh(20)).encode()
    with server.http() as http, server.http("rival") as rival, server.openai() as client:
        file = client.files.create(file=("rows.jsonl", content), purpose="batch")
        run = start(http, file_id=file.id)
        client.files.delete(file.id)
        assert ended(http, run["id"])["ok"] == 20
        gone = error(http.post("/v1/runs", json={"file_id": file.id}), 404)
        assert gone == error(rival.post("/v1/runs", json={"file_id": file.id}), 404)


def test_the_list_pages_from_the_newest_and_only_through_ones_own(server: Server) -> None:
    with server.http("pager") as http, server.http("stranger") as stranger:
        made = [start(http, prompts=fresh(1))["id"] for _ in range(5)]
        first = http.get("/v1/runs", params={"limit": 2}).json()
        second = http.get("/v1/runs", params={"limit": 2, "after": first["last_id"]}).json()
        third = http.get("/v1/runs", params={"limit": 2, "after": second["last_id"]}).json()
        seen = [run["id"] for page in (first, second, third) for run in page["data"]]
        assert seen == made[::-1] and [page["has_more"] for page in (first, second, third)] == [True, True, False]
        assert stranger.get("/v1/runs").json()["data"] == []
        assert error(stranger.get("/v1/runs", params={"after": made[0]}))["param"] == "after"


def test_a_batch_is_not_a_run(server: Server) -> None:
    with server.openai("batcher") as client, server.http("batcher") as http:
        batch = batch_ended(client, make(client, put(client, jsonl([line("a", *fresh(1))])).id).id)
        assert batch.status == "completed"
        params = {"model": "gpt-4o-mini", "max_tokens": 9, "messages": [{"role": "user", "content": fresh(1)[0]}]}
        asked, versioned = {"requests": [{"custom_id": "a", "params": params}]}, {"anthropic-version": "2023-06-01"}
        messages = http.post("/v1/messages/batches", json=asked, headers=versioned).json()
        path, until = f"/v1/messages/batches/{messages['id']}", time.monotonic() + 90
        while http.get(path, headers=versioned).json()["processing_status"] != "ended":
            assert time.monotonic() < until
            time.sleep(0.05)
        run_id = next(server.program.data.glob("results/*"), None)
        assert run_id is not None and http.get("/v1/runs").json()["data"] == []
        for folder in server.program.data.glob("results/*"):
            assert http.get(f"/v1/runs/{folder.name.removeprefix('run=')}").status_code == 404


def test_the_same_key_makes_the_same_run_even_at_once(server: Server, upstream: Upstream) -> None:
    prompts, headers = fresh(3), {"Idempotency-Key": "once"}

    def ask(_: int) -> httpx.Response:
        with server.http("careful") as http:
            return http.post("/v1/runs", json={"prompts": prompts}, headers=headers)

    with ThreadPoolExecutor(6) as pool, server.http("careful") as http:
        replies = list(pool.map(ask, range(6)))
        made = {reply.json()["id"] for reply in replies if reply.status_code == 200}
        assert len(made) == 1 and {reply.status_code for reply in replies} <= {200, 409}
        assert ask(0).json()["id"] in made
        other = http.post("/v1/runs", json={"prompts": ["another"]}, headers=headers)
        assert error(other)["code"] == "idempotency_key_reused"
        assert len(http.get("/v1/runs").json()["data"]) == 1
        plain = [start(http, prompts=prompts)["id"] for _ in range(2)]
        assert len(set(plain)) == 2, "without a key nothing is merged"
    wait_until(lambda: any("likely a duplicate" in line for line in server.said))


def test_events_follow_a_run_to_its_end(server: Server) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    with server.http() as http:
        run = start(http, prompts=fresh(60))
        with http.stream("GET", f"/v1/runs/{run['id']}/events") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            kind = ""
            for text in stream.iter_lines():
                if text.startswith("event: "):
                    kind = text.removeprefix("event: ")
                elif text.startswith("data: "):
                    events.append((kind, json.loads(text.removeprefix("data: "))))
        assert events[-1] == ("end", http.get(f"/v1/runs/{run['id']}").json())
        assert all(kind == "progress" for kind, _ in events[:-1]) and len(events) >= 2
        done = [run["ok"] for _, run in events]
        assert done == sorted(done) and done[-1] == 60


def test_a_client_may_follow_only_so_much_at_once(server: Server, upstream: Upstream) -> None:
    from producer.api.events import MOST_STREAMS

    upstream.control(down=True)
    with server.http("watcher") as http, server.http("other") as other:
        run, theirs = start(http, prompts=fresh(1)), start(other, prompts=fresh(1))
        opened = [http.stream("GET", f"/v1/runs/{run['id']}/events") for _ in range(MOST_STREAMS)]
        replies = [each.__enter__() for each in opened]
        assert [reply.status_code for reply in replies] == [200] * MOST_STREAMS
        refused = http.get(f"/v1/runs/{run['id']}/events")
        assert error(refused, 429)["code"] == "too_many_streams" and refused.headers["retry-after"]
        with other.stream("GET", f"/v1/runs/{theirs['id']}/events") as stream:
            assert stream.status_code == 200
        for each in opened:
            each.__exit__(None, None, None)
        until = time.monotonic() + 30
        while _refused(http, run["id"]):
            assert time.monotonic() < until
        upstream.control(down=False)
        ended(http, run["id"])


def _refused(http: httpx.Client, run_id: str) -> bool:
    with http.stream("GET", f"/v1/runs/{run_id}/events") as stream:
        return stream.status_code == 429


def test_what_is_settled_can_be_read_while_the_run_goes_on(server: Server, upstream: Upstream) -> None:
    upstream.control("gpu", latency_ms=60)
    with server.http() as http:
        run = start(http, prompts=fresh(1500))
        url = f"/v1/runs/{run['id']}/results"
        until = time.monotonic() + 60
        while not (reply := http.get(url)).text:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert reply.headers["x-spillway-run-status"] == "in_progress"
        some = {row["row"]: row for row in map(json.loads, reply.text.splitlines())}
        table = pl.read_parquet(io.BytesIO(http.get(url, params={"format": "parquet"}).content))
        assert 0 < len(some) < 1500 and set(table["row"]) >= set(some)
        upstream.control("gpu", latency_ms=5)
        ended(http, run["id"])
        whole = lines(http, run["id"])
        assert len(whole) == 1500
        for number, row in some.items():
            assert (row["output"], row["custom_id"], set(row)) == (
                whole[number]["output"], whole[number]["custom_id"], set(whole[number]),
            )  # fmt: skip
    upstream.control("gpu", latency_ms=20)


def test_a_run_is_cancelled_and_failed_rows_are_asked_again(server: Server, upstream: Upstream) -> None:
    with server.http() as http:
        run = start(http, prompts=[*fresh(2), f"REFUSE thing {next(_numbers)}."])
        assert error(http.post(f"/v1/runs/{run['id']}/retry"), 409)["message"].startswith("Cannot retry")
        done = ended(http, run["id"])
        assert (done["ok"], done["failed"]) == (2, 1)
        assert error(http.post(f"/v1/runs/{run['id']}/cancel"), 409)["message"].startswith("Cannot cancel")
        upstream.control(faults=[])
        again = http.post(f"/v1/runs/{run['id']}/retry")
        assert again.status_code == 200 and again.json()["status"] == "in_progress"
        assert ended(http, run["id"])["ok"] == 3
        upstream.control(faults=[{"kind": "400", "match": "REFUSE"}])
        refused = http.post(f"/v1/runs/{run['id']}/retry")
        assert error(refused, 409) and refused.headers["x-should-retry"] == "false"
        upstream.control(latency_ms=3000)
        slow = start(http, prompts=fresh(200))
        assert http.post(f"/v1/runs/{slow['id']}/cancel").json()["status"] in ("cancelling", "cancelled")
        upstream.control(latency_ms=20)
        assert ended(http, slow["id"])["status"] == "cancelled"
        assert http.post(f"/v1/runs/{slow['id']}/cancel").json()["status"] == "cancelled"


def test_uploads_may_be_large_and_json_may_not(server: Server) -> None:
    with server.http() as http:
        big = b'{"prompts": ["' + b"x" * (17 << 20) + b'"]}'
        reply = http.post("/v1/runs", content=big, headers={"content-type": "application/json"})
        assert error(reply, 413)["code"] == "body_too_large"


def test_who_follows_does_not_keep_a_server_from_ending(tmp_path: Path) -> None:
    from producer.api.server import STOP_S

    with redis_server() as url, serving(Program(tmp_path, api={"admin_key": ADMIN}), redis_url=url) as server:
        with server.http() as http:
            run = start(http, prompts=["Name a colour."])
            with http.stream("GET", f"/v1/runs/{run['id']}/events") as stream:
                texts = stream.iter_lines()
                assert next(texts).startswith("retry:")
                began_s = time.monotonic()
                assert server.stop() == 0
                assert not [text for text in texts if text.startswith("event: end")]
        assert time.monotonic() - began_s < STOP_S


async def test_a_run_whose_source_changed_cannot_be_retried_and_says_so(here: State) -> None:
    redis, keys, at_ms = here.redis, here.keys, await now_ms(here.redis)
    with here.store.create("files/a.jsonl") as out:
        out.write(b"{}\n")
    path, run_id = here.store.path("files/a.jsonl"), intake.private_run_id(at_ms)
    await intake.register_as(
        redis, keys, here.records, run_id, client="acme", sources=(inspect(path),), options=Options(), now_ms=at_ms,
        origin="api",
    )  # fmt: skip
    await redis.hset(keys.run(run_id), mapping={"status": "completed", "failed": 1, "finished_ms": at_ms})
    with here.store.create(paths.results(run_id)) as out:
        out.write(b"")
    Path(path).write_bytes(b'{"other": 1}\n')
    with pytest.raises(ApiError) as refused:
        await retry(run_id, here, Identity("acme"))
    assert refused.value.status_code == 409 and "its source changed since it began" in refused.value.detail
    assert path not in refused.value.detail, "where it lies is nobody's business"
    assert (await runs.get(redis, keys, run_id)).ended


async def test_events_of_a_run_that_redis_has_forgotten_end_at_once(here: State) -> None:
    """In process: a stream without an end would have its reader come back every second, for ever."""
    now = RunView(run_id="20260101-000000-x", status="completed", client="acme")
    told = [event async for event in events._events(here, now, shown)]
    assert len(told) == 2 and told[1].startswith(b"event: end\ndata: ") and b'"completed"' in told[1]
