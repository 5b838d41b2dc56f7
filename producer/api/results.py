"""A run's rows on their way to its client, a block at a time: as JSON lines, CSV, Parquet or OpenAI's lines."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, Literal, cast

from starlette.responses import Response, StreamingResponse

from pipelines import paths
from producer import partial
from producer.api.files import BLOCK_BYTES, blocks
from producer.api.state import State
from producer.exports import LINES, rows_of
from producer.runs import RunView

Format = Literal["jsonl", "csv", "parquet", "openai"]
MEDIA: dict[str, str] = {
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "openai": "application/jsonl",
}
DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "Rows", "content": {each.partition(";")[0]: {} for each in MEDIA.values()}}
}
TABLE_ROWS = 512


async def respond(here: State, run: RunView, form: Format) -> Response:
    """All rows of a run that has ended, else those that are settled so far; `x-spillway-run-status` says which."""
    name = paths.results(run.run_id)
    whole = run.ended and await asyncio.to_thread(here.store.exists, name)
    headers = {"x-spillway-run-status": run.status, "x-content-type-options": "nosniff"}
    if form == "parquet":
        stream = await asyncio.to_thread(here.store.open, name) if whole else await asyncio.to_thread(_table, here, run)
        return StreamingResponse(blocks(stream), media_type=MEDIA[form], headers=headers)
    rows = rows_of(here.store.path(name)) if whole else so_far(here, run)
    return StreamingResponse(gathered(LINES[form](rows)), media_type=MEDIA[form], headers=headers)


def gathered(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Lines, many at a time: each step to a thread and back has its price."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


def so_far(here: State, run: RunView) -> Iterator[dict[str, Any]]:
    """What is settled, with all the columns of results.parquet; a row without an id goes by its number."""
    from pipelines.schemas import RESULTS

    for row in partial.rows_so_far(here.store, run.run_id):
        known = {"client": run.client, "tags": "{}", **row}
        known["custom_id"] = known["custom_id"] if known["custom_id"] is not None else str(row["row"])
        yield {name: known.get(name) for name in RESULTS.names}


def _table(here: State, run: RunView) -> BinaryIO:
    """The same as a Parquet file without a name, from its beginning."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.schemas import RESULTS

    file = tempfile.TemporaryFile()  # noqa: SIM115  # whoever reads it to its end closes it
    with pq.ParquetWriter(file, RESULTS, compression="zstd") as out:
        block: list[dict[str, Any]] = []
        for row in so_far(here, run):
            block.append(row)
            if len(block) == TABLE_ROWS:
                out.write_table(pa.Table.from_pylist(block, RESULTS))
                block.clear()
        out.write_table(pa.Table.from_pylist(block, RESULTS))
    file.seek(0)
    return cast(BinaryIO, file)
