"""What commands read of a data root, on an object store too: a real S3 server is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import beside, paths, schemas
from pipelines.config.sections import Target
from pipelines.money import Price
from pipelines.prices import price_of
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


def test_a_run_with_chunk_parts_of_two_versions_is_read(tmp_path: Path) -> None:
    """One that was half prepared when its workers were upgraded made every report on duplicates fail."""
    store, new = Store(str(tmp_path)), schemas.CHUNK
    old = new.remove(new.get_field_index("link_key"))
    for first, schema in ((0, old), (10, new)):
        row = {"row": first, "link_kind": "edit", "guard": "typo"}
        table = pa.table({name: pa.array([row.get(name)], schema.field(name).type) for name in schema.names})
        store.write_table(paths.chunk(RUN, 1, first), table)
    assert frames.chunk_rows(str(tmp_path), RUN) == 11
    assert frames.chunks(str(tmp_path), [RUN]).collect()["row"].sort().to_list() == [0, 10]
