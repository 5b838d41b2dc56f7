"""Small results and ledger frames for the tests of reports and invariants: each row gives only what matters."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pyarrow as pa

from pipelines import schemas
from pipelines.money import Price, Rates, usd_to_pusd

RUN = "20260301-080000-abc123"
T0 = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


ANSWER = {
    "lane": "local", "target": "gpu", "provider": "lmstudio", "model": "qwen", "finish_reason": "stop",
    "input_tokens": 100, "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 10, "reasoning_tokens": 0,
    "http_status": 200, "started_at": at(0), "finished_at": at(1),
}  # fmt: skip
"""What an answered row has of its call."""


def result(row: int, **values: Any) -> dict[str, Any]:
    defaults = {
        "run_id": RUN, "row": row, "custom_id": str(row), "client": "default", "status": "ok", "route": "small",
        "cost_usd": Decimal(0), "avoided_usd": Decimal(0), "attempts": 1, "tags": "{}",
    }  # fmt: skip
    answered = values.get("status", "ok") in ("ok", "refused", "duplicate")
    told = {**ANSWER, "output": f"answer {row}"} if answered else {"started_at": at(0), "finished_at": at(1)}
    return {**defaults, **told, **values}


def duplicate(row: int, of: int | None, **values: Any) -> dict[str, Any]:
    return result(row, **{"status": "duplicate", "duplicate_of": of, "attempts": 0, "output": f"answer {of}", **values})


def call(number: int, row: int | None, **values: Any) -> dict[str, Any]:
    defaults = {
        "call_id": f"{RUN}.b{number}:1:{number}", "purpose": "answer", "run_id": RUN, "row": row, "client": "default",
        "attempt": 1, "custom_id": None if row is None else str(row), "lane": "local", "target": "gpu",
        "provider": "lmstudio", "model": "qwen", "route": "small", "outcome": "ok", "http_status": 200,
        "input_tokens": 100, "cached_input_tokens": 0, "cache_write_tokens": 0, "output_tokens": 10,
        "reasoning_tokens": 0, "price_id": "p", "price_as_of": date(2026, 1, 1), "cost_usd": Decimal(0),
        "cost_basis": "billed", "avoided_usd": Decimal(0), "started_at": at(0), "finished_at": at(1),
    }  # fmt: skip
    return {**defaults, **values}


def price(usd: str) -> Price:
    """One at which a call of this file's defaults (100 tokens in, 10 out) costs so many dollars."""
    rates = (Rates(usd_to_pusd(usd) * 10**4, 0, 0, 0, 0),)
    return Price("p", date(2026, 1, 1), "billed", rates, rates)


PRICES = [price("0"), price("0.001"), price("0.002")]
"""What stands beside the ledgers of scripted workers."""


def results_frame(rows: list[dict[str, Any]]) -> pl.LazyFrame:
    return _frame(rows, schemas.RESULTS)


def costs_frame(rows: list[dict[str, Any]]) -> pl.LazyFrame:
    return _frame(rows, schemas.COSTS)


def chunks_frame(rows: list[dict[str, Any]]) -> pl.LazyFrame:
    return _frame(rows, schemas.CHUNK)


def parts_frame(rows: list[dict[str, Any]]) -> pl.LazyFrame:
    return _frame(rows, schemas.PART)


def _frame(rows: list[dict[str, Any]], schema: pa.Schema) -> pl.LazyFrame:
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    frame = pl.from_arrow(pa.Table.from_arrays(columns, schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy()
