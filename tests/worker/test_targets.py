"""What a process learns of its targets from answers, beside what tests/worker/schedule and drain show: their rate limits."""

from __future__ import annotations

import math
from typing import Any

from pipelines.settings import parse_settings
from pipelines.types import BatchHead
from worker.clock import Clock
from worker.targets import LIMITS_MS, STEADY_MS, Targets

HEAD = BatchHead("r.0.0.0", "r", "all", 0, 10, 5_000, 1_000, 1.0, 1, 1)
"""Ten rows of 500 tokens that get 100 each and name no limit."""
OPENAI, CEREBRAS = {"kind": "openai", "base_url": "https://models.test/v1"}, {"kind": "cerebras"}


class Times(Clock):
    def __init__(self) -> None:
        self.ms = 10**12

    def now_ms(self) -> int:
        return self.ms


def targets(of: dict[str, Any] = OPENAI, **more: Any) -> tuple[Targets, Times]:
    clock = Times()
    it = {"model": "m", "api_key": "k", "input_usd_per_mtok": 1, "output_usd_per_mtok": 1, **of, **more}
    settings = {"targets": {"it": it, "gpu": {"kind": "vllm", "model": "m"}}, "routes": {"all": {"targets": ["it"]}}}
    return Targets(parse_settings(settings), clock), clock


def said(requests: int | None, tokens: int | None = None, window: str = "") -> dict[str, str]:
    told = {"requests": requests, f"tokens{window}": tokens}
    return {
        f"x-ratelimit-{word}-{what}": value
        for what, limit in told.items()
        if limit
        for word, value in (("limit", str(limit)), ("remaining", str(limit // 2)), ("reset", "30s"))
    }


def test_limits_that_nobody_configured_are_those_that_answers_name() -> None:
    it, _ = targets()
    assert (it.calls_per_s("it"), it.limits_s("it", HEAD), it.counts_tokens("it")) == (math.inf, 0.0, False)
    it.told("it", said(60, 6_000))
    assert (it.calls_per_s("it"), it.limits_s("it", HEAD)) == (1.0, 60.0), "6,000 tokens, likely"
    assert it.states["it"]["told_rpm"] == 60


def test_no_configured_limit_is_looser_for_it() -> None:
    for more, told, calls_per_s in (
        ({"rpm": 30}, 60, 0.5),
        ({"rpm": 120}, 60, 1.0),
        ({"rpm": 30, "tpm": 10**9}, None, 0.5),
    ):
        it, _ = targets(**more)
        it.told("it", said(told, 10**6))
        assert it.calls_per_s("it") == calls_per_s
    it, _ = targets(tpm=45_960)
    it.told("it", said(None, 10**9))
    assert it.tokens_s("it", HEAD, 1_000) == 60.0, "each may write 4,096"


def test_what_an_answer_may_be_is_counted_where_the_vendor_is_known_to() -> None:
    """Elsewhere a limit that is taken for less than it is would keep from the target what it could do."""
    for of, window, seconds in ((OPENAI, "", 6.0), (CEREBRAS, "-minute", 45.96), ({"kind": "openai"}, "", 45.96)):
        it, _ = targets(of)
        it.told("it", said(None, 60_000, window))
        assert it.tokens_s("it", HEAD, 1_000) == seconds, of


def test_it_is_looked_at_once_a_second_and_said_when_it_is_news() -> None:
    it, clock = targets()
    it.told("it", {})  # as most refusals say nothing
    it.told("it", said(60))
    it.told("it", said(90))
    assert it.calls_per_s("it") == 1.0
    clock.ms += 1_000
    it.told("it", said(90))
    assert it.calls_per_s("it") == 1.5, "the account was raised"
    first_ms = it.states["it"]["told_limits_ms"]
    for later_ms, news in ((60_000, False), (2 * 24 * 3_600_000, True)):
        clock.ms += later_ms
        it.told("it", said(90))
        assert (it.states["it"]["told_limits_ms"] > first_ms) == news, "and once a day, so that it holds"
    it.told("gpu", said(60))
    assert "gpu" not in it.states


def test_it_is_over_after_a_while_and_with_another_model() -> None:
    it, clock = targets()
    it.told("it", said(60))
    it.states["it"]["paused_ms"] = clock.ms
    assert it.is_throttled("it")
    other, _ = targets(model="n")
    other.states = it.states
    assert other.calls_per_s("it") == math.inf
    clock.ms += LIMITS_MS
    assert (it.calls_per_s("it"), it.is_throttled("it")) == (math.inf, False)


def test_calls_keep_to_what_answers_named_for_a_while_after_a_429() -> None:
    """Not before one: many an account admits the calls of a minute at once."""
    it, clock = targets(rpm=90)
    it.told("it", said(60))
    assert it.steady_rpm("it") == 0
    it.states["it"]["paused_ms"] = clock.ms + 5_000
    assert (it.steady_rpm("it"), it.steady_rpm("gpu")) == (60, 0)
    clock.ms += 5_000 + STEADY_MS
    assert it.steady_rpm("it") == 0
