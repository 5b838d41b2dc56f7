"""What every adapter must do, whatever its provider's wire format: subclassed once per provider.

A subclass gives documented bodies of its provider; the tests send them through real sockets, tear them and bend them.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.config.sections import Target
from pipelines.types import Completion, Failure, Usage
from tests.worker.backends.server import CLOSE, RESET, Play, Scripted, answer
from worker.backends import load
from worker.backends.exchange import Response
from worker.backends.hot import Hot

ROW: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Answer with one word."},
        {"role": "user", "content": "Which colour has the sky?"},
    ],
    "temperature": 0.5,
    "max_tokens": 16,
}
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}
PNG = "iVBORw0KGgo="


def asked(number: int, name: str = "look") -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps({"n": number})}
    return {"id": f"call_{number}", "type": "function", "function": function}


CONVERSATION: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "content": [
            {"type": "text", "text": "Compare these."},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        ]},
        {"role": "assistant", "content": "Looking.", "refusal": None, "tool_calls": [asked(1), asked(2)]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "a dog"}]},
        {"role": "assistant", "content": None, "tool_calls": [asked(3, "wait")]},
        {"role": "tool", "tool_call_id": "call_3", "content": "{\"waited_s\": 3}"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "They differ."},
        {"role": "user", "content": "In which colour?"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {
            "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}},
        {"type": "function", "function": {"name": "wait", "parameters": {"type": "object", "properties": {}}}},
    ],
    "tool_choice": "auto", "temperature": 0.5, "max_tokens": 16, "stop": ["END"], "top_p": 0.9,
}  # fmt: skip
"""Two system messages, images by address and in place, several tool calls at once, each with its result."""
KEY = "sk-very-secret-key"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
STATUS_KINDS = {
    400: "invalid", 401: "auth", 402: "funds", 404: "invalid", 408: "overload", 409: "overload", 498: "overload", 499: "transient", 525: "overload", 530: "overload", 413: "invalid",
    422: "invalid", 424: "transient", 429: "rate", 500: "transient", 501: "invalid", 502: "transient", 503: "overload", 504: "transient",
    524: "transient", 529: "overload",
}  # fmt: skip


def raw(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    if at:
        yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from paths(inner, (*at, key))


def bent(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at one place."""
    twin = copy.deepcopy(value)
    inner = twin
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = new
    return twin


