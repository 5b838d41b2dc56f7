"""Every call costs what its tokens do: what the ledger charged is found good, a pico-dollar more or less is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines import beside, priced, schemas
from pipelines.config.sections import Target
from pipelines.money import Price, cost_pusd, pusd_to_usd, worst_case_pusd
from pipelines.priced import _TOKENS
from pipelines.prices import price_of
from pipelines.types import Usage
from tests.support_frames import call, costs_frame

TARGETS = {
    "mini": Target(kind="openai", model="gpt-4o-mini", base_url="http://127.0.0.1:9/v1"),
    "flagship": Target(kind="openai", model="gpt-5", base_url="http://127.0.0.1:9/v1"),  # several service tiers
    "haiku": Target(kind="anthropic", model="claude-haiku-4-5", base_url="http://127.0.0.1:9"),  # caches for an hour
    "audio": Target(kind="openai", model="gpt-audio", base_url="http://127.0.0.1:9/v1"),  # speaks
    "pro": Target(kind="gemini", model="gemini-2.5-pro", base_url="http://127.0.0.1:9"),  # two steps of length
    "gpu": Target(kind="lmstudio", model="q", lane="local", watts=Decimal(350), usd_per_kwh=Decimal("0.3")),
    "free": Target(kind="lmstudio", model="q", lane="local"),
}  # fmt: skip
PROVIDERS = {"mini": "openai", "flagship": "openai", "audio": "openai", "haiku": "anthropic", "pro": "google"}


DAY = datetime(2026, 11, 1, tzinfo=UTC)


def prices(day: datetime = DAY) -> dict[str, Price]:
    found = {}
    for name, target in TARGETS.items():
        price = price_of(target.model_copy(update={"provider": PROVIDERS.get(name)}), {}, day, name=name)
        assert isinstance(price, Price), price
        found[name] = price
    return found


PRICES = prices()


def charged(name: str, usage: Usage, cost: int, **more: Any) -> dict[str, Any]:
    price = PRICES[name]
    tokens = {field: getattr(usage, field) for field in Usage.__struct_fields__ if field in _TOKENS}
    return call(0, 0, lane=TARGETS[name].lane, target=name, cost_usd=pusd_to_usd(cost), cost_basis=price.basis,
                price_id=price.price_id, price_as_of=price.as_of, **tokens, **more)  # fmt: skip


def said(*calls: dict[str, Any], known: list[Price] | None = None) -> list[str]:
    kept = list(PRICES.values()) if known is None else known
    return [violation.what for violation in priced.check(costs_frame(list(calls)), kept)]


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    input_, output = draw(st.integers(0, 400_000)), draw(st.integers(0, 10_000))
    cached = draw(st.integers(0, input_))
    written = draw(st.integers(0, input_ - cached))
    reasoned, long = draw(st.integers(0, output)), draw(st.integers(0, written))
    heard, spoken, drawn = draw(st.integers(0, input_)), draw(st.integers(0, output)), draw(st.integers(0, output))
    return Usage(input_, cached, written, output, reasoned, long, heard, spoken, drawn)


@given(st.sampled_from(sorted(TARGETS)), usages(), st.floats(0, 1), st.data())
def test_what_the_ledger_charges_is_good(name: str, usage: Usage, share: float, data: st.DataObject) -> None:
    price = PRICES[name]
    service = data.draw(st.sampled_from([None, *(price.by_service or {})]))
    busy_us = round(share * 10**6) if price.basis == "amortised" else 0  # of the second that it took
    assert said(charged(name, usage, cost_pusd(price, usage, busy_us=busy_us, service=service))) == []
    worst = worst_case_pusd(
        price, usage.input_tokens, usage.output_tokens, long_cache=True, sound=True, service=service
    )
    bound = {**charged(name, usage, worst), "cost_basis": "upper_bound"}
    assert said(bound) == []


@given(st.sampled_from(["mini", "pro", "free"]), usages(), st.sampled_from([-1, 1]))
def test_a_pico_dollar_is_seen(name: str, usage: Usage, off: int) -> None:
    true = cost_pusd(PRICES[name], usage)
    if true + off >= 0:
        assert len(said(charged(name, usage, true + off))) == 1


def test_more_than_any_hour_of_a_cache_or_of_power_is_seen() -> None:
    written = Usage(1_000, 0, 600, 10, 0)
    dearest = cost_pusd(PRICES["haiku"], Usage(1_000, 0, 600, 10, 0, 600))
    assert said(charged("haiku", written, dearest)) == [] != said(charged("haiku", written, dearest + 1))
    a_second = cost_pusd(PRICES["gpu"], Usage(), busy_us=10**6)
    assert said(charged("gpu", Usage(), a_second)) == [] != said(charged("gpu", Usage(), a_second + 1))


def test_a_saving_is_a_price_of_the_cloud() -> None:
    usage = Usage(1_000, 0, 0, 100, 0)
    saved = cost_pusd(PRICES["mini"], usage)
    good = {"avoided_usd": pusd_to_usd(saved), "avoided_cause": "local"}
    assert said(charged("free", usage, 0, **good)) == []
    half = cost_pusd(PRICES["mini"], usage, batch=True)
    assert 0 < half < saved, "there was time for a batch of the provider's"
    assert said(charged("free", usage, 0, **{**good, "avoided_usd": pusd_to_usd(half)})) == []
    batched = {"lane": "provider_batch", "avoided_cause": "provider_batch"}
    assert said({**charged("mini", usage, half, avoided_usd=pusd_to_usd(saved - half)), **batched}) == []
    assert len(said({**charged("mini", usage, half, avoided_usd=pusd_to_usd(saved)), **batched})) == 1
    (found,) = said(charged("free", usage, 0, **{**good, "avoided_usd": pusd_to_usd(saved + 1)}))
    assert "come to at no price of the cloud" in found


@pytest.mark.parametrize(
    ("name", "usage"),
    [("haiku", Usage(1_000, 0, 600, 10, 0, 600)), ("audio", Usage(1_000, 0, 0, 500, 0, 0, 900, 400))],
)
def test_what_a_batch_saves_is_good_whatever_the_ledger_does_not_keep_of_it(name: str, usage: Usage) -> None:
    now, half = (cost_pusd(PRICES[name], usage, batch=batch) for batch in (False, True))
    saved = {"avoided_usd": pusd_to_usd(now - half), "avoided_cause": "provider_batch" if now > half else None}
    assert said({**charged(name, usage, half, **saved), "lane": "provider_batch"}) == []


def test_a_line_of_a_providers_batch_has_the_batch_price_and_saves_the_rest() -> None:
    usage = Usage(1_000, 0, 0, 500)
    full, half = cost_pusd(PRICES["mini"], usage), cost_pusd(PRICES["mini"], usage, batch=True)
    batch = {"lane": "provider_batch", "avoided_cause": "provider_batch"}
    row = charged("mini", usage, half)
    assert not said({**row, **batch, "avoided_usd": pusd_to_usd(full - half)})
    assert said({**row, **batch, "avoided_usd": pusd_to_usd(full)}), "saved more than there was to pay"
    assert said({**row, "cost_usd": pusd_to_usd(full), **batch, "avoided_usd": pusd_to_usd(half)}), "dearer than it is"
    gpu = {**charged("free", usage, 0), "avoided_cause": "local", "avoided_usd": pusd_to_usd(half)}
    assert not said(gpu), "what could have waited saves the batch price"


def test_a_price_that_is_not_beside_the_call_is_missed_and_what_was_reported_is_taken() -> None:
    usage = Usage(10, 0, 0, 1, 0)
    mini = charged("mini", usage, cost_pusd(PRICES["mini"], usage))
    assert "not beside it" in said(mini, known=[])[0]
    other_day = list(prices(DAY + timedelta(days=1)).values())
    assert "not beside it" in said(mini, known=other_day)[0]
    assert said({**mini, "cost_basis": "reported", "cost_usd": Decimal(7)}) == []
    assert len(said({**mini, "cost_basis": "upper_bound", "cost_usd": Decimal(0)})) == 1


def test_prices_stand_in_the_files_metadata_each_once() -> None:
    table = pa.Table.from_pylist([], schema=schemas.COSTS)
    two = [PRICES["mini"], PRICES["flagship"], PRICES["mini"]]
    kept = beside.noted(table, two).schema.metadata
    assert sorted(map(beside.pack, beside.read(kept))) == sorted({beside.pack(price) for price in two})
    services = PRICES["flagship"].by_service
    assert services is not None and len(services) > 1
    turned = replace(PRICES["flagship"], by_service=dict(reversed(services.items())))
    assert beside.pack(turned) == beside.pack(PRICES["flagship"]), "whatever order a process had them in"
    assert beside.read(None) == beside.read({beside.KEY: b"{"}) == beside.read(schemas.VERSION) == []


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b"[" * 9999, b'{"price_id": "%s"}' % (b"x" * 10**6)])
def test_what_is_no_price_is_left_out(raw: bytes) -> None:
    assert beside.unpack([raw, beside.pack(PRICES["haiku"])]) == [PRICES["haiku"]]
