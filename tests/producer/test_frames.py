"""What commands read of a data root, on an object store too: a real S3 server is asked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipelines import beside, paths, schemas
from pipelines.money import Price
from pipelines.prices import price_of
from pipelines.sections import Target
from producer.cli import frames
from tests import support_bucket
from tests.support_frames import RUN
from worker.store import Store


@support_bucket.needs_store
def test_prices_of_a_runs_calls_are_read_from_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    price = price_of(Target(kind="openai", model="gpt-4o-mini"), {}, datetime(2026, 11, 26, tzinfo=UTC), name="mini")
    assert isinstance(price, Price)
    with support_bucket.bucket(monkeypatch) as url:
        for part in ("00000001", "00000002"):
            table = beside.noted(schemas.COSTS.empty_table(), [price])
            Store(url).write_table(paths.costs_part("2026-11-26", RUN, part), table)
        assert frames.prices(url, RUN) == [price], "each once"
        assert frames.prices(url, f"{RUN}0") == []
