"""The name of every file under the data root; names only, nothing is opened here."""

from __future__ import annotations

import re

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_run_id(text: str) -> bool:
    """Only such ids ever become part of a path."""
    return _RUN_ID.fullmatch(text) is not None


def run_dir(run_id: str) -> str:
    if not is_run_id(run_id):
        raise ValueError(f"not a run id: {run_id!r}")
    return f"results/run={run_id}"


def chunk(run_id: str, generation: int, first_row: int) -> str:
    return f"{run_dir(run_id)}/chunks/{generation:04d}-{first_row:012d}.parquet"


def chunks_dir(run_id: str) -> str:
    return f"{run_dir(run_id)}/chunks"


def part(run_id: str, part_id: str) -> str:
    return f"{run_dir(run_id)}/parts/{part_id}.parquet"


def parts_dir(run_id: str) -> str:
    return f"{run_dir(run_id)}/parts"


def results(run_id: str) -> str:
    return f"{run_dir(run_id)}/results.parquet"


def costs_part(day: str, run_id: str, part_id: str) -> str:
    """`day` is the UTC date on which the calls started."""
    return f"costs/day={day}/{run_id}.{part_id}.parquet"


def events_part(day: str, name: str) -> str:
    return f"events/day={day}/{name}.parquet"


def run_record(run_id: str) -> str:
    return f"{run_dir(run_id).replace('results/run=', 'runs/')}.json"


def redis_dir() -> str:
    return "redis"
