"""Which columns of the two published files may be empty; a file with a hole elsewhere is not written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import schemas
from tests.support_frames import call, result

OPTIONAL = {
    "results": {
        "output", "parsed", "finish_reason", "route", "lane", "target", "provider", "model", "duplicate_of",
        "duplicate_run", "similarity", "quality", "input_tokens", "cached_input_tokens", "cache_write_tokens",
        "output_tokens", "reasoning_tokens", "error_code", "error_message", "http_status", "response", "started_at",
        "finished_at",  # a row that was never asked has no times
    },
    "costs": {"run_id", "row", "custom_id", "http_status", "error_code", "avoided_cause"},
}  # fmt: skip


@pytest.mark.parametrize(("name", "schema"), [("results", schemas.RESULTS), ("costs", schemas.COSTS)])
def test_only_these_columns_may_be_empty(name: str, schema: pa.Schema) -> None:
    assert {field.name for field in schema if field.nullable} == OPTIONAL[name]


@pytest.mark.parametrize("schema", [schemas.RESULTS, schemas.COSTS], ids=["results", "costs"])
def test_a_hole_in_another_column_is_not_written(tmp_path: Path, schema: pa.Schema) -> None:
    whole = result(0) if schema is schemas.RESULTS else call(0, 0)
    pq.write_table(pa.Table.from_pylist([whole], schema), tmp_path / "whole.parquet")
    assert pq.read_schema(tmp_path / "whole.parquet").equals(schema, check_metadata=True)
    for field in schema:
        if not field.nullable:
            with pytest.raises(pa.ArrowInvalid, match="non-nullable"):
                pq.write_table(pa.Table.from_pylist([{**whole, field.name: None}], schema), tmp_path / "no.parquet")
