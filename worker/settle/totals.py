"""A run's figures: counted from its rows as they are written, and from its ledger parts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import schemas
from worker.settle.parts import ledger_names
from worker.store import Store


def ledger_totals(store: Store, run_id: str) -> dict[str, int]:
    """Calls and dollars of a run, from its ledger parts."""
    calls: Counter[str] = Counter()
    cost = 0
    for name in ledger_names(store, run_id):
        table = store.read_table(name, columns=["lane", "cost_usd"])
        cost += int(pusd(table["cost_usd"]).sum())
        for each in pc.value_counts(table["lane"]).to_pylist():
            calls[each["values"]] += each["counts"]
    return {
        "calls": calls.total(), "local_calls": calls["local"], "cloud_calls": calls.total() - calls["local"],
        "provider_batch_calls": calls["provider_batch"], "cost_pusd": cost,
    }  # fmt: skip


class Totals:
    """The run's figures, counted from the rows as they are written."""

    def __init__(self) -> None:
        self.statuses: Counter[str] = Counter()
        self.rows = self.cost = self.avoided = 0

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        for each in pc.value_counts(table["status"]).to_pylist():
            self.statuses[each["values"]] += each["counts"]
        self.cost += int(pusd(table["cost_usd"]).sum())
        self.avoided += int(pusd(table["avoided_usd"]).sum())

    def as_dict(self) -> dict[str, Any]:
        names = ("ok", "duplicate", "invalid", "failed", "refused", "expired", "cancelled")
        counts = {name: self.statuses.get(name, 0) for name in names}
        return {
            "rows": self.rows, **counts, "unanswered": counts["expired"] + counts["cancelled"],
            "results_cost_pusd": self.cost, "avoided_pusd": self.avoided,
        }  # fmt: skip


def pusd(column: pa.ChunkedArray) -> np.ndarray:
    """Dollars as decimal128(38, 12) back to integer pico-dollars (below 9.2 million dollars a row)."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], schemas.MONEY)
    wide = np.frombuffer(array.buffers()[1] or b"", dtype=np.int64)
    wide = wide[array.offset * 2 : (array.offset + len(array)) * 2].reshape(-1, 2)
    values = wide[:, 0].copy()
    if array.null_count:
        values[np.asarray(array.is_null().to_numpy(zero_copy_only=False), bool)] = 0
    return values
