"""Finds the Parquet files under a data root and opens them lazily; what is in them is for reports and checks to say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines import paths, wire
from pipelines.errors import StoreError
from producer.records import Records
from producer.store import opened

if TYPE_CHECKING:
    from datetime import date, datetime

    import polars as pl
    import pyarrow as pa

    from pipelines.beside import Room
    from pipelines.money import Price
    from pipelines.pauses import Pause

MOST_FILES = 64
"""That are opened to learn of targets: each has had calls in one of the newest, or its room is not known."""


def results_files(root: str, run_id: str | None = None) -> list[str]:
    return _files(root, f"results/run={run_id or '*'}/results.parquet")


def costs_files(root: str, run_id: str | None = None) -> list[str]:
    """All ledger files, or those of one run (their names begin with it)."""
    return _files(root, f"costs/day=*/{run_id}.*.parquet" if run_id else "costs/day=*/*.parquet")


def target_events(root: str, target: str, most: int) -> list[dict[str, Any]]:
    """The newest events of a target: `at`, `kind` and `message`, newest first."""
    import polars as pl

    from pipelines import schemas

    events = _lazy(_files(root, paths.events_part("*", "target_*")), schemas.EVENTS)
    mine = events.filter(pl.col("target") == target).select("at", "kind", "message")
    with reading("the events"):
        return mine.sort("at", descending=True).head(most).collect().to_dicts()


def scan(root: str, run_id: str | None = None) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Results and ledger of every run, or of one; empty frames where there are no files."""
    from pipelines import schemas

    return _lazy(results_files(root, run_id), schemas.RESULTS), _lazy(costs_files(root, run_id), schemas.COSTS)


def unfinished(root: str, run_id: str | None, client: str | None) -> list[str]:
    """Runs (or this one) that have calls in the ledger and have not ended: their rows are not in the results yet."""
    records = Records(root)
    names = sorted({PurePosixPath(file).name.partition(".")[0] for file in costs_files(root, run_id)})
    found = [record for name in names if (record := records.read(name)) is not None]
    return [
        record["run_id"]
        for record in found
        if record.get("status") not in wire.RUN_ENDED and client in (None, record.get("client"))
    ]


def with_links(results: pl.LazyFrame, root: str, run_id: str | None = None) -> pl.LazyFrame:
    """Results with the duplicate stage's `link_kind` and `guard`, for runs whose chunk parts are still there."""
    import polars as pl

    found = []
    for file in results_files(root, run_id):
        run = PurePosixPath(file).parent.name.removeprefix("run=")
        chunks = _files(root, f"{paths.chunks_dir(run)}/*.parquet")
        if chunks:
            kinds = _scan(chunks).select("row", "link_kind", "guard").filter(pl.col("link_kind").is_not_null())
            found.append(kinds.with_columns(pl.lit(run).alias("run_id")).unique(["run_id", "row"], keep="any"))
    return results.join(pl.concat(found), on=["run_id", "row"], how="left") if found else results


def chunks(root: str, run_ids: Sequence[str]) -> pl.LazyFrame:
    """The chunk parts of these runs, with their run's id."""
    import polars as pl

    from pipelines import schemas

    found = [
        _scan(files).with_columns(pl.lit(run).alias("run_id"))
        for run in run_ids
        if (files := _files(root, f"{paths.chunks_dir(run)}/*.parquet"))
    ]
    empty = _lazy([], schemas.CHUNK).with_columns(pl.lit("").alias("run_id"))
    return pl.concat([empty, *found], how="diagonal")  # older runs know fewer columns


def parts(root: str, run_id: str) -> pl.LazyFrame | None:
    """A run's settled parts; None when they are gone."""
    files = _files(root, f"{paths.parts_dir(run_id)}/*.parquet")
    return _scan(files) if files else None


def rooms(root: str, run_id: str | None = None) -> dict[str, Room]:
    """By target, what the newest of its ledger files says of its room; of MOST_FILES."""
    import pyarrow.parquet as pq

    from pipelines import beside

    found: dict[str, Room] = {}
    for name in sorted(costs_files(root, run_id), reverse=True)[:MOST_FILES]:
        with opened(name) as stream:
            found = beside.rooms(pq.read_metadata(stream).metadata) | found
    return found


def prices(root: str, run_id: str) -> list[Price]:
    """What the files of a run's ledger say of the prices of their calls."""
    import pyarrow.parquet as pq

    from pipelines import beside

    found: dict[bytes, Price] = {}
    for name in costs_files(root, run_id):
        with opened(name) as stream:
            kept = pq.read_metadata(stream).metadata
        found |= {beside.pack(price): price for price in beside.read(kept)}
    return list(found.values())


