"""What a batch is expected to cost, whoever reckons it: so many calls, each at the rates of its own prompt and with its own fee."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pipelines.batch import Asked
from pipelines.money import cost_pusd, usd_to_pusd
from pipelines.settings import parse_settings
from pipelines.types import BatchHead, Item, Options, Usage
from worker.clock import Clock
from worker.context import Context
from worker.dryrun import _parts
from worker.money.ledger import Ledger
from worker.prepare.chunk import Chunk
from worker.prepare.sift import Asker, Sifter
from worker.schedule.estimates import Estimates
from worker.targets import Targets

MODELS = {
    "pro": {"kind": "gemini", "model": "gemini-2.5-pro", "rows": 256, "each": (1000, 200), "usd": "0.832"},
    "claude": {"kind": "anthropic", "model": "claude-sonnet-4-5", "rows": 256, "each": (1000, 200), "usd": "1.536"},
    "sonar": {"kind": "openai", "model": "sonar", "provider": "perplexity", "rows": 16, "each": (1000, 150), "usd": "0.2104"},
}  # fmt: skip
"""Two with dearer rates above 200,000 tokens of one prompt, and one that takes $12 for a thousand requests besides."""


def heads(told: dict[str, Any]) -> tuple[Ledger, Targets, BatchHead]:
    """A batch of rows that are alike, as prepare cuts it."""
    rows, (read, written) = told["rows"], told["each"]
    named = {name: value for name, value in told.items() if name in ("kind", "model", "provider")}
    cloud = {**named, "lane": "cloud", "base_url": "http://127.0.0.1:1/v1", "api_key": "k"}
    settings = parse_settings({"targets": {"cloud": cloud}, "routes": {"all": {"targets": ["cloud"]}}})
    targets = Targets(settings, Clock())
    ledger = Ledger(settings, targets)
    sifter = Sifter(settings, ledger, None, targets.window)  # type: ignore[arg-type] - nothing is compared
    sifter.rates = {"all": 1e6}
    asked = [Asked(Item(row, b"{}", read, 0), "all", b"", written) for row in range(rows)]
    chunk = Chunk({}, [], Counter(), Counter())
    sifter.cut(Asker("20260101-000000-abcdef", "default", Options()), asked, 0, 0, chunk)
    [(head, _)] = chunk.batches
    return ledger, targets, head


@pytest.mark.parametrize("told", MODELS.values(), ids=MODELS)
def test_a_batch_is_so_many_calls(told: dict[str, Any]) -> None:
    """Summed up, 256 prompts of a thousand tokens were one above the line, and sixteen requests one."""
    ledger, targets, head = heads(told)
    read, written = told["each"]
    price = ledger.price("cloud")
    assert price is not None
    assert told["rows"] * cost_pusd(price, Usage(read, output_tokens=written)) == usd_to_pusd(Decimal(told["usd"]))
    assert head.cloud_pusd == usd_to_pusd(told["usd"]), "prepare: the order in which batches wait"
    [part] = _parts(targets, ledger, {}, [head], [head])
    assert sum(part.away_pusd) == usd_to_pusd(told["usd"]), "spillway plan"


@pytest.mark.parametrize("told", MODELS.values(), ids=MODELS)
def test_the_scheduler_weighs_it_so(told: dict[str, Any], context: Context) -> None:
    ledger, targets, head = heads(told)
    context.settings, context.targets = ledger._settings, targets
    assert Estimates(context).weigh(head).pusd == pytest.approx(usd_to_pusd(told["usd"]))
    dearer = msgspec.structs.replace(head, input_tokens=told["rows"] * 300_000)
    if told is not MODELS["sonar"]:
        assert Estimates(context).weigh(dearer).pusd > 1.4 * 300 * usd_to_pusd(told["usd"]) / 3, "each above the line"
