from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import money
from pipelines import prices as price_list
from pipelines.money import Price, Rates, Unknown, cost_pusd, usd_to_pusd, worst_case_pusd
from pipelines.prices import price_of
from pipelines.settings import Settings, parse_settings
from pipelines.types import Usage

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def settings(target: dict[str, Any], prices: dict[str, Any] | None = None) -> Settings:
    return parse_settings({"targets": {"t": {"kind": "openai", "model": "m", **target}}, "prices": prices or {}})


def price(target: dict[str, Any], prices: dict[str, Any] | None = None, at: datetime = AT) -> Price:
    found = settings(target, prices)
    answer = price_of(found.targets["t"], found.prices, at, name="t")
    assert isinstance(answer, Price)
    return answer


def flat(input_usd: str, output_usd: str, **more: str) -> Price:
    """A price per million tokens that the configuration states."""
    stated = {f"{key}_usd_per_mtok": value for key, value in more.items() if key != "batch_discount"}
    discount = {"batch_discount": more["batch_discount"]} if "batch_discount" in more else {}
    return price({"input_usd_per_mtok": input_usd, "output_usd_per_mtok": output_usd, **stated, **discount})


class TestByHand:
    """Decimals worked out on paper; each line gives the sum."""

    def test_gpt_4o_mini(self) -> None:
        # 1,000 x 0.15/M + 500 x 0.60/M = 0.000150 + 0.000300
        assert cost_pusd(price({"model": "gpt-4o-mini"}), Usage(1000, 0, 0, 500, 0)) == usd_to_pusd("0.00045")

    def test_gpt_4o_mini_with_cached_input(self) -> None:
        # 600 x 0.15/M + 400 x 0.075/M + 10 x 0.60/M = 0.000090 + 0.000030 + 0.000006
        assert cost_pusd(price({"model": "gpt-4o-mini"}), Usage(1000, 400, 0, 10, 0)) == usd_to_pusd("0.000126")

    def test_gpt_4o_mini_in_a_provider_batch(self) -> None:
        # half: 1,000 x 0.075/M + 500 x 0.30/M
        assert cost_pusd(price({"model": "gpt-4o-mini"}), Usage(1000, 0, 0, 500, 0), batch=True) == usd_to_pusd(
            "0.000225"
        )

    def test_anthropic_counts_cached_and_written_input_in_the_total(self) -> None:
        sonnet = price({"kind": "anthropic", "model": "claude-sonnet-4-5"})
        # 1,000 x 3/M + 2,000 x 0.30/M + 500 x 3.75/M + 100 x 15/M = 0.003 + 0.0006 + 0.001875 + 0.0015
        assert cost_pusd(sonnet, Usage(3500, 2000, 500, 100, 40)) == usd_to_pusd("0.006975")

    def test_gemini_beyond_its_tier_prices_every_token_dearer(self) -> None:
        pro = price({"kind": "gemini", "model": "gemini-2.5-pro"})
        # 300,000 x 2.5/M + 1,000 x 15/M; at 200,000 exactly the lower price still holds
        assert cost_pusd(pro, Usage(300_000, 0, 0, 1000, 900)) == usd_to_pusd("0.765")
        assert cost_pusd(pro, Usage(200_000, 0, 0, 1000, 900)) == usd_to_pusd("0.26")

    def test_a_price_of_the_configuration(self) -> None:
        assert cost_pusd(flat("0.15", "0.60"), Usage(7, 0, 0, 3, 0)) == 7 * 150_000 + 3 * 600_000

    def test_cached_and_written_input_without_a_price_is_input(self) -> None:
        assert cost_pusd(flat("1", "0"), Usage(10, 4, 3, 0, 0)) == 10_000_000
        stated = flat("1", "0", cached_input="0.1", cache_write="1.25")
        assert cost_pusd(stated, Usage(10, 4, 3, 0, 0)) == 3_000_000 + 400_000 + 3_750_000

    def test_the_batch_discount_of_the_configuration(self) -> None:
        stated = flat("1", "2", batch_discount="0.5")
        assert cost_pusd(stated, Usage(10, 0, 0, 10, 0), batch=True) == 15_000_000
        assert cost_pusd(flat("1", "2"), Usage(10, 0, 0, 10, 0), batch=True) == 30_000_000

    def test_less_than_a_pico_dollar_rounds_up(self) -> None:
        assert cost_pusd(flat("0.000000000001", "0"), Usage(1, 0, 0, 0, 0)) == 1
        assert cost_pusd(flat("0.000000000001", "0"), Usage(1_000_000, 0, 0, 0, 0)) == 1

    def test_a_price_per_request_is_paid_once(self) -> None:
        per_request = Price("x", AT.date(), "billed", (Rates(1, 1, 1, 1, 1),), (Rates(1, 1, 1, 1, 1),), 5_000)
        assert cost_pusd(per_request, Usage()) == 5_000
        assert worst_case_pusd(per_request, 0, 0) == 5_000

    def test_odd_counters_never_make_a_negative_part(self) -> None:
        stated = flat("1", "1", cached_input="0.1", cache_write="2")
        assert cost_pusd(stated, Usage(5, 50, 50, 3, 99)) == 5 * 100_000 + 3 * 1_000_000