class BackendContract:
    """The suite; `kind` and the samples come from the subclass."""

    kind: ClassVar[str]
    base_path: ClassVar[str] = "/v1"
    lane: ClassVar[str] = "cloud"
    path: ClassVar[str]  # where the call must go, below base_path or not
    usage: ClassVar[Usage]  # what `good` reports
    good: ClassVar[dict[str, Any]]  # says "Blue." and stops
    plain_error: ClassVar[dict[str, Any]]  # a documented error body, of no special meaning
    finishes: ClassVar[dict[str, str]]  # raw reason → ours
    broken: ClassVar[tuple[str, ...]] = ()  # raw reasons that say that the provider gave up
    empty: ClassVar[dict[str, Any]]  # a 200 that says nothing and counts nothing
    overflow: ClassVar[tuple[dict[str, Any], int | None]]  # a 400 that names the window
    cannot: ClassVar[dict[str, dict[str, Any]]] = {}  # parameter named in the refusal → what a row adds
    conversation: ClassVar[dict[str, Any]] = CONVERSATION
    more: ClassVar[dict[str, Any]] = {}  # of a target

    def finished(self, reason: str) -> dict[str, Any]:
        """`good` with another finish reason."""
        raise NotImplementedError

    def silent(self, body: dict[str, Any]) -> dict[str, Any]:
        """The same body without text."""
        raise NotImplementedError

    def check_request(self, body: dict[str, Any]) -> None:
        """Fails when the provider's own types would not take the request."""

    # -- helpers -------------------------------------------------------------------------------------------------------

    def target(self, url: str = "http://127.0.0.1:9", **more: Any) -> Target:
        given = {"kind": self.kind, "lane": self.lane, "model": "some-model", "base_url": url + self.base_path}
        return Target(**{**given, "api_key": KEY, "timeout_s": 5.0, **self.more, **more})

    def parse(self, body: Any, status: int = 200, **headers: str) -> Completion | Failure:
        content = body if isinstance(body, bytes) else raw(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return load(self.kind).parse(self.target(), Response(status, names, content))

    def failure(self, body: Any, status: int = 200, **headers: str) -> Failure:
        outcome = self.parse(body, status, **headers)
        assert isinstance(outcome, Failure)
        assert outcome.message
        assert "\n" not in outcome.message
        assert len(outcome.message) < 700
        return outcome

    def sent(self, row: dict[str, Any], schema: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        request = load(self.kind).request(self.target(**more), raw(row), schema=schema)
        assert not isinstance(request, Failure), request
        body = json.loads(request[2])
        assert not body.get("stream")
        self.check_request(body)
        return dict(body)

    async def call(self, *plays: Play, timeout_s: float = 5.0) -> tuple[Completion | Failure, Scripted]:
        hot = Hot()
        async with Scripted(*plays) as server:
            target = self.target(server.url)
            request = load(self.kind).request(target, raw(ROW))
            assert not isinstance(request, Failure)
            response = await hot.post(*request, timeout_s)
            await hot.close()
        return response if isinstance(response, Failure) else load(self.kind).parse(target, response), server

    # -- a call, over the wire -----------------------------------------------------------------------------------------

    async def test_a_question_is_answered(self) -> None:
        outcome, server = await self.call(answer(200, self.good))
        assert isinstance(outcome, Completion)
        assert (outcome.text, outcome.finish, outcome.tool_calls) == ("Blue.", "stop", False)
        assert outcome.usage == self.usage
        (request,) = server.requests
        assert request.path == self.path
        assert any(KEY in value for value in request.headers.values())
        assert KEY.encode() not in request.body
        assert request.headers["content-type"] == "application/json"
        self.check_request(request.json)

    @pytest.mark.parametrize("play", [[CLOSE], [RESET], [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", CLOSE]])
    async def test_a_lost_answer_is_unknown(self, play: Play) -> None:
        outcome, _ = await self.call(play)
        assert isinstance(outcome, Failure)
        assert outcome.kind == "unknown"

    async def test_a_slow_drip_ends_at_the_timeout(self) -> None:
        drip = [step for _ in range(100) for step in (b" ", 0.05)]
        outcome, _ = await self.call([b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n", *drip], timeout_s=1.0)
        assert isinstance(outcome, Failure)
        assert (outcome.kind, outcome.code) == ("unknown", "timeout")

    # -- what answers mean ---------------------------------------------------------------------------------------------

    def test_finish_reasons(self) -> None:
        for reason, ours in self.finishes.items():
            outcome = self.parse(self.finished(reason))
            assert isinstance(outcome, Completion), reason
            assert outcome.finish == ours, reason

    def test_an_unknown_finish_reason_is_kept(self) -> None:
        outcome = self.parse(self.finished("brand_new"))
        assert isinstance(outcome, Completion)
        assert outcome.finish == "error:brand_new"
        assert outcome.text == "Blue."

    def test_an_empty_answer_is_none(self) -> None:
        failure = self.failure(self.empty)
        assert (failure.kind, failure.code, failure.http_status) == ("unknown", "empty_answer", 200)

    def test_statuses(self) -> None:
        for status, kind in STATUS_KINDS.items():
            failure = self.failure(self.plain_error, status)
            assert (failure.kind, failure.http_status) == (kind, status)

    @pytest.mark.parametrize("body", [b"", b"<html><body>Bad gateway</body></html>", b"\xff\xfe", b"[1,2", b"null"])
    def test_statuses_without_an_error_body(self, body: bytes) -> None:
        for status, kind in STATUS_KINDS.items():
            failure = self.failure(body, status)
            assert failure.kind == ("transient" if status == 404 else kind), "nobody is there to find nothing"
            assert str(status) in failure.message
            assert (failure.code == "wrong_address") == (status == 404)

    @pytest.mark.parametrize(
        "body",
        [{"detail": "Not Found"}, {"error": "Not found."}, {"error": {"message": "File Not Found", "code": 404}},
         {"error": {"message": "Unknown request URL: POST /v1/v1/chat/completions. Please check the URL for typos."}},
         {"error": {"message": "Invalid URL (POST /v1/v1/chat/completions)", "type": "invalid_request_error"}}],
    )  # fmt: skip
    def test_an_address_that_a_server_does_not_have_is_the_targets_trouble(self, body: Any) -> None:
        """Rows were failed for it one by one."""
        for status in (404, 405):
            failure = self.failure(body, status)
            assert (failure.kind, failure.code, failure.http_status) == ("transient", "wrong_address", status)
            assert failure.message.endswith("is base_url right?")
        assert self.failure({"error": {"message": "Not found: file-1", "code": 404}}, 404).kind == "invalid"

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_names_where_to(self, status: int) -> None:
        failure = self.failure(b"", status, location="https://elsewhere.example/v1")
        assert (failure.kind, failure.code) == ("transient", "redirect"), "the target's trouble, not its rows'"
        assert "https://elsewhere.example/v1" in failure.message

    @pytest.mark.parametrize("status", [429, 503, 500])
    def test_waits_are_read(self, status: int) -> None:
        assert self.failure(self.plain_error, status, retry_after="7").retry_after_s == 7.0
        assert self.failure(self.plain_error, status).retry_after_s is None

    def test_html_is_a_wrong_address(self) -> None:
        failure = self.failure(b"<!DOCTYPE html><title>Welcome</title>", 200, content_type="text/html; charset=utf-8")
        assert (failure.kind, failure.code) == ("invalid", "not_json")
        assert "text/html" in failure.message
        assert "base_url" in failure.message

    @pytest.mark.parametrize("body", [b"", b"{", b"plain words", b'"text"', b"[]", b"null", b"\xff\xfe{}"])
    def test_a_torn_answer_may_be_paid(self, body: bytes) -> None:
        failure = self.failure(body)
        assert failure.kind == "unknown"

    def test_an_overflow_names_the_window(self) -> None:
        body, window = self.overflow
        failure = self.failure(body, 400)
        assert (failure.kind, failure.context_tokens) == ("context", window)

    def test_the_key_is_never_told(self) -> None:
        body = json.loads(json.dumps(self.plain_error).replace("Something", f"Something {KEY}"))
        assert KEY in json.dumps(body)
        assert KEY not in self.failure(body, 401).message

    # -- nonsense ------------------------------------------------------------------------------------------------------

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data())
    def test_a_bent_answer_never_raises_and_never_counts_wrong(self, data: st.DataObject) -> None:
        for body in (self.good, self.plain_error):
            at = data.draw(st.sampled_from(list(paths(body))))
            outcome = self.parse(bent(body, at, data.draw(JSON)), data.draw(st.sampled_from([200, 200, 400, 429, 500])))
            assert isinstance(outcome, Completion | Failure)
            if isinstance(outcome, Completion):
                usage = outcome.usage
                counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.cache_write_tokens)
                assert all(type(count) is int and 0 <= count <= 4_000_000_000 for count in counts)
                assert usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
                assert 0 <= usage.reasoning_tokens <= usage.output_tokens
                assert type(outcome.text) is str

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(body=JSON, status=st.sampled_from([200, 400, 403, 429, 500]))
    def test_any_json_is_an_outcome(self, body: Any, status: int) -> None:
        assert isinstance(self.parse(raw(body), status), Completion | Failure)

    def test_deep_nesting_is_an_outcome(self) -> None:
        self.failure(b'{"error":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 200)
        self.failure(b"[" * 100_000, 400)

    # -- asking --------------------------------------------------------------------------------------------------------

    def test_a_schema_is_asked_for_where_the_target_can(self) -> None:
        assert "colour" in json.dumps(
            {k: v for k, v in self.sent(ROW, SCHEMA).items() if k not in ("messages", "contents")}
        )
        assert "additionalProperties" not in json.dumps(self.sent(ROW, SCHEMA, structured_output=False))

    def test_a_rows_own_format_wins_over_the_runs_schema(self) -> None:
        own = {"type": "json_schema", "json_schema": {"name": "mine", "schema": {**SCHEMA, "title": "mine"}}}
        sent = json.dumps(self.sent({**ROW, "response_format": own}, SCHEMA))
        assert '"title": "mine"' in sent
        assert sent.count("additionalProperties") == 1

    def test_a_broken_off_answer_that_says_nothing_is_none(self) -> None:
        """Its tokens were used all the same; an answer without text would be published as good."""
        silent = self.silent(self.finished("brand_new"))
        failure = self.failure(silent)
        assert (failure.kind, failure.code, failure.usage) == ("unknown", "finish_error", self.usage)
        assert "brand_new" in failure.message

    def test_what_the_provider_gave_up_is_no_answer_whatever_was_said_till_then(self) -> None:
        for reason in self.broken:
            failure = self.failure(self.finished(reason))
            assert (failure.kind, failure.code, failure.usage) == ("unknown", "finish_error", self.usage)
            assert reason in failure.message

    def test_an_answer_that_only_thought_goes_on_at_once(self) -> None:
        """What it used is known, and the same target would think the same again."""
        failure = self.failure(self.silent(self.good))
        assert (failure.kind, failure.code, failure.usage) == ("untrue", "empty_answer", self.usage)

    def test_a_whole_conversation_arrives_in_a_shape_that_the_provider_takes(self) -> None:
        sent = json.dumps(self.sent(self.conversation))
        pieces = ("Be brief.", "Be kind.", "Compare these.", "Looking.", "a cat", "a dog", "waited_s", "And?")
        at = [sent.index(piece) for piece in (*pieces, "They differ.", "In which colour?")]
        assert at[2:] == sorted(at[2:]), "in the order in which it was said"
        assert sent.count(PNG) == 1
        assert sent.count("https://example.com/cat.png") == ("example.com" in json.dumps(self.conversation))
        assert sent.count('"look"') >= 3, "called twice, and defined"

    def test_stream_is_never_sent(self) -> None:
        row = {**ROW, "stream": True, "stream_options": {"include_usage": True}}
        assert "stream_options" not in self.sent(row)

    def test_a_paid_call_always_has_a_limit(self) -> None:
        """The budget reserves the worst case, so there must be one."""
        row = {"messages": ROW["messages"]}
        assert "333" in json.dumps(self.sent(row, lane="cloud", max_output_tokens=333))
        assert "333" not in json.dumps(self.sent({**row, "max_tokens": 21}, lane="cloud", max_output_tokens=333))
        assert "21" in json.dumps(self.sent({**row, "max_completion_tokens": 21}, lane="cloud", max_output_tokens=333))

    def test_what_cannot_be_done_is_refused_by_name(self) -> None:
        for name, more in self.cannot.items():
            request = load(self.kind).request(self.target(), raw({**ROW, **more}))
            assert isinstance(request, Failure), name
            assert (request.kind, request.code, request.http_status) == ("invalid", "unsupported_parameter", None)
            assert name in request.message
            assert self.kind in request.message

    def test_a_refusal_is_one_short_line_whatever_the_row_calls_its_parameters(self) -> None:
        request = load(self.kind).request(self.target(), raw({**ROW, "a\nb\x1b[31m" + "c" * 5000: 1}))
        if isinstance(request, Failure):
            assert len(request.message) < 400
            assert not {"\n", "\x1b"} & set(request.message)

    def test_what_a_row_leaves_empty_is_no_reason_to_refuse(self) -> None:
        names = (
            "seed",
            "n",
            "logprobs",
            "logit_bias",
            "service_tier",
            "user",
            *(("brand_new",) if self.cannot else ()),
        )
        self.sent({**ROW, **dict.fromkeys(names)})

    def test_parameters_that_ask_for_nothing_are_no_reason_to_refuse(self) -> None:
        self.sent({**ROW, "n": 1, "logprobs": False, "logit_bias": {}, "presence_penalty": 0, "tool_choice": "auto"})

    def test_the_text_arrives_unchanged(self) -> None:
        words = 'Ünïcode 漢字 🙂 "quotes" \\ back\nnew\u2028line \x01 max_tokens "stream": true'
        row = {**ROW, "messages": [{"role": "user", "content": words}]}
        assert json.dumps(words, ensure_ascii=False) in json.dumps(self.sent(row), ensure_ascii=False)
