"""Recorded usage of each vendor, through the real adapters and price lists, against decimals computed by hand."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from pipelines.money import pusd_to_usd, usd_to_pusd
from pipelines.settings import Settings, parse_settings
from pipelines.types import Completion, Failure, Item, Usage
from worker.backends import load
from worker.backends.exchange import Response
from worker.clock import Clock
from worker.money.ledger import Charge, Ledger
from worker.targets import Targets

SETTINGS = parse_settings(
    {
        "targets": {
            "mini": {"kind": "openai", "model": "gpt-4o-mini"},
            "o4": {"kind": "openai", "model": "o4-mini"},
            "haiku": {"kind": "anthropic", "model": "claude-haiku-4-5"},
            "flash": {"kind": "gemini", "model": "gemini-2.5-flash"},
            "pro": {"kind": "gemini", "model": "gemini-2.5-pro"},
            "router": {"kind": "openrouter", "model": "openai/gpt-4o-mini"},
            "cerebras": {"kind": "cerebras", "model": "gpt-oss-120b"},
            "own": {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "mine"},
            "hub": {"kind": "huggingface", "model": "meta-llama/Llama-3.3-70B-Instruct:groq"},
            "pod": {"kind": "runpod", "base_url": "http://localhost:1/v1", "model": "mine"},
            "paid-vllm": {"kind": "vllm", "base_url": "http://localhost:1/v1", "model": "mine", "lane": "cloud"},
            "paid-cpp": {"kind": "llamacpp", "base_url": "http://localhost:1/v1", "model": "mine", "lane": "cloud"},
            "paid-ollama": {"kind": "ollama", "base_url": "http://localhost:1/v1", "model": "mine", "lane": "cloud"},
            "gpt5": {"kind": "openai", "model": "gpt-5"},
            "audio": {"kind": "openai", "model": "gpt-audio"},
            "painter": {"kind": "gemini", "model": "gemini-2.5-flash-image"},
            "gpu": {"kind": "lmstudio", "model": "qwen", "watts": 360, "usd_per_kwh": 0.30},
        },
        "prices": {"mine": {"input_usd_per_mtok": "0.1234567", "output_usd_per_mtok": "0.7654321",
                            "cached_input_usd_per_mtok": "0.0000001"}},
    }
)  # fmt: skip


def ledger(settings: Settings = SETTINGS) -> tuple[Ledger, Targets]:
    targets = Targets(settings, Clock())
    return Ledger(settings, targets), targets


def chat(usage: dict[str, Any] | None, text: str = "Paris.") -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None}
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }  # fmt: skip
    return body if usage is None else {**body, "usage": usage}


def claude(usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": "Paris."}], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def gemini(usage: dict[str, Any]) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": "Paris."}], "role": "model"}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", "responseId": "x"}


def charged(name: str, body: Any, *, status: int = 200, bound_pusd: int = 0, busy_s: float = 1.0) -> Charge:
    target = SETTINGS.targets[name]
    outcome = load(target.kind).parse(target, Response(status, {}, json.dumps(body).encode()))
    return ledger()[0].charge(name, outcome, busy_s, bound_pusd, name)


def item(body: bytes, output: int = 1) -> Item:
    return Item(0, body, 1000, output, None)


OPENAI = {
    "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0},
}  # fmt: skip
REASONED = {
    "prompt_tokens": 75, "completion_tokens": 1186, "total_tokens": 1261,
    "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 1024},
}  # fmt: skip
CACHED = {
    "input_tokens": 21, "cache_creation_input_tokens": 1900, "cache_read_input_tokens": 188_086, "output_tokens": 393,
    "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 900},
    "service_tier": "standard",
}  # fmt: skip
WRITTEN = {**CACHED, "cache_creation": {"ephemeral_5m_input_tokens": 1900, "ephemeral_1h_input_tokens": 0}}
THOUGHT = {
    "promptTokenCount": 1200, "candidatesTokenCount": 40, "totalTokenCount": 2590, "cachedContentTokenCount": 1000,
    "thoughtsTokenCount": 1100, "toolUsePromptTokenCount": 250,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1200}],
}  # fmt: skip
LONG = {"promptTokenCount": 300_000, "candidatesTokenCount": 1000, "totalTokenCount": 301_000}
AT_THE_STEP = {"promptTokenCount": 200_000, "candidatesTokenCount": 1000, "totalTokenCount": 201_000}
ROUTED = {
    "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "cost": 0.00014, "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 0}, "cost_details": {"upstream_inference_cost": None},
}  # fmt: skip
OWN_KEY = {**ROUTED, "cost": 0.00001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.00019}}
TIMED = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500,
         "prompt_tokens_details": {"cached_tokens": 128}}  # fmt: skip

WROTE = {
    "prompt_tokens": 5000, "completion_tokens": 10, "total_tokens": 5010,
    "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 2048},
}  # fmt: skip
NO_DETAILS = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500, "prompt_tokens_details": None}
CPP = {**NO_DETAILS, "prompt_tokens_details": {"cached_tokens": 900}}
TIMINGS = {"cache_n": 900, "prompt_n": 100, "predicted_n": 500, "predicted_per_second": 41.7}
POD = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "total_tokens": 1700,
    "completion_tokens_details": {"reasoning_tokens": 200},
}  # reasoning beside the answer: its total says so
SPOKEN = {
    "prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 900},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 400},
}  # fmt: skip
HEARD = {
    "promptTokenCount": 1000, "candidatesTokenCount": 40, "cachedContentTokenCount": 700,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 900}],
}  # fmt: skip
DRAWN = {
    "promptTokenCount": 20, "candidatesTokenCount": 1300,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
}  # fmt: skip
OLLAMA = {
    "model": "mine", "created_at": "2026-11-01T00:00:00Z", "message": {"role": "assistant", "content": "Paris."},
    "done": True, "done_reason": "stop", "total_duration": 5, "prompt_eval_count": 1000, "eval_count": 500,
}  # fmt: skip

MILLION = Decimal(1_000_000)


@pytest.mark.parametrize(
    ("name", "body", "dollars_of_a_million", "basis"),
    [
        ("mini", chat(OPENAI), [(86, "0.15"), (1920, "0.075"), (300, "0.60")], "billed"),
        ("o4", chat(REASONED), [(75, "1.10"), (1186, "4.40")], "billed"),
        ("haiku", claude(WRITTEN), [(21, "1"), (1900, "1.25"), (188_086, "0.10"), (393, "5")], "billed"),
        ("haiku", claude(CACHED), [(21, "1"), (1000, "1.25"), (900, "2"), (188_086, "0.10"), (393, "5")], "billed"),
        ("flash", gemini(THOUGHT), [(450, "0.30"), (1000, "0.03"), (1140, "2.50")], "billed"),
        ("pro", gemini(LONG), [(300_000, "2.50"), (1000, "15")], "billed"),
        ("pro", gemini(AT_THE_STEP), [(200_000, "1.25"), (1000, "10")], "billed"),
        ("router", chat(ROUTED), [(1, "140")], "reported"),
        ("router", chat(OWN_KEY), [(1, "200")], "reported"),
        ("cerebras", chat(TIMED), [(1000, "0.35"), (500, "0.75")], "billed"),
        ("own", chat(OPENAI), [(86, "0.1234567"), (1920, "0.0000001"), (300, "0.7654321")], "billed"),
        ("gpt5", {**chat(REASONED), "service_tier": "flex"}, [(75, "0.625"), (1186, "5")], "billed"),
        ("gpt5", {**chat(OPENAI), "service_tier": "priority"}, [(86, "2.5"), (1920, "0.25"), (300, "20")], "billed"),
        ("audio", chat(SPOKEN), [(100, "2.5"), (900, "32"), (100, "10"), (400, "64")], "billed"),
        ("mini", chat(SPOKEN), [(1000, "0.15"), (500, "0.60")], "billed"),  # no price of its own for sound
        ("flash", gemini(HEARD), [(900, "1"), (100, "0.03"), (40, "2.5")], "billed"),  # which part is cached, nobody says
        ("painter", gemini(DRAWN), [(20, "0.30"), (10, "2.5"), (1290, "30")], "billed"),
        ("mini", chat(WROTE), [(3976, "0.15"), (1024, "0.075"), (10, "0.60")], "billed"),
        ("hub", chat(NO_DETAILS), [(1000, "0.59"), (500, "0.79")], "billed"),
        ("pod", chat(POD), [(1000, "0.1234567"), (700, "0.7654321")], "billed"),
        ("paid-vllm", chat(NO_DETAILS), [(1000, "0.1234567"), (500, "0.7654321")], "billed"),
        ("paid-cpp", {**chat(CPP), "timings": TIMINGS}, [(100, "0.1234567"), (900, "0.0000001"), (500, "0.7654321")], "billed"),
        ("paid-ollama", OLLAMA, [(1000, "0.1234567"), (500, "0.7654321")], "billed"),
    ],
)  # fmt: skip
def test_recorded_usage_costs_what_a_person_computes(
    name: str, body: Any, dollars_of_a_million: list[tuple[int, str]], basis: str
) -> None:
    expected = sum((Decimal(tokens) * Decimal(usd) for tokens, usd in dollars_of_a_million), Decimal(0)) / MILLION
    charge = charged(name, body)
    # Rounded up to the pico-dollar, where the price has more digits than that.
    assert 0 <= pusd_to_usd(charge.cost_pusd) - expected < Decimal("1e-12")
    assert charge.cost_pusd == usd_to_pusd(expected)
    assert (charge.outcome, charge.cost_basis) == ("ok", basis)
    assert charge.price_id and charge.price_as_of


def test_usage_is_counted_in_one_way() -> None:
    """Input includes cached tokens, output includes reasoning, whoever answers."""
    found = [charged(name, body).usage for name, body in [("mini", chat(OPENAI)), ("o4", chat(REASONED)),
             ("haiku", claude(CACHED)), ("flash", gemini(THOUGHT))]]  # fmt: skip
    assert [(u.input_tokens, u.cached_input_tokens, u.cache_write_tokens, u.output_tokens, u.reasoning_tokens) for u in found] == [
        (2006, 1920, 0, 300, 0), (75, 0, 0, 1186, 1024), (190_007, 188_086, 1900, 393, 0), (1450, 1000, 0, 1140, 1100),
    ]  # fmt: skip


def test_an_hours_cache_is_reserved_for_where_it_is_asked_for() -> None:
    book = ledger()[0]
    bodies = (b'{"messages":[]}', b'{"messages":[{"cache_control":{"ttl":"1h"}}]}')
    usual, long = (book.bound_pusd("haiku", item(body)) for body in bodies)
    assert (usual, long) == (usd_to_pusd("0.00138"), usd_to_pusd("0.002205"))


@pytest.mark.parametrize(
    ("served", "dollars_of_a_million"),
    [
        ("default", [(86, "0.15"), (1920, "0.075"), (300, "0.60")]),
        ("priority", [(86, "0.25"), (1920, "0.125"), (300, "1")]),
        ("scale", [(86, "0.15"), (1920, "0.075"), (300, "0.60")]),
        (None, [(86, "0.15"), (1920, "0.075"), (300, "0.60")]),
    ],
)
def test_the_tier_that_answered_is_what_is_paid(
    served: str | None, dollars_of_a_million: list[tuple[int, str]]
) -> None:
    expected = sum(Decimal(tokens) * Decimal(usd) for tokens, usd in dollars_of_a_million) / MILLION
    assert charged("mini", {**chat(OPENAI), "service_tier": served}).cost_pusd == usd_to_pusd(expected)


@pytest.mark.parametrize(
    ("asked", "usd"),
    [("auto", "0.000765"), ("flex", "0.000765"), ("priority", "0.001275"), ("PRIORITY", "0.001275")],
)
def test_a_dearer_tier_is_reserved_for_where_it_is_asked_for(asked: str, usd: str) -> None:
    body = json.dumps({"messages": [], "service_tier": asked}).encode()
    assert ledger()[0].bound_pusd("mini", item(body, output=1000)) == usd_to_pusd(usd)  # 1100 and 1000 tokens


def test_an_image_is_reserved_for_as_its_model_counts_it() -> None:
    """GPT-4o mini counts one as up to 48,169 tokens: forty times what was reserved, so that budgets were no walls."""
    body = b'{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}'
    bound = ledger()[0].bound_pusd("mini", Item(0, body, 1_112, 10))
    assert isinstance(bound, int)
    assert (
        bound >= usd_to_pusd(Decimal("0.15") * 48_169 / MILLION) > usd_to_pusd(Decimal("0.15") * 1_112 / MILLION) * 40
    )


def test_a_file_that_lies_elsewhere_is_reserved_for_as_the_whole_window() -> None:
    body = b'{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]}'
    told = {"targets": {"mini": {"kind": "openai", "model": "gpt-4o-mini", "context_tokens": 128_000}}}
    known, unknown = ledger(parse_settings(told))[0], ledger()[0]
    for book, tokens in ((known, 128_000), (unknown, 1_050_000)):
        bound = book.bound_pusd("mini", Item(0, body, 1_112, 10))
        least = usd_to_pusd(Decimal("0.15") * tokens / MILLION)
        assert isinstance(bound, int) and least <= bound < least * 1.2


def test_sound_and_drawings_are_reserved_for_at_their_own_price() -> None:
    book = ledger()[0]
    silent, asks = b'{"messages":[]}', b'{"messages":[],"modalities":["text","audio"],"audio":{"voice":"alloy"}}'
    assert book.bound_pusd("audio", item(silent, 100)) == usd_to_pusd("0.00375")  # 1,100 x 2.5 + 100 x 10
    assert book.bound_pusd("audio", item(asks, 100)) == usd_to_pusd("0.0416")  # 1,100 x 32 + 100 x 64
    assert book.bound_pusd("painter", item(silent, 1290)) == usd_to_pusd("0.03903")  # 1,100 x 0.3 + 1,290 x 30


def test_a_tier_whose_price_nobody_knows_is_refused() -> None:
    body = b'{"messages":[],"service_tier":"priority"}'
    refused = ledger()[0].bound_pusd("cerebras", item(body))
    assert isinstance(refused, Failure) and (refused.kind, refused.code) == ("invalid", "no_price")
    assert "'priority'" in refused.message
    assert isinstance(ledger()[0].bound_pusd("own", item(body)), int), "a stated price holds whatever the tier"


def test_a_search_whose_price_nobody_knows_is_refused() -> None:
    """Each costs cents beside the tokens, which no usage tells."""
    asks = b'{"messages":[{"role":"user","content":"no \\"web_search_options\\""}]%s}'
    refused = ledger()[0].bound_pusd("mini", item(asks % b',"web_search_options":{}'))
    assert isinstance(refused, Failure) and (refused.kind, refused.code) == ("invalid", "no_price")
    assert "`web_search_options`" in refused.message
    assert isinstance(ledger()[0].bound_pusd("mini", item(asks % b"")), int)
    assert ledger()[0].bound_pusd("gpu", item(asks % b',"web_search_options":{}')) == 0


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": -5},
                                   {"prompt_tokens": "12", "completion_tokens": "x"},
                                   {"prompt_tokens": 12, "completion_tokens": 0}])  # fmt: skip
def test_an_answer_without_sensible_usage_is_booked_at_its_bound_never_as_free(usage: Any) -> None:
    charge = charged("mini", chat(usage), bound_pusd=7_770_000)
    assert (charge.outcome, charge.cost_pusd, charge.cost_basis) == ("ok", 7_770_000, "upper_bound")


def test_local_answers_cost_their_energy_and_avoid_the_cloud() -> None:
    charge = charged("gpu", chat(OPENAI), busy_s=2.5)
    assert (charge.cost_pusd, charge.cost_basis) == (usd_to_pusd("0.000075"), "amortised")  # 0.36 kW x 2.5 s x 0.30


def test_what_had_the_time_for_a_batch_avoids_no_more_than_its_price() -> None:
    targets = {
        "mini": {"kind": "openai", "model": "gpt-4o-mini", "provider_batch": True},
        "gpu": {"kind": "lmstudio", "model": "qwen"},
    }
    books, _ = ledger(parse_settings({"targets": targets, "routes": {"both": {"targets": ["gpu", "mini"]}}}))
    answer = Completion("Paris.", "stop", Usage(input_tokens=1_000, output_tokens=1_000), "served")
    dear = books.charge("gpu", answer, 0.0, 0, "both")
    wait = books.charge("gpu", answer, 0.0, 0, "both", patient=True)
    batch = books.charge("mini", answer, 0.0, 0, "both", batch=True, patient=True)
    assert dear.avoided_pusd == usd_to_pusd("0.00075") and wait.avoided_pusd == batch.cost_pusd == usd_to_pusd(
        "0.000375"
    )
    assert (batch.avoided_pusd, batch.avoided_cause) == (dear.avoided_pusd - batch.cost_pusd, "provider_batch")
    assert books.batch_share("mini") == 0.5 and books.batch_share("gpu") == 1.0


@pytest.mark.parametrize(
    ("failure", "outcome", "cost"),
    [(Failure("unknown", "timeout", "m"), "lost", 55), (Failure("rate", "r", "m", 429), "rejected", 0),
     (Failure("funds", "f", "m", 402), "rejected", 0), (Failure("transient", "server_error", "m", 500), "error", 0),
     (Failure("transient", "http_500", "m", 500), "lost", 55), (Failure("transient", "bad_gateway", "m", 502), "lost", 55)],
)  # fmt: skip
def test_only_what_may_have_been_generated_is_booked(failure: Failure, outcome: str, cost: int) -> None:
    charge = ledger()[0].charge("mini", failure, 1.0, 55, "mini")
    assert (charge.outcome, charge.cost_pusd) == (outcome, cost)


def spoilt(usage: dict[str, Any], content: str = "", finish: str = "stop", **more: Any) -> dict[str, Any]:
    """An answer that is no use: empty, broken off, or an error in the middle of it."""
    body = chat(usage, content)
    return {**body, "choices": [{**body["choices"][0], "finish_reason": finish, **more}]}


MIDWAY = {"code": 502, "message": "Provider disconnected", "metadata": {"error_type": "provider_unavailable"}}
NOTHING = {**ROUTED, "completion_tokens": 0, "total_tokens": 10, "cost": 0}


@pytest.mark.parametrize(
    ("body", "code", "usd"),
    [
        (spoilt(ROUTED), "empty_answer", "0.00014"),
        (spoilt(OWN_KEY), "empty_answer", "0.0002"),
        (spoilt(NOTHING), "empty_answer", "0"),  # it asks no money for an answer without a token
        (spoilt(ROUTED, "Par", "error"), "finish_error", "0.00014"),
        (spoilt(ROUTED, "Par", error=MIDWAY), "provider_unavailable", "0.00014"),
        (spoilt({**ROUTED, "completion_tokens": None}, "Par", error=MIDWAY), "provider_unavailable", "0.00014"),
    ],
)
def test_an_answer_that_is_no_use_costs_what_the_provider_says(body: Any, code: str, usd: str) -> None:
    charge = charged("router", body, bound_pusd=7_770_000)
    assert (charge.outcome, charge.error_code, charge.model) == ("ok", code, "served")
    assert (charge.cost_pusd, charge.cost_basis) == (usd_to_pusd(usd), "reported")


def test_an_error_before_anything_was_generated_costs_nothing_whatever_it_reports() -> None:
    busy = {**MIDWAY, "code": 503, "metadata": {"error_type": "provider_overloaded"}}
    charge = charged("router", {**spoilt(NOTHING, error=busy), "error": busy}, bound_pusd=7_770_000)
    assert (charge.outcome, charge.cost_pusd) == ("rejected", 0), "so that no prompt is given up for it"


def test_what_was_filtered_midway_is_paid() -> None:
    stopped = {"code": 403, "message": "no", "metadata": {"error_type": "content_policy_violation"}}
    charge = charged("router", spoilt(ROUTED, "Par", error=stopped))
    assert (charge.outcome, charge.cost_pusd, charge.usage.output_tokens) == ("ok", usd_to_pusd("0.00014"), 4)


def test_an_answer_that_is_no_use_is_paid_at_the_tier_that_gave_it() -> None:
    body = {**spoilt(REASONED), "service_tier": "flex"}
    assert charged("gpt5", body).cost_pusd == usd_to_pusd((75 * Decimal("0.625") + 1186 * 5) / MILLION)


def test_an_unknown_price_closes_the_target_with_the_line_to_add() -> None:
    settings = parse_settings({"targets": {"x": {"kind": "openai", "model": "nobody-knows-me"}}})
    book, targets = ledger(settings)
    assert book.price("x") is None and not targets.is_up("x")
    assert '"nobody-knows-me" = { input_usd_per_mtok = …' in targets.states["x"]["reason"]
    targets.open("x")  # a worker with another configuration knows a price
    refused = book.bound_pusd("x", item(b"{}"))
    assert isinstance(refused, Failure) and refused.kind == "auth", "closed again"
    assert '"nobody-knows-me" = { input_usd_per_mtok = …' in refused.message


def test_a_price_is_that_of_redis_day_not_of_the_hosts() -> None:
    books, targets = ledger()
    today = targets.clock.date("UTC")
    targets.clock._offset_us += 86_400 * 10**6  # what Redis says once it is asked: this host is a day late
    price = books.price("mini")
    assert price is not None and today < price.as_of.isoformat() == targets.clock.date("UTC")
    assert charge_of(books).price_as_of == targets.clock.date("UTC")


def charge_of(books: Ledger) -> Charge:
    return books.charge("mini", Failure("rate", "r", "m", 429), 1.0, 0, "")


def test_a_moderated_request_is_not_billed() -> None:
    target = SETTINGS.targets["router"]
    body = json.dumps({"error": {"code": 403, "message": "flagged", "metadata": {"reasons": ["x"]}}}).encode()
    outcome = load("openrouter").parse(target, Response(403, {}, body))
    assert isinstance(outcome, Completion) and outcome.finish == "filter"
    assert ledger()[0].charge("router", outcome, 1.0, 99, "router").cost_pusd == 0
