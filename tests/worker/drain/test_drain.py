"""One call and what is noted of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from pipelines.pace import Answered, Pace
from pipelines.settings import parse_settings
from pipelines.types import BatchHead, Completion, Failure, Item, Usage
from pipelines.wire import Keys
from worker.backends.exchange import Response
from worker.context import Context, RunContext
from worker.drain import claims
from worker.drain.drain import Drain
from worker.drain.rates import Rates
from worker.drain.running import Prompt, Running
from worker.drain.standing import DOWN_AFTER
from worker.money.ledger import Ledger

PRICES = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
SETTINGS = parse_settings({
    "targets": {"it": {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key": "k", **PRICES}},
    "routes": {"all": {"targets": ["it"]}},
})  # fmt: skip
BODY = b'{"messages":[{"role":"user","content":"Hi."}],"max_tokens":9}'
ANSWER = msgspec.json.encode({
    "model": "m", "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
})  # fmt: skip


NOBODY: Any = None
"""Redis, or the network, that a test never asks."""
OUTAGE = Failure("transient", "server_error", "HTTP 500: out of order", 500)


class Noted:
    """A journal that admits everything."""

    def __init__(self) -> None:
        self.intents: list[Any] = []
        self.entries: list[Any] = []

    async def intent(self, _holding: Any, _scopes: Any, intent: Any) -> bool:
        self.intents.append(intent)
        return True

    def append(self, _holding: Any, _scopes: Any, entries: Any, *_money: int) -> None:
        self.entries += entries


def drain_of(context: Context, post: Any) -> tuple[Drain, Prompt, Any]:
    """A process with one prompt for the target, and what its journal notes."""
    hot: Any = SimpleNamespace(post=post)
    noted: Any = Noted()
    drain = Drain(context, Ledger(SETTINGS, context.targets), hot, context.clock)
    drain.journal = noted
    head = BatchHead("r.0.0.1", "r", "all", 0, 1, 5, 9, 1.0, 0, 1)
    batch: Any = Running(head, 1, "cloud", "any", RunContext("r", {}, SETTINGS), noted)
    prompt = Prompt(batch, Item(0, BODY, 5, 9), 0, set())
    prompt.target = "it"
    return drain, prompt, noted


@pytest.mark.parametrize("earlier", range(DOWN_AFTER))
async def test_a_prompt_is_not_given_up_for_an_outage_that_its_own_last_try_finds(earlier: int) -> None:
    """However many others failed before it: the last two rows of a run were given up when theirs was the failure that opens."""

    async def post(*_told: Any, **_more: Any) -> Response:
        return Response(500, {}, b'{"error": {"message": "out of order", "code": "server_error"}}')

    context = Context(SETTINGS, NOBODY, "")
    drain, prompt, _ = drain_of(context, post)
    for _ in range(earlier):
        drain.standing.unhealthy("it", OUTAGE)
    for _ in range(SETTINGS.targets["it"].max_paid_attempts):
        assert not prompt.given_up
        await drain._attempt(prompt)
        assert drain.lanes["it"].in_use == 0
    assert prompt.paid["it"] == SETTINGS.targets["it"].max_paid_attempts and not prompt.given_up
    assert not drain.lanes["it"].up


MANY = parse_settings({
    "targets": {
        name: {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key": "k", **PRICES, **more}
        for name, more in {
            "small": {"tpm": 10}, "less": {"tpm": 13}, "large": {"tpm": 14}, "huge": {},
            "claude": {"kind": "anthropic"},
            "gpu": {"lane": "local", "kind": "ollama", "input_usd_per_mtok": None, "output_usd_per_mtok": None},
        }.items()
    },
    "routes": {"told": {"targets": ["gpu", "claude"]}, "fits": {"targets": ["small", "less", "large"]}, "roomy": {"targets": ["large", "huge"]}, "all": {"targets": ["small", "less"]},
               "both": {"targets": ["gpu", "small"]}},
})  # fmt: skip


def routed(route: str, lane: str, body: bytes = BODY, max_tokens: int = 9) -> tuple[Drain, Prompt, Any]:
    """A prompt of 14 tokens on a lane of a route of MANY; nobody is asked."""
    context = Context(MANY, NOBODY, "")
    drain, noted = Drain(context, Ledger(MANY, context.targets), NOBODY, context.clock), Noted()
    head = BatchHead("r.0.0.1", "r", route, 0, 1, 5, 9, 1.0, 0, 1)
    batch: Any = Running(head, 1, lane, "any", RunContext("r", {}, MANY), noted)  # type: ignore[arg-type]
    batch.open = 1
    return drain, Prompt(batch, Item(0, body, 5, max_tokens), 0, set()), noted


async def test_a_prompt_that_no_minute_of_a_target_has_room_for_goes_on_to_the_next() -> None:
    drain, prompt, noted = routed("fits", "cloud")
    drain._route(prompt)
    assert prompt.target == "large" and list(drain.lanes["large"].ready) == [prompt]
    assert prompt.given_up == {"small", "less"} and not noted.entries


async def test_a_batch_is_asked_of_the_target_it_was_rung_to_and_else_of_the_first() -> None:
    """Plan gives the second what the first cannot do in time; the first was asked all the same."""
    for rung, asked in (("huge", "huge"), ("", "large"), ("gone", "large")):
        drain, prompt, _ = routed("roomy", "cloud")
        prompt.batch.target = rung
        drain._route(prompt)
        assert prompt.target == asked
        prompt.given_up.add("huge")
        drain._route(prompt)
        assert prompt.target == "large"


async def test_a_row_without_a_limit_needs_room_for_the_one_that_is_sent_for_it() -> None:
    """Providers take the whole limit from the minute; 256 tokens were taken for it here, and the rest was 429."""
    drain, prompt, noted = routed("fits", "cloud", max_tokens=0)
    drain._route(prompt)
    (done,) = noted.entries
    assert (done.status, done.error_code) == ("failed", "rate_impossible")
    assert "needs 4,101 tokens, and large admits 14 a minute" in done.error_message
    assert "lower its max_output_tokens" in done.error_message
    gpu = MANY.targets["gpu"]
    assert (gpu.charged_tokens(5, 0), gpu.charged_tokens(5, 9)) == (5 + 256, 14), "no limit is sent to a local server"


@pytest.mark.parametrize(("max_tokens", "charged"), [(9, 14), (0, 4_101)])
async def test_a_lane_asks_for_as_many_tokens_as_a_prompt_is_measured_by(max_tokens: int, charged: int) -> None:
    asked: list[int] = []

    async def script(*, keys: Any, args: Any) -> list[int]:
        asked.extend(args[3:])
        return [0, 1]

    rates = Rates(SimpleNamespace(rate=script), Keys(), "large", MANY.targets["large"])  # type: ignore[arg-type]
    assert rates.limited and await rates.admit([Item(0, BODY, 5, max_tokens)]) == (0, 0.001)
    assert asked == [charged]


async def test_where_no_target_has_room_the_row_ends_and_all_are_named() -> None:
    drain, prompt, noted = routed("all", "cloud")
    drain._route(prompt)
    (done,) = noted.entries
    assert (done.status, done.error_code) == ("failed", "rate_impossible")
    assert "small admits 10 a minute" in done.error_message and "less admits 13 a minute" in done.error_message


async def test_two_lanes_that_can_do_nothing_do_not_send_a_prompt_to_and_fro() -> None:
    """A refusal without a call stands in no journal: each lane gave its batch back to the other, for ever."""
    body = b'{"messages":[{"role":"user","content":"Hi."}],"max_tokens":9,"logit_bias":{"5":1}}'
    for lane in ("local", "cloud"):
        drain, prompt, noted = routed("both", lane, body)
        if lane == "local":
            prompt.target = "gpu"
            await drain._attempt(prompt)
        else:
            drain._route(prompt)
        assert not prompt.batch.exhausted and prompt.batch.open == 0, lane
        (done,) = noted.entries
        assert done.status == "failed"
        assert "ollama cannot do `logit_bias`" in done.error_message and "small admits 10" in done.error_message
    drain, prompt, _ = routed("both", "cloud")
    drain._route(prompt)
    assert prompt.batch.exhausted, "the other lane can do it"


async def test_a_prompt_that_our_own_code_cannot_route_ends_and_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wait nobody is there to hear of it: it was in no queue and never left, and its run hung."""
    drain, prompt, noted = routed("both", "local")
    prompt.target = "gpu"

    def too_large(*_: Any) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(drain._asking, "too_large", too_large)
    drain._setbacks.later(prompt, 0.0)
    await asyncio.sleep(0.01)
    (done,) = noted.entries
    assert (done.status, done.error_code) == ("failed", "internal") and prompt.batch.empty.is_set()