def audits(root: str) -> pl.LazyFrame:
    """What the audits of all runs said, and the `day` on which each run ended."""
    import polars as pl

    from pipelines import schemas

    files = _files(root, paths.audits("*", "*"))
    if not files:
        return _lazy([], schemas.AUDITS).with_columns(pl.lit(None, pl.Date).alias("day"))
    day = pl.col("day").str.extract(r"/day=([0-9-]+)/[^/]*$").str.to_date(strict=False)
    return _scan(files, file="day").with_columns(day)


def paused(root: str, allowed: Mapping[str, float], now: datetime) -> dict[str, Pause]:
    """The pauses of reuse that hold now, as the audits tell them; what cannot be read tells nothing."""
    from pipelines import pauses

    def runs() -> Iterator[tuple[date, Iterable[pauses.Said]]]:
        import pyarrow.parquet as pq

        for day in pauses.days(now):
            for name in _files(root, paths.audits(day.isoformat(), "*")):
                # pyarrow's errors are one of these
                with suppress(OSError, ValueError, KeyError), opened(name) as stream:
                    table = pq.ParquetFile(stream).read(columns=pauses.COLUMNS)
                    yield day, pauses.said(table)

    return pauses.of_audits(runs(), allowed, now)


def texts(root: str, keys: Sequence[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The user's words of these rows (run, row), as far as chunk parts keep them."""
    import polars as pl

    from pipelines import dedup

    found = {}
    for run in sorted({run for run, _ in keys}):
        rows = [row for of, row in keys if of == run]
        kept = chunks(root, [run]).filter(pl.col("row").is_in(rows) & pl.col("text").is_not_null())
        for row, text in kept.select("row", "text").collect().iter_rows():
            found[run, row] = dedup.read(text).text
    return found


def chunk_rows(root: str, run_id: str) -> int | None:
    """How many rows of the source a run's chunk parts cover; None when they are gone."""
    import polars as pl

    chunks = _files(root, f"{paths.chunks_dir(run_id)}/*.parquet")
    if not chunks:
        return None
    with reading(f"run {run_id}"):
        return int(_scan(chunks).select(pl.col("row").max()).collect().item() or 0) + 1


class Index(NamedTuple):
    """What a data root keeps for reuse: how much, what is damaged, and runs whose files are gone."""

    clients: int
    runs: int
    damaged: list[str]
    lost: list[str]


def index(root: str) -> Index:
    """Ended runs and files of answered prompts that later runs may reuse; the files are opened, not read."""
    import pyarrow.parquet as pq

    marks = _files(root, "index/client=*/*")
    files = [name for name in marks if name.endswith(".parquet")]
    runs = [mark[1] for name in marks if (mark := paths.of_ended_run(name)) and not name.endswith(".parquet")]
    damaged = []
    for name in files:
        try:
            pq.ParquetFile(name) if "://" not in root else _scan([name]).collect_schema()
        except Exception:  # of pyarrow, of polars, of the operating system
            damaged.append(PurePosixPath(name).name)
    lost = [run for run in runs if not _files(root, f"{paths.chunks_dir(run)}/*.parquet")]
    clients = {PurePosixPath(name).parent.name for name in marks}
    return Index(len(clients), len(runs) - len(lost), damaged, lost)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """A file that is damaged or gone becomes one line."""
    from polars.exceptions import PolarsError

    try:
        yield
    except (PolarsError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise StoreError(f"cannot read the files of {what}: {reason}; `spillway doctor` checks them") from None


def _lazy(files: list[str], schema: pa.Schema) -> pl.LazyFrame:
    import polars as pl

    if files:
        return _scan(files)
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return empty.lazy()


def _scan(files: list[str], file: str | None = None) -> pl.LazyFrame:
    import polars as pl

    # a run may have parts of two versions
    return pl.scan_parquet(
        files, hive_partitioning=False, glob=False, extra_columns="ignore", missing_columns="insert",
        include_file_paths=file,
    )  # fmt: skip


def _files(root: str, pattern: str) -> list[str]:
    if "://" not in root:
        return sorted(str(path) for path in Path(root).resolve().glob(pattern))
    from pyarrow import fs

    scheme = root.partition("://")[0]
    store, where = fs.FileSystem.from_uri(root)
    first = pattern.split("*")[0].rpartition("/")[0]
    found = store.get_file_info(fs.FileSelector(f"{where}/{first}", recursive=True, allow_not_found=True))
    names = (info.path for info in found if info.type == fs.FileType.File)
    return sorted(f"{scheme}://{name}" for name in names if PurePosixPath(name).match(pattern))
