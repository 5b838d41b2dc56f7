"""The name of every file under the data root; names only, nothing is opened here."""

from __future__ import annotations

import re
from hashlib import blake2b

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


def audit_part(run_id: str, part_id: str) -> str:
    """Answers of audit calls; what they say is in `audits`."""
    return f"{run_dir(run_id)}/audits/{part_id}.parquet"


def audit_parts_dir(run_id: str) -> str:
    return f"{run_dir(run_id)}/audits"


def audits(day: str, run_id: str) -> str:
    """`day` is the UTC date on which the run ended."""
    return f"{audits_day(day)}/{run_id}.parquet"


def audits_day(day: str) -> str:
    return f"{audits_dir()}/day={day}"


def audits_dir() -> str:
    """One folder for each day."""
    return "audits"


def results(run_id: str) -> str:
    return f"{run_dir(run_id)}/results.parquet"


def costs_part(day: str, run_id: str, part_id: str) -> str:
    """`day` is the UTC date on which the calls started."""
    return f"costs/day={day}/{run_id}.{part_id}.parquet"


def events_part(day: str, name: str) -> str:
    return f"events/day={day}/{name}.parquet"


def run_record(run_id: str) -> str:
    return f"{run_dir(run_id).replace('results/run=', 'runs/')}.json"


def index_dir() -> str:
    return "index"


def index_whole() -> str:
    """The mark of a list of ended runs from which none is missing that was of use when it was made."""
    return f"{index_dir()}/whole"


def ended_dir(client: str) -> str:
    """One empty file for each of a client's ended runs; hashed, since names may differ in case only."""
    return f"{index_dir()}/client={blake2b(client.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def ended_run(client: str, finished_ms: int, run_id: str) -> str:
    return f"{ended_dir(client)}/{finished_ms:015d}.{run_id}"


def of_ended_run(name: str) -> tuple[int, str] | None:
    """When a run ended and its id; None for a file that is none of ours."""
    finished_ms, _, run_id = name.rpartition("/")[2].partition(".")
    return (int(finished_ms), run_id) if finished_ms.isdecimal() and is_run_id(run_id) else None


def answered_part(client: str, newest_ms: int, oldest_ms: int, run_id: str) -> str:
    """Answered prompts of small runs that ended in between; `run_id` is the newest one's."""
    return f"{ended_dir(client)}/{newest_ms:015d}.{oldest_ms:015d}.{run_id}.parquet"


def of_answered_part(name: str) -> int | None:
    """When the newest run of such a file ended; None for any other file."""
    newest_ms, *rest = name.rpartition("/")[2].split(".")
    return int(newest_ms) if newest_ms.isdecimal() and len(rest) == 3 and rest[2] == "parquet" else None


def first_row(chunk_name: str) -> int:
    """The first row of a chunk part."""
    return int(chunk_name.rsplit("-", 1)[1].removesuffix(".parquet"))


def rehearsal() -> str:
    """The mark of a data root in which stand-in servers answer; it names their scenario."""
    return "rehearsal.json"


def upload(file_id: str, form: str) -> str:
    """A file of the HTTP API, or a run's own source; `form` is jsonl, parquet or csv."""
    if not is_run_id(file_id):
        raise ValueError(f"not a file id: {file_id!r}")
    return f"{uploads_dir()}/{file_id}.{form}"


def uploads_dir() -> str:
    return "files"


def inbox_dir(run_id: str) -> str:
    """The small submissions of an inbox run."""
    if not is_run_id(run_id):
        raise ValueError(f"not a run id: {run_id!r}")
    return f"inbox/{run_id}"


def inbox_segment(run_id: str, number: int) -> str:
    return f"{inbox_dir(run_id)}/{number:06d}.jsonl"


def performance() -> str:
    """What `spillway bench` measured."""
    return "model_performance.json"


def redis_dir() -> str:
    return "redis"