class TestWhereAPriceComesFrom:
    def test_the_target_before_the_section_before_the_list(self) -> None:
        own = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
        section = {"input_usd_per_mtok": "2", "output_usd_per_mtok": "2", "as_of": date(2026, 1, 2)}
        both = {"gpt-4o-mini": section, "openai/gpt-4o-mini": {**section, "input_usd_per_mtok": "3"}}
        named = {"model": "gpt-4o-mini"}
        assert price({**named, **own}, both).price_id == "config:targets.t"
        assert price(named, both).price_id == "config:prices.openai/gpt-4o-mini"
        assert price(named, {"gpt-4o-mini": section}).price_id == "config:prices.gpt-4o-mini"
        assert price(named, {"gpt-4o-mini": section}).as_of == date(2026, 1, 2)
        assert price(named).price_id.endswith(":openai/gpt-4o-mini")
        assert price(named).price_id.startswith("genai-prices-")
        assert price(named).as_of == date(2026, 11, 20)

    def test_an_address_names_its_vendor(self) -> None:
        groq = price({"model": "llama-3.3-70b-versatile", "base_url": "https://api.groq.com/openai/v1"})
        assert groq.price_id.endswith(":groq/llama-3.3-70b-versatile")

    def test_an_address_of_nobody_means_the_kinds_vendor(self) -> None:
        stand_in = price({"model": "gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1"})
        assert stand_in.price_id.endswith(":openai/gpt-4o-mini")

    def test_a_vendor_can_be_named(self) -> None:
        named = {"model": "llama-3.3-70b-versatile", "base_url": "http://127.0.0.1:9/v1", "provider": "groq"}
        assert price(named).price_id.endswith(":groq/llama-3.3-70b-versatile")

    def test_the_router_of_hugging_face_needs_the_host_behind_the_model(self) -> None:
        hosted = {"kind": "huggingface", "model": "meta-llama/Llama-3.3-70B-Instruct:together"}
        assert ":huggingface_together/" in price(hosted).price_id
        unpinned = settings({**hosted, "model": "meta-llama/Llama-3.3-70B-Instruct"}).targets["t"]
        assert isinstance(price_of(unpinned, {}, AT), Unknown)

    @pytest.mark.parametrize(
        "target",
        [
            {"model": "no-such-model"},
            {"kind": "simulator", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:1"},
            {"kind": "runpod", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:1"},
            {"kind": "cerebras", "model": "gpt-4o-mini"},
            {"model": "gpt-4o-mini", "provider": "nobody"},
            {"model": "text-embedding-3-small"},
        ],
    )
    def test_no_price_refuses_and_says_what_to_add(self, target: dict[str, Any]) -> None:
        answer = price_of(settings(target).targets["t"], {}, AT, name="t")
        assert isinstance(answer, Unknown)
        line = f'"{target["model"]}" = {{ input_usd_per_mtok = …, output_usd_per_mtok = … }}'
        assert answer.message.endswith(f"add under [prices]: {line}")

    def test_the_line_to_add_is_the_line_that_helps(self) -> None:
        import tomllib

        unknown = price_of(settings({"model": 'odd"model'}).targets["t"], {}, AT)
        assert isinstance(unknown, Unknown)
        line = unknown.message.partition("[prices]: ")[2].replace("…", "1")
        assert price({"model": 'odd"model'}, tomllib.loads(line)).price_id == 'config:prices.odd"model'

    def test_a_price_that_changed_is_that_of_the_day(self) -> None:
        before, after = (price({"model": "o3"}, at=datetime(year, 5, 1, tzinfo=UTC)) for year in (2025, 2026))
        assert cost_pusd(before, Usage(1000, 0, 0, 0, 0)) == usd_to_pusd("0.01")  # 10 USD/M until June 2025
        assert cost_pusd(after, Usage(1000, 0, 0, 0, 0)) == usd_to_pusd("0.002")


class TestLocal:
    def test_energy_is_watts_times_time(self) -> None:
        gpu = price({"kind": "lmstudio", "watts": 350, "usd_per_kwh": "0.30"})
        assert gpu.basis == "amortised"
        # 0.35 kW x 0.30 USD/kWh = 0.105 USD an hour; 2 s = 0.0000583333333333…, rounded up
        assert cost_pusd(gpu, Usage(1000, 0, 0, 500, 0), busy_us=3_600_000_000) == usd_to_pusd("0.105")
        assert cost_pusd(gpu, Usage(1000, 0, 0, 500, 0), busy_us=2_000_000) == 58_333_334
        assert cost_pusd(gpu, Usage(1000, 0, 0, 500, 0)) == 0

    def test_without_watts_it_is_free(self) -> None:
        free = price({"kind": "lmstudio"})
        assert cost_pusd(free, Usage(10**6, 0, 0, 10**6, 0), busy_us=10**9) == 0
        assert worst_case_pusd(free, 10**6, 10**6) == 0

    def test_the_cloud_price_of_the_same_model_is_not_its_price(self) -> None:
        section = {"m": {"input_usd_per_mtok": "2", "output_usd_per_mtok": "2"}}
        assert price({"kind": "lmstudio"}, section).price_id == "local:free"

    def test_a_local_price_may_be_stated(self) -> None:
        stated = price({"kind": "lmstudio", "input_usd_per_mtok": "0.01", "output_usd_per_mtok": "0.02"})
        assert cost_pusd(stated, Usage(100, 0, 0, 100, 0)) == 3_000_000


class TestWorstCase:
    def test_a_tenth_more_input_and_the_longest_answer(self) -> None:
        # 1,000 x 1.1 x 0.15/M + 4,096 x 0.60/M = 0.000165 + 0.0024576
        assert worst_case_pusd(price({"model": "gpt-4o-mini"}), 1000, 4096) == usd_to_pusd("0.0026226")

    def test_it_rounds_up(self) -> None:
        assert worst_case_pusd(flat("0.000001", "0"), 1, 0) == 2  # 1.1 pico-dollars

    def test_input_that_may_reach_the_next_tier_is_reserved_at_its_price(self) -> None:
        pro = price({"kind": "gemini", "model": "gemini-2.5-pro"})
        # 190,000 counted may be 209,000: 209,000 x 2.5/M + 1,000 x 15/M
        assert worst_case_pusd(pro, 190_000, 1000) == usd_to_pusd("0.5375")
        assert worst_case_pusd(pro, 180_000, 1000) == usd_to_pusd("0.2575")

    def test_written_cache_may_be_the_dearest_input(self) -> None:
        sonnet = price({"kind": "anthropic", "model": "claude-sonnet-4-5"})
        assert worst_case_pusd(sonnet, 1000, 0) == usd_to_pusd("0.004125")  # 1,100 x 3.75/M


RATE = st.decimals(0, 1000, places=12)
TOKENS = st.integers(0, 2_000_000)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    fields = ("input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_usd_per_mtok")
    return price({field: str(draw(RATE)) for field in fields})


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, written, plain = (draw(TOKENS) for _ in range(3))
    output = draw(TOKENS)
    return Usage(cached + written + plain, cached, written, output, draw(st.integers(0, output)))


@given(prices(), usages())
def test_the_integer_is_the_decimal_rounded_up(price: Price, usage: Usage) -> None:
    rates = price.tiers[0]
    exact = (
        Decimal(usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens) * rates.input
        + Decimal(usage.cached_input_tokens) * rates.cached_input
        + Decimal(usage.cache_write_tokens) * rates.cache_write
        + Decimal(usage.output_tokens) * rates.output
    ) / 10**6
    assert 0 <= cost_pusd(price, usage) - exact < 1


@given(prices(), usages(), st.integers(1, 1000))
def test_cost_is_linear_in_tokens(price: Price, usage: Usage, times: int) -> None:
    many = Usage(*(times * getattr(usage, field) for field in Usage.__struct_fields__))
    assert 0 <= times * cost_pusd(price, usage) - cost_pusd(price, many) < times


@given(prices(), usages())
def test_the_reservation_covers_every_bill_within_its_bounds(price: Price, usage: Usage) -> None:
    counted = -(-usage.input_tokens * 10 // 11)  # our count was up to a tenth too low
    assert worst_case_pusd(price, counted, usage.output_tokens) >= cost_pusd(price, usage)


@given(st.lists(st.integers(0, 10**24), max_size=50))
def test_amounts_are_exact_on_both_sides_of_parquet(amounts: list[int]) -> None:
    column = pa.array(map(money.pusd_to_usd, amounts), pa.decimal128(38, 12))
    assert [usd_to_pusd(each) for each in column.to_pylist()] == amounts
    total = pyarrow.compute.sum(column).as_py() if amounts else Decimal(0)
    assert usd_to_pusd(total) == sum(amounts)


@given(st.integers(-(10**26), 10**26))
def test_text_and_back(pusd: int) -> None:
    text = money.pusd_to_usd_str(pusd)
    assert usd_to_pusd(text) == pusd
    assert "E" not in text


@pytest.mark.parametrize(
    ("pusd", "text"),
    [
        (0, "0.00"),
        (150_000_000, "0.00015"),
        (12_500_000_000_000, "12.50"),
        (1, "0.000000000001"),
        (-5 * 10**11, "-0.50"),
    ],
)
def test_money_as_text(pusd: int, text: str) -> None:
    assert money.pusd_to_usd_str(pusd) == text


def test_dollars_are_exact_and_never_floats() -> None:
    assert usd_to_pusd("0.1") == 10**11
    assert usd_to_pusd(Decimal("9007.199254740993")) == 9_007_199_254_740_993
    assert usd_to_pusd("123456789012345678.123456789012") == 123456789012345678_123456789012
    assert usd_to_pusd("0.0000000000001") == 1  # what was reported is never booked lower
    assert usd_to_pusd(3) == 3 * 10**12
    for wrong in (0.1, True):
        with pytest.raises(TypeError):
            usd_to_pusd(wrong)  # type: ignore[arg-type]


def test_nano_dollars_round_against_the_spender() -> None:
    assert money.pusd_to_nusd_ceil(1) == 1
    assert money.pusd_to_nusd_ceil(1000) == 1
    assert money.pusd_to_nusd_ceil(1001) == 2
    assert money.usd_to_nusd("10.00") == 10**10
    assert money.usd_to_nusd("0.0000000019") == 1


def _chat_prices() -> list[tuple[Any, Any, dict[str, str] | None]]:
    from genai_prices.data_snapshot import get_snapshot

    contexts: list[dict[str, str] | None] = [None, {"processing": "batch"}]
    return [
        (provider, model, context)
        for provider in get_snapshot().providers
        if provider.id in ("openai", "anthropic", "google", "cerebras", "groq", "mistral", "x-ai")
        for model in provider.models
        for context in contexts
        if getattr(model.get_prices(AT), "input_mtok", None) is not None
        and getattr(model.get_prices(AT), "output_mtok", None) is not None
    ]


def test_our_integers_are_the_price_lists_decimals() -> None:
    """Tiers, batch and cached prices are flattened into integers; the list's own arithmetic must give the same."""
    from genai_prices.types import Usage as ListUsage

    checked = 0
    for provider, model, context in _chat_prices():
        tiers = price_list._list_tiers(model.get_prices(AT, context))
        for usage in (Usage(1000, 0, 0, 100, 0), Usage(300_000, 100_000, 0, 70_000, 9), Usage(200_001, 1, 0, 1, 1)):
            listed = model.calc_price(
                ListUsage(
                    input_tokens=usage.input_tokens,
                    cache_read_tokens=usage.cached_input_tokens,
                    output_tokens=usage.output_tokens,
                    output_reasoning_tokens=usage.reasoning_tokens,
                ),
                provider,
                genai_request_timestamp=AT,
                price_context=context,
            )
            ours = cost_pusd(Price("x", AT.date(), "billed", tiers, tiers), usage)
            assert ours == usd_to_pusd(listed.total_price), (provider.id, model.id, context)
            checked += 1
    assert checked > 500
