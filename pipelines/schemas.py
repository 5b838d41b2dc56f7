"""The Arrow schema of every Parquet file that Spillway writes; docs/results.md describes the first two."""

from __future__ import annotations

import pyarrow as pa

MONEY = pa.decimal128(38, 12)
TIME = pa.timestamp("us", tz="UTC")
VERSION = {b"spillway.schema": b"1"}


def _always(name: str, kind: pa.DataType) -> pa.Field:
    """A column without nulls: a file that would hold one is not written."""
    return pa.field(name, kind, nullable=False)


RESULTS = pa.schema(
    [
        _always("run_id", pa.string()),
        _always("row", pa.int64()),
        _always("custom_id", pa.string()),
        _always("client", pa.string()),
        _always("status", pa.string()),
        ("output", pa.string()),
        ("parsed", pa.string()),
        ("finish_reason", pa.string()),
        ("route", pa.string()),
        ("lane", pa.string()),
        ("target", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
        ("duplicate_of", pa.int64()),
        ("duplicate_run", pa.string()),
        ("similarity", pa.float32()),
        ("quality", pa.float32()),
        ("input_tokens", pa.int64()),
        ("cached_input_tokens", pa.int64()),
        ("cache_write_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        _always("cost_usd", MONEY),
        _always("avoided_usd", MONEY),
        _always("attempts", pa.int32()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("http_status", pa.int32()),
        ("response", pa.string()),
        _always("tags", pa.string()),
        ("started_at", TIME),
        ("finished_at", TIME),
    ],
    metadata=VERSION,
)

COSTS = pa.schema(
    [
        _always("call_id", pa.string()),
        _always("purpose", pa.string()),
        ("run_id", pa.string()),
        ("row", pa.int64()),
        ("custom_id", pa.string()),
        _always("client", pa.string()),
        _always("attempt", pa.int32()),
        _always("lane", pa.string()),
        _always("target", pa.string()),
        _always("provider", pa.string()),
        _always("model", pa.string()),
        _always("route", pa.string()),
        _always("outcome", pa.string()),
        ("http_status", pa.int32()),
        ("error_code", pa.string()),
        _always("input_tokens", pa.int64()),
        _always("cached_input_tokens", pa.int64()),
        _always("cache_write_tokens", pa.int64()),
        _always("output_tokens", pa.int64()),
        _always("reasoning_tokens", pa.int64()),
        _always("price_id", pa.string()),
        _always("price_as_of", pa.date32()),
        _always("cost_usd", MONEY),
        _always("cost_basis", pa.string()),
        _always("avoided_usd", MONEY),
        ("avoided_cause", pa.string()),
        _always("started_at", TIME),
        _always("finished_at", TIME),
    ],
    metadata=VERSION,
)

PART = pa.schema(
    [
        ("generation", pa.int32()),
        *[
            RESULTS.field(name)
            for name in [
                "row",
                "status",
                "output",
                "parsed",
                "finish_reason",
                "route",
                "lane",
                "target",
                "provider",
                "model",
                "quality",
                "input_tokens",
                "cached_input_tokens",
                "cache_write_tokens",
                "output_tokens",
                "reasoning_tokens",
                "cost_usd",
                "avoided_usd",
                "attempts",
                "error_code",
                "error_message",
                "http_status",
                "response",
                "started_at",
                "finished_at",
            ]
        ],
        ("worth_usd", MONEY),  # the answer's price in the cloud: what each duplicate of it avoids
    ],
    metadata=VERSION,
)
"""A settled part: what a call made of a row; identity, links and tags come from the chunk parts."""

CHUNK = pa.schema(
    [
        ("row", pa.int64()),
        ("custom_id", pa.string()),
        ("tags", pa.string()),
        ("route", pa.string()),
        ("kind", pa.string()),  # asked | link | invalid
        ("key", pa.binary(16)),
        ("canonical", pa.binary(16)),
        ("family", pa.binary(8)),
        ("vector", pa.binary()),
        ("text", pa.string()),
        ("leader_row", pa.int64()),
        ("leader_run", pa.string()),
        ("link_kind", pa.string()),  # exact | canonical | edit | semantic
        ("similarity", pa.float32()),
        ("guard", pa.string()),
        ("error_code", pa.string()),
        ("error_message", pa.string()),
        ("miss_row", pa.int64()),  # the nearest prompt that a guard did not let pass for the same
        ("miss_run", pa.string()),
        ("miss_cosine", pa.float32()),
        ("miss_guard", pa.string()),
        ("link_key", pa.binary(16)),  # the row's own key, where it follows by proof: its exact copies are told by it
    ],
    metadata=VERSION,
)
"""What prepare decided about each row of a chunk; written before the chunk is committed. `text` is kept of rows that
others may follow, and of those that follow by more than an exact key: for reports."""

UNJOINED = (
    "key", "canonical", "family", "vector", "text", "miss_row", "miss_run", "miss_cosine", "miss_guard", "link_key",
)  # fmt: skip
"""Columns of a chunk part that results do not need."""

ANSWERED = pa.schema(
    [
        ("run_id", pa.string()),
        ("when_ms", pa.int64()),
        ("route", pa.string()),
        *(CHUNK.field(name) for name in ("row", "key", "canonical", "family", "vector", "text")),
    ],
    metadata=VERSION,
)
"""Answered prompts of several small runs: what the client's index needs of them."""

AUDITS = pa.schema(
    [
        ("run_id", pa.string()),
        ("client", pa.string()),
        ("route", pa.string()),
        ("row", pa.int64()),
        ("part", pa.string()),  # reuse | baseline: a prompt asked twice
        ("link_kind", pa.string()),
        ("guard", pa.string()),
        ("leader_row", pa.int64()),
        ("leader_run", pa.string()),
        ("agrees", pa.bool_()),
        ("measure", pa.string()),  # label | json | tools | text | check: one of both failed its check or was refused
        ("likeness", pa.float32()),
        ("published", pa.string()),
        ("asked", pa.string()),
        ("at", TIME),
    ],
    metadata=VERSION,
)
"""Reuses that were really asked, beside their leaders (or they themselves) asked twice, and whether both answers agree."""

EVENTS = pa.schema(
    [
        ("event_id", pa.string()),
        ("at", TIME),
        (
            "kind",
            pa.string(),
        ),  # budget_alert | emergency_cutoff | target_down | target_up | target_closed | target_model
        ("day", pa.date32()),
        ("scope", pa.string()),
        ("client", pa.string()),
        ("run_id", pa.string()),
        ("target", pa.string()),
        ("limit_usd", MONEY),
        ("spent_usd", MONEY),
        ("reserved_usd", MONEY),
        ("message", pa.string()),
    ],
    metadata=VERSION,
)
"""What happened beside the runs: alerts, cut-offs, targets that went and came back. One file per event, its name made
from what it tells."""
