"""Nothing of one client is visible to another: every path and method of the description is walked with another's ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis.asyncio.client import Pipeline

from pipelines import wire
from producer import batches
from producer.api import chat
from producer.api.state import State
from producer.batches import Batch
from producer.queue import Redis
from producer.records import NOBODYS
from tests.producer.api.test_runs import ended, fresh, start
from tests.support_serving import ADMIN, Server, jsonl, line, make, put
from tests.support_serving import ended as batch_ended

KINDS = ("file_id", "batch_id", "run_id", "name", "completion_id", "response_id", "model")
"""Every name that a path may have in braces; a new one must be given a real object here."""
SHARED = ("/v1/models/{model}",)
"""What the configuration says, to whom it is the same."""
METHODS = {"get", "post", "put", "patch", "delete"}
CALL_MAX_S = 20.0
VERSION = {"anthropic-version": "2023-06-01"}
"""Some paths want it of everybody; to the others it says nothing."""


@pytest.fixture(scope="module")
def owned(server: Server) -> dict[str, str]:
    """One object of each kind, all of the client `owner`."""
    with server.openai("owner") as client, server.http("owner") as http:
        file = put(client, jsonl([line("a", *fresh(1))]))
        batch = batch_ended(client, make(client, file.id, metadata={"secret": "owners-own-words"}).id)
        run = ended(http, start(http, prompts=fresh(2), metadata={"secret": "owners-own-words"})["id"])
        assert batch.output_file_id and batch.status == run["status"] == "completed"
        asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": fresh(1)[0]}]}
        completion = http.post("/v1/chat/completions", json=asked).json()
        response = http.post("/v1/responses", json={"model": "gpt-4o-mini", "input": fresh(1)[0]}).json()
        for made, url in ((completion, "/v1/chat/completions"), (response, "/v1/responses")):
            assert http.get(f"{url}/{made['id']}").status_code == 200, "its owner finds it"
        requests = [{"custom_id": "a", "params": {**asked, "max_tokens": 9}}]
        messages = http.post("/v1/messages/batches", json={"requests": requests}, headers=VERSION).json()
        return {
            "file_id": batch.output_file_id, "batch_id": batch.id, "run_id": run["id"], "name": "owner",
            "completion_id": completion["id"], "response_id": response["id"], "model": "gpt-4o-mini", "messages_id": messages["id"], "input_file_id": file.id,
        }  # fmt: skip


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    with server.http(None) as http:
        found: dict[str, Any] = http.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in document["paths"].items():
        for method in sorted(METHODS & methods.keys()):
            yield method, path


def missing(real: str) -> str:
    """An id of the same form that nobody has."""
    return re.sub(r"[0-9a-zA-Z]{8}(?=(-\d+)?$)", "00000000", real) if real != "owner" else "nobody"


def filled(path: str, ids: dict[str, str]) -> str:
    named = re.findall(r"{(\w+)}", path)
    assert set(named) <= set(KINDS), f"{path}: what does a stranger see here?"
    if path.startswith("/v1/messages/"):
        ids = {**ids, "batch_id": ids["messages_id"]}
    return re.sub(r"{(\w+)}", lambda match: ids[match[1]], path)


def asked(http: httpx.Client, method: str, path: str, body: dict[str, Any] | None) -> httpx.Response:
    said = {} if body is None else {"json": body}
    return http.request(method, path, headers=VERSION, timeout=CALL_MAX_S, **said)


def bodies(path: str, ids: dict[str, str]) -> list[dict[str, Any] | None]:
    """What a POST may say that names objects."""
    return [
        None,
        {"file_id": ids["input_file_id"]},
        {"input_file_id": ids["input_file_id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    ]


def test_anothers_object_is_answered_like_one_that_does_not_exist(
    server: Server, owned: dict[str, str], document: dict[str, Any]
) -> None:
    nobodys = {kind: missing(real) for kind, real in owned.items()}
    walked = 0
    with server.http("stranger") as http:
        for method, path in operations(document):
            for body in bodies(path, owned) if "{" in path and method == "post" else [None]:
                if "{" not in path or path in SHARED:
                    continue
                real, none = (asked(http, method, filled(path, ids), body) for ids in (owned, nobodys))
                assert real.status_code == none.status_code and real.status_code in (403, 404), (method, path)
                assert same(real, owned) == same(none, nobodys), (method, path)
                walked += 1
    assert walked >= 14
    with server.openai("owner") as client, server.http("owner") as http:  # and nothing was done to them
        assert client.files.retrieve(owned["file_id"]).id and client.batches.retrieve(owned["batch_id"]).id
        assert http.get(f"/v1/runs/{owned['run_id']}").json()["status"] == "completed"
        assert client.files.retrieve(owned["input_file_id"]).id


def same(reply: httpx.Response, ids: dict[str, str]) -> tuple[Any, ...]:
    """All that a reply tells, with ids by their kind."""
    text = reply.text
    for kind, real in ids.items():
        text = text.replace(real, kind)
    headers = {name for name in reply.headers if name not in ("date", "x-request-id")}
    return text, headers


def test_no_list_and_no_object_that_is_made_tells_of_another(
    server: Server, owned: dict[str, str], document: dict[str, Any]
) -> None:
    secrets = [*(each for kind, each in owned.items() if kind not in ("name", "model")), "owners-own-words", '"owner"']
    with server.http("stranger") as http:
        for method, path in operations(document):
            if "{" in path or (method, path) == ("post", "/v1/files"):
                continue
            for body in bodies(path, owned) if method == "post" else [None]:
                reply = asked(http, method, path, body)
                echoed = json.dumps(body or {})
                told = [word for word in secrets if word in reply.text and word not in echoed]
                assert not told, (method, path, told)
        for path in ("/v1/files", "/v1/batches", "/v1/runs"):
            ids = {"/v1/files": owned["file_id"], "/v1/batches": owned["batch_id"], "/v1/runs": owned["run_id"]}
            real, none = (http.get(path, params={"after": each}) for each in (ids[path], missing(ids[path])))
            assert real.status_code == none.status_code
            assert real.text.replace(ids[path], "") == none.text.replace(missing(ids[path]), "")


@pytest.mark.parametrize("body", [{"file_id": ""}, {"input_file_id": ""}])
def test_anothers_file_is_no_input(server: Server, owned: dict[str, str], body: dict[str, str]) -> None:
    [field] = body
    rest = {} if field == "file_id" else {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with server.http("stranger") as http, server.openai("stranger") as client:
        told = []
        for file_id in (owned["input_file_id"], missing(owned["input_file_id"])):
            reply = http.post("/v1/runs" if field == "file_id" else "/v1/batches", json={field: file_id, **rest})
            if reply.status_code == 200:
                batch = batch_ended(client, reply.json()["id"])
                assert batch.errors is not None and batch.errors.data is not None
                told.append((batch.status, batch.errors.data[0].to_json().replace(file_id, "")))
            else:
                told.append((reply.status_code, reply.text.replace(file_id, "")))
        assert told[0] == told[1] and told[0][0] in (404, "failed")


def test_every_path_wants_a_key_but_health(server: Server, owned: dict[str, str], document: dict[str, Any]) -> None:
    for key in ("none", "sk-spill-" + "x" * 43):
        with server.http(None) as http:
            http.headers["authorization"] = f"Bearer {key}"
            for method, path in operations(document):
                reply = http.request(method, filled(path, owned), headers=VERSION)
                assert reply.status_code == (200 if path == "/health" else 401), (method, path)


def test_what_is_the_admins_is_nobody_elses(server: Server, owned: dict[str, str], document: dict[str, Any]) -> None:
    """The admin's own key in turn has no client and makes nothing in anybody's name."""
    admins = {path for _, path in operations(document) if path.startswith("/v1/clients")} | {
        "/metrics", "/v1/targets/{name}/check",
    }  # fmt: skip
    with server.http("stranger") as http, server.http(None) as boss:
        boss.headers["x-api-key"] = ADMIN
        for method, path in operations(document):
            if path in admins:
                assert http.request(method, filled(path, owned), json={"name": "x"}).status_code == 403, path
            elif path not in ("/health", "/v1/targets", "/v1/costs/summary"):
                assert boss.request(method, filled(path, owned), headers=VERSION).status_code == 403, path


async def test_another_clients_answer_is_looked_for_as_long_as_one_that_does_not_exist(here: State) -> None:
    """In process: the look at the disk takes the time, and it must be taken for both."""
    looked: list[str] = []

    class Counted:
        def read(self, run_id: str) -> None:
            looked.append(run_id)

    counted: Any = Counted()
    here = here._replace(records=counted)
    await here.redis.hset(here.keys.run("theirs"), mapping={"client": "owner", "origin": "inbox"})
    for run_id in ("theirs", "nobodys"):
        assert not await chat._is_theirs(here, "stranger", run_id)
    assert looked == [NOBODYS, "nobodys"] and await chat._is_theirs(here, "owner", "theirs")


async def test_anothers_batch_takes_no_more_steps_than_one_that_does_not_exist(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In process: round trips are what takes the time."""
    steps: list[int] = []
    keys = wire.Keys()
    theirs = Batch(
        id=f"batch_{'1' * 32}", client="owner", run_id="r", status="validating", endpoint="/v1/chat/completions",
        input_file_id="-", completion_window="24h", window_s=9, created_at=1, expires_at=2,
    )  # fmt: skip
    await batches.create(redis, keys, theirs)
    real = Pipeline.execute

    async def counted(self: Any, raise_on_error: bool = True) -> Any:
        steps[-1] += len(self.command_stack) > 0
        return await real(self, raise_on_error)

    monkeypatch.setattr(Pipeline, "execute", counted)
    for client, batch_id in (("stranger", theirs.id), ("stranger", f"batch_{'2' * 32}"), ("owner", theirs.id)):
        steps.append(0)
        assert (await batches.get(redis, keys, client, batch_id) is not None) == (client == "owner")
    assert steps == [1, 1, 2]