async def test_a_prompt_that_the_other_lane_cannot_be_told_ends_by_its_name() -> None:
    body = b'{"messages":[{"role":"user","content":"Hi."},{"role":"assistant","content":"a","tool_calls":7}],"max_tokens":9}'
    drain, prompt, noted = routed("told", "local", body)
    prompt.given_up = {"gpu"}  # its answers were errors
    drain._route(prompt)
    (done,) = noted.entries
    assert (
        done.status == "failed"
        and "anthropic cannot do this form of a message of role `assistant`" in done.error_message
    )


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_during_a_call_makes_it_no_longer_and_no_shorter(hours: int) -> None:
    context = Context(SETTINGS, NOBODY, "")

    async def post(*_told: Any, **_more: Any) -> Response:
        context.clock._offset_us += hours * 3_600_000_000
        return Response(200, {}, ANSWER)

    drain, prompt, noted = drain_of(context, post)
    await drain._attempt(prompt)
    (intent,), (called, done) = noted.intents, noted.entries
    assert done.output == "Hello."
    assert 0 <= called.finished_us - intent.started_us < 60_000_000
    assert 0 <= drain.lanes["it"].latency_s < 60


async def test_what_a_server_had_cached_is_counted_as_waiting_prompts_are_weighed() -> None:
    """Or else the lane's rate, of what it had to read, told half a row a second of waiting work where 4 were answered."""
    said = {"prompt_tokens": 1600, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 1500}}
    answer = msgspec.json.encode({**msgspec.json.decode(ANSWER), "usage": said})

    async def post(*_told: Any, **_more: Any) -> Response:
        return Response(200, {}, answer)

    drain, prompt, _ = drain_of(Context(SETTINGS, NOBODY, ""), post)
    await drain._attempt(prompt)
    lane, pace = drain.lanes["it"], Pace()
    for second in range(0, 30, 5):  # four such answers a second
        rows = 4 * second
        seen = Answered(rows, rows * lane.input_tokens, rows * lane.output_tokens, second, 1, 0.25, 0.25 * rows)
        speed = pace.note(second, "it", 1, [("w", seen)])
    waiting = speed.prefill * 1600 + 9
    assert (lane.done, speed.rows_per_s) == (1, pytest.approx(4))
    assert speed.rate / waiting == pytest.approx(4)


