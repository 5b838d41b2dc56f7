"""What local calls need beyond the call: Ollama's window grows with its prompts and never shrinks; patience has an end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.config.sections import Target
from pipelines.settings import parse_settings
from pipelines.types import Completion, Failure, Item, Usage
from worker.clock import Clock
from worker.drain.local import PACE_CALLS, Local
from worker.targets import Targets

OLLAMA = {"kind": "ollama", "model": "m", "base_url": "http://127.0.0.1:1/v1"}


def local(target: dict[str, Any], **state: Any) -> Local:
    settings = parse_settings({"targets": {"it": target}})
    targets = Targets(settings, Clock())
    targets.states["it"] = {"up": True, **state}
    return Local(targets, settings.targets)


def item(tokens: int, max_tokens: int = 0, words: int = 1) -> Item:
    body = {"messages": [{"role": "user", "content": "word " * words}]}
    return Item(0, json.dumps(body).encode(), tokens, max_tokens)


def size(found: Target | Failure) -> int | None:
    assert isinstance(found, Target)
    return found.context_tokens


def test_the_window_grows_in_powers_of_two_and_stays() -> None:
    it = local(OLLAMA, context_tokens=32_768)
    assert size(it.fitted("it", item(100))) == 4_096
    assert size(it.fitted("it", item(4_000, 200))) == 8_192
    assert size(it.fitted("it", item(100))) == 8_192, "another window would load the model again"
    assert size(it.fitted("it", item(40_000))) == 32_768, "our count is dear: the server may still find that it fits"
    assert it.fitted("it", item(50)) is it.fitted("it", item(60)), "one value per window"


def test_workers_start_from_what_is_loaded() -> None:
    assert size(local(OLLAMA, context_tokens=32_768, window_tokens=16_384).fitted("it", item(10))) == 16_384


def test_what_certainly_does_not_fit_is_refused() -> None:
    shown = local({**OLLAMA, "kind": "openai", "lane": "local"}, window_tokens=4_096)
    for it in (local(OLLAMA, context_tokens=4_096), local({**OLLAMA, "context_tokens": 4_096}), shown):
        refused = it.fitted("it", item(6_000, words=5_000))
        assert isinstance(refused, Failure)
        assert (refused.kind, refused.code, refused.context_tokens) == ("context", "context_overflow", 4_096)
        assert "at least 5000 tokens" in refused.message


@pytest.mark.parametrize("lane", ["local", "cloud"])
def test_whoever_gives_fewer_answers_than_were_asked_for_is_found_out(lane: str) -> None:
    it = local({"kind": "openai", "lane": lane, "model": "m", "base_url": "http://127.0.0.1:1/v1"})
    asked = Item(0, b'{"messages":[],"n":2}', 9, 0)
    one = Completion("Blue.", "stop", Usage(9, 0, 0, 2), "m")
    found = it.weigh("it", it.fitted("it", asked), asked, one, 1.0, lambda: True)  # type: ignore[arg-type]
    assert isinstance(found, Failure) and found.code == "too_few"
    two = Completion("Blue.", "stop", Usage(9, 0, 0, 4), "m", others=(one,))
    assert it.weigh("it", it.fitted("it", asked), asked, two, 1.0, lambda: True) is two  # type: ignore[arg-type]


def test_a_window_is_learned_from_a_refusal_and_forgotten_in_time() -> None:
    cloud = local({**OLLAMA, "kind": "openai", "lane": "cloud"})
    large, told = item(6_000, words=5_000), Failure("context", "c", "too long", 400, context_tokens=4_096)
    assert not isinstance(cloud.fitted("it", large), Failure), "nobody knows better"
    cloud._targets.refused("it", Failure("context", "context_overflow", "our own", context_tokens=2_000), large.body)
    cloud._targets.refused("it", Failure("invalid", "other", "no window", 400), large.body)
    cloud._targets.refused("it", told, b'{"messages": "what does n_ctx: 4096 mean?"}')
    assert not isinstance(cloud.fitted("it", large), Failure)
    cloud._targets.refused("it", told, large.body)
    refused = cloud.fitted("it", large)
    assert isinstance(refused, Failure)
    assert (refused.kind, refused.context_tokens, refused.http_status) == ("context", 4_096, None)
    assert not isinstance(cloud.fitted("it", item(6_000, words=3_000)), Failure), "our count is dear: that is no proof"
    state = cloud._targets.states["it"]
    assert state["refused_until_ms"] > cloud._targets.clock.now_ms()
    state["refused_until_ms"] = cloud._targets.clock.now_ms()
    assert not isinstance(cloud.fitted("it", large), Failure)
    cloud._targets.refused("it", told, large.body)
    cloud._targets.say("it", {"window_tokens": 32_768})
    assert cloud._targets.refused_tokens("it") is None, "the server says that it was loaded anew"


def test_the_configured_window_of_a_cloud_target_saves_a_call() -> None:
    cloud = local({**OLLAMA, "kind": "openai", "lane": "cloud", "context_tokens": 4_096})
    assert isinstance(cloud.fitted("it", item(6_000, words=5_000)), Failure)


def test_other_servers_are_asked_as_configured() -> None:
    it = local({**OLLAMA, "kind": "lmstudio"})
    assert size(it.fitted("it", item(9_000))) is None


def test_patience_follows_the_pace_where_the_row_limits_its_answer() -> None:
    it = local({**OLLAMA, "kind": "vllm", "timeout_s": 600})
    target = it.fitted("it", item(10))
    assert isinstance(target, Target)
    assert it.patience_s("it", item(100, 20)) == 600
    for _ in range(PACE_CALLS):
        answer = Completion("a", "stop", Usage(100, 0, 0, 10, 0), "m")
        assert it.weigh("it", target, item(100), answer, 0.4, lambda: False) is answer
    assert it.patience_s("it", item(100, 20)) == 75
    assert it.patience_s("it", item(100, 4_000)) == 600
    assert it.patience_s("it", item(100)) == 600, "nobody knows how long an answer without a limit may get"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure("unknown", "timeout", "gpu did not answer within 3 s"), "stalled"),
        (Failure("overload", "unavailable_error", "HTTP 503: Loading model", 503), "model_loading"),
        (Failure("overload", "http_503", "HTTP 503: model is loading, please wait", 503), "model_loading"),
        (Failure("overload", "http_503", "HTTP 503: too many requests", 503), "http_503"),
        (Failure("invalid", "http_404", "HTTP 404: failed to load model", 404), "http_404"),
    ],
)
def test_a_servers_trouble_has_a_name(failure: Failure, code: str) -> None:
    it = local({**OLLAMA, "kind": "vllm"})
    target = it.fitted("it", item(10))
    assert isinstance(target, Target)
    heard = it.weigh("it", target, item(10), failure, 1.0, lambda: True)
    assert isinstance(heard, Failure)
    assert (heard.kind, heard.code) == (failure.kind, code)


def test_cloud_answers_are_not_weighed() -> None:
    settings = parse_settings({"targets": {"it": {**OLLAMA, "kind": "openai", "lane": "cloud"}}})
    it = Local(Targets(settings, Clock()), settings.targets)
    answer = Completion("", "length", Usage(1, 0, 0, 0, 0), "another")
    assert it.weigh("it", settings.targets["it"], item(9_000, words=9_000), answer, 1.0, lambda: True) is answer
