"""Batch APIs that answer garbage, or something else than was asked: a value comes of it, never an exception, never a wrong batch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from anthropic.types.messages import batch_create_params as anthropic_params
from openai.types import batch_create_params as openai_params

from pipelines.config.sections import BATCH_APIS
from pipelines.settings import parse_settings
from pipelines.types import Failure
from tests.worker.backends.sdk import accepts
from worker.backends.batching import Line, NotRun, Remote, Results, Sought, load
from worker.backends.exchange import Response
from worker.backends.openai_batches import form
from worker.simulator.core.multipart import read_parts

KINDS = sorted(set(BATCH_APIS) - {"simulator"})
TAG = "sw-0123456789abcdef0123"
SOUGHT = Sought(TAG, 2, 1_700_000_000.0, frozenset({"known"}), set())
LINES = [Line(f"{TAG}-0-{row}", "http://127.0.0.1:1/v1/chat/completions", b"{}") for row in range(2)]
GARBAGE = [
    b"", b"<html>", b"null", b"[]", b"7", b"{}", b"[1]", b'"x"', b"\xff\xfe", b"{" * 5_000, b'{"id":7}', b'{"id":"../../x"}',
    b'{"id":"b","status":[]}', b'{"id":"b","status":"dancing"}', b'{"name":"batches/b","metadata":[]}', b'{"data":7}',
    b'{"data":[7,null,{}]}', b'{"operations":[{"metadata":3}],"nextPageToken":{}}', b'{"results":"none"}',
    b'{"id":"b","processing_status":"ended","request_counts":7}', b'{"error":{"message":"no","code":"x"}}',
]  # fmt: skip


class Web:
    """Says the same to everything."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.reply, self.asked = Response(status, headers or {}, body), list[str]()

    async def get(self, url: str, *_: Any, **__: Any) -> Response:
        self.asked.append(url)
        return self.reply

    async def post(self, url: str, *_: Any, **__: Any) -> Response:
        return await self.get(url)


def api_of(kind: str) -> tuple[Any, Any]:
    base = {"gemini": "http://127.0.0.1:1/v1beta"}.get(kind, "http://127.0.0.1:1/v1")
    target = {"kind": kind, "model": "m", "base_url": base, "api_key": "k", "provider_batch": True}
    return load(kind), parse_settings({"targets": {"it": target}}).targets["it"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("status", [200, 500])
async def test_garbage_is_a_failure_or_nothing(kind: str, body: bytes, status: int) -> None:
    api, target = api_of(kind)
    web = Web(body, status)
    for said in (await api.create(web, target, b"{}"), await api.look(web, target, "b")):
        assert isinstance(said, Failure) or (isinstance(said, Remote) and said.id == "b")
    found = await api.find(web, target, SOUGHT)
    assert found is None or isinstance(found, Failure), "no batch is taken for ours that does not say so"
    results = await api.results(web, target, Remote("b", "ended", handles=("f",)))
    assert isinstance(results, Failure) or not [line for line in results.lines if line.custom_id.startswith(TAG)]
    staged = await api.stage(web, target, TAG, LINES)
    assert isinstance(staged, Failure | bytes)
    assert all(".." not in url for url in web.asked)


@pytest.mark.parametrize("kind", KINDS)
async def test_one_broken_line_costs_only_itself(kind: str) -> None:
    api, target = api_of(kind)
    good: dict[str, Any] = {
        "openai": {"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}, "error": None},
        "anthropic": {"custom_id": "a", "result": {"type": "succeeded", "message": {"x": 1}}},
        "gemini": {"key": "a", "response": {"x": 1}},
        "openrouter": {"custom_id": "a", "response": {"status_code": 200, "body": {"x": 1}}},
    }
    undone: dict[str, Any] = {
        "openai": {"custom_id": "b", "response": None, "error": {"code": "batch_expired", "message": "late"}},
        "anthropic": {"custom_id": "b", "result": {"type": "expired"}},
        "gemini": {"key": "b", "error": {"code": 4, "message": "late"}},
    }
    rows = [good[kind], *([undone[kind]] if kind in undone else [])]
    lines = b"\n".join(
        [json.dumps(rows[0]).encode(), b'{"custom_id": "c", "resp', b"\xff", b"[]", json.dumps(rows[-1]).encode()]
    )
    body = json.dumps({"id": "b", "status": "completed", "results": [*rows, 7, {"no": "id"}]}).encode()
    results = await api.results(
        Web(body if kind == "openrouter" else lines), target, Remote("b", "ended", handles=("f",))
    )
    assert isinstance(results, Results) and results.unreadable == (2 if kind == "openrouter" else 3)
    said = dict(results.lines)
    assert isinstance(said["a"], Response) and json.loads(said["a"].body) == {"x": 1}
    assert kind not in undone or isinstance(said["b"], NotRun)


async def test_the_key_goes_to_no_other_server() -> None:
    api, target = api_of("gemini")
    web = Web(b"{}", headers={"x-goog-upload-url": "http://127.0.0.2:9/take"})
    assert isinstance(await api.stage(web, target, TAG, LINES), Failure)
    assert len(web.asked) == 1


@pytest.mark.parametrize("names", [("theirs", "known", "mine"), ("theirs",), ("mine",)])
async def test_of_those_that_may_be_ours_only_one_that_says_so_is_taken(names: tuple[str, ...]) -> None:
    """Anthropic and OpenRouter keep no tag: batches of the same size at the same time are told apart by their lines, which are
    seen when they have ended; until then somebody else's must not be cancelled."""
    api, target = api_of("openrouter")
    made = {"created_at": 1_700_000_001, "request_counts": {"total": 2}, "model": "m"}

    class Two(Web):
        async def get(self, url: str, *_: Any, **__: Any) -> Response:
            identity = url.rpartition("/")[2]
            results = [
                {"custom_id": f"{TAG if identity == 'mine' else 'x'}-0-0", "response": {"status_code": 200, "body": {}}}
            ]
            one = {"id": identity, "status": state, "results": results}
            listed = {"data": [{"id": name, "status": state, **made} for name in names]}
            return Response(200, {}, json.dumps(listed if "?" in url else one).encode())

    state = "in_progress"
    sought = SOUGHT._replace(ruled_out=set())
    assert isinstance(await api.find(Two(b""), target, sought), Failure), "nobody can say yet"
    state = "completed"
    found = await api.find(Two(b""), target, sought)
    assert found is None if "mine" not in names else isinstance(found, Remote) and found.id == "mine"
    assert sought.ruled_out == {"theirs"} & set(names), "its results are read once"


async def test_the_providers_own_clients_know_what_we_send() -> None:
    api, target = api_of("openai")
    staged = await api.stage(Web(b'{"id":"file-1"}'), target, TAG, LINES)
    accepts(openai_params.BatchCreateParams, json.loads(staged))
    api, target = api_of("anthropic")
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    staged = await api.stage(Web(b""), target, TAG, [line._replace(body=json.dumps(body).encode()) for line in LINES])
    accepts(anthropic_params.BatchCreateParams, json.loads(staged))
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each["custom_id"]) for each in json.loads(staged)["requests"])


async def test_an_upload_is_read_back_as_it_was_by_who_reads_forms() -> None:
    kind, body = form(TAG, b'{"custom_id":"a"}\n')
    parts = read_parts(kind, body)
    assert (parts["purpose"].data, parts["file"].filename) == (b"batch", f"{TAG}.jsonl")
    assert parts["file"].data == b'{"custom_id":"a"}\n'