@pytest.mark.parametrize(("late", "groups"), [(False, ["g"]), (True, [])])
async def test_a_batch_tells_how_long_the_answers_of_its_lane_are(late: bool, groups: list[str]) -> None:
    """One of which the cloud has answered a part, at the last moment, tells nothing of either lane."""
    context = Context(MANY, NOBODY, "")
    drain = Drain(context, Ledger(MANY, context.targets), NOBODY, context.clock)
    head = BatchHead("r.0.0.1", "r", "both", 0, 2, 10, 400, 400.0, 0, 1, group="g")
    batch = Running(head, 1, "local", "any", RunContext("r", {}, MANY), NOBODY)
    for row, name in enumerate(("gpu", "small" if late else "gpu")):
        prompt = Prompt(batch, Item(row, BODY, 5, 200), 0, set())
        prompt.late = name == "small"
        answer = Completion("Hello.", "stop", Usage(5, output_tokens=20 if name == "gpu" else 120), "m")
        drain._measure(prompt, name, answer, 1.0)

    async def release(*, keys: list[str], args: list[Any]) -> int:
        return 1

    context.scripts = SimpleNamespace(release=release)  # type: ignore[assignment]
    await claims.release(context, batch, drain.lengths)
    assert list(drain.lengths) == groups
    assert all(length.output_tokens == 40 for length in drain.lengths.values())


async def test_one_odd_count_outweighs_no_other_answer_and_is_booked_as_it_was_said() -> None:
    """For months, in each later run; and the lane seemed a thousand times as fast."""
    said = {"prompt_tokens": 900_000_000, "completion_tokens": 900_000_000}
    answer = msgspec.json.encode({**msgspec.json.decode(ANSWER), "usage": said})

    async def post(*_told: Any, **_more: Any) -> Response:
        return Response(200, {}, answer)

    drain, prompt, noted = drain_of(Context(SETTINGS, NOBODY, ""), post)
    await drain._attempt(prompt)
    lane, (called, _) = drain.lanes["it"], noted.entries
    assert called.usage == Usage(900_000_000, output_tokens=900_000_000)
    assert lane.output_tokens == prompt.batch.answers.said.output_tokens == 9, "the row's limit"
    assert lane.input_tokens < 10_000
