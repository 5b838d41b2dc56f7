"""A worker by script: alive in Redis, takes a run through given steps, writes its files, calls nobody.

The real workers have their own tests; this one makes the program's side of the wire testable in milliseconds.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from redis import Redis

from pipelines import beside, paths, schemas, wire
from tests.support_frames import PRICES, call, result

Step = Callable[["ScriptedWorker", str], None]


class ScriptedWorker:
    """Knows how to say what a worker says."""

    def __init__(self, redis: Redis, keys: wire.Keys, root: Path) -> None:
        self.redis, self.keys, self.root = redis, keys, root

    def set(self, run_id: str, **fields: Any) -> None:
        self.redis.hset(self.keys.run(run_id), mapping=fields)

    def get(self, run_id: str) -> dict[str, str]:
        return self.redis.hgetall(self.keys.run(run_id))  # type: ignore[return-value]

    def lanes(self, in_flight: int = 0, **lanes: dict[str, Any]) -> None:
        targets = {name: {"in_flight": in_flight} for name in lanes}
        self.redis.set(self.keys.worker("scripted"), json.dumps({"roles": [], "batches": {}, "targets": targets}))
        for name, figures in lanes.items():
            self.redis.hset(self.keys.lanes, name, json.dumps(figures))

    def files(self, run_id: str, rows: list[dict[str, Any]], calls: list[dict[str, Any]]) -> None:
        """results.parquet and one ledger part, as settle writes them."""
        write(self.root / paths.results(run_id), [{**row, "run_id": run_id} for row in rows], schemas.RESULTS)
        name = paths.costs_part("2026-03-01", run_id, "00000001")
        write(self.root / name, [{**one, "run_id": run_id} for one in calls], schemas.COSTS)

    def end(self, run_id: str, status: str, **fields: Any) -> None:
        """The run's record, then its end."""
        known = self.get(run_id)
        summary = {name: fields.get(name, 0) for name in ("rows", "ok", "duplicate", "invalid", "failed", "refused")}
        summary["seconds"] = 1.5
        record = {
            "run_id": run_id, "client": known["client"], "fingerprint": known["fingerprint"], "status": status,
            "created_ms": int(known["created_ms"]), "finished_ms": int(known["created_ms"]) + 1500,
            "options": json.loads(known["options"]), "sources": json.loads(known["sources"]), "summary": summary,
        }  # fmt: skip
        path = self.root / paths.run_record(run_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record))
        ended = {
            **fields,
            "status": status,
            "prepared": "1",
            "summary": json.dumps(summary),
            "finished_ms": record["finished_ms"],
        }
        self.redis.hset(self.keys.run(run_id), mapping=ended)
        self.redis.srem(self.keys.open_runs, run_id)


def answer_all(rows: int = 4) -> Step:
    """Half local, the rest in the cloud, the last row a duplicate of the first."""

    def step(worker: ScriptedWorker, run_id: str) -> None:
        price, saved = Decimal("0.001"), Decimal("0.002")
        asked = range(rows - 1)
        results: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        for row in asked:
            local = row % 2 == 0
            money = {"cost_usd": Decimal(0) if local else price, "avoided_usd": saved if local else Decimal(0)}
            where = {"lane": "local" if local else "cloud", "target": "gpu" if local else "mini"}
            results.append(result(row, **money, **where, output=f"answer {row}", custom_id=f"id-{row}"))
            calls.append(call(row, row, **money, **where, avoided_cause="local" if local else None))
        last = rows - 1
        results.append(
            result(last, status="duplicate", duplicate_of=0, avoided_usd=saved, output="answer 0", attempts=0)
        )
        worker.files(run_id, results, calls)
        worker.end(run_id, "completed", rows=rows, ok=rows - 1, duplicate=1)

    return step


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    table = pa.Table.from_arrays(columns, schema=schema)
    pq.write_table(beside.noted(table, PRICES) if schema is schemas.COSTS else table, path, compression="zstd")


@contextmanager
def working(url: str, root: Path, *steps: Step, prefix: str = "spillway") -> Iterator[ScriptedWorker]:
    """Takes the first open run through `steps`, beside whatever the block does."""
    redis = Redis.from_url(url, decode_responses=True)
    worker = ScriptedWorker(redis, wire.Keys(prefix), root)
    redis.hset(worker.keys.workers, "scripted", "{}")
    worker.lanes()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            open_runs = sorted(redis.smembers(worker.keys.open_runs))  # type: ignore[arg-type]
            if open_runs:
                for step in steps:
                    step(worker, open_runs[0])
                return
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield worker
    finally:
        stop.set()
        thread.join(timeout=20)
        redis.close()
