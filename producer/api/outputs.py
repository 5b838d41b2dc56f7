"""The output and error files of a batch, made of its run's results.parquet when the run has ended; written once each.

Their ids follow from the batch: a server that is killed while it writes leaves nothing that is not written over.
"""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import blake2b
from typing import Any, BinaryIO, NamedTuple

from pipelines import paths
from pipelines.dialects import openai_lines
from producer.api.state import State
from producer.batches import Batch
from producer.exports import line_bytes, rows_of
from producer.uploads import Upload

COLUMNS = (
    "run_id", "row", "custom_id", "status", "output", "finish_reason", "model", "input_tokens", "cached_input_tokens",
    "output_tokens", "reasoning_tokens", "error_code", "error_message", "http_status", "response", "finished_at",
)  # fmt: skip
KINDS = ("output", "error")


class Made(NamedTuple):
    """The files that there are, and what the batch's record says of them."""

    files: list[Upload]
    fields: dict[str, Any]


def write(here: State, batch: Batch) -> Made:
    """One file for each kind that has lines. Blocking."""
    counts = dict.fromkeys(KINDS, 0)
    sizes = dict.fromkeys(KINDS, 0)
    tokens = dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"), 0)
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for row in _rows(here, batch.run_id):
            kind = KINDS[0] if openai_lines.answered(row["status"]) else KINDS[1]
            if kind not in files:
                name = paths.upload(_file_id(batch, kind), "jsonl")
                files[kind] = stack.enter_context(here.store.create(name))
            line = line_bytes(openai_lines.line_of(row, batch.endpoint))
            files[kind].write(line)
            counts[kind] += 1
            sizes[kind] += len(line)
            if row["status"] == "ok":
                for name in tokens:
                    tokens[name] += row[name] or 0
    made = [_upload(here, batch, kind, sizes[kind]) for kind in KINDS if counts[kind]]
    ids = {f"{kind}_file_id": _file_id(batch, kind) if counts[kind] else None for kind in KINDS}
    return Made(made, {**ids, "completed": counts["output"], "failed": counts["error"], "usage": _usage(tokens)})


def _rows(here: State, run_id: str) -> Any:
    name = paths.results(run_id)
    return rows_of(here.store.path(name), COLUMNS) if here.store.exists(name) else ()


def _file_id(batch: Batch, kind: str) -> str:
    digest = blake2b(f"{batch.id} {batch.generation} {kind}".encode(), digest_size=10).hexdigest()
    return f"file-{(batch.finalizing_at or 0) * 1000:012x}{digest}"


def _upload(here: State, batch: Batch, kind: str, size_bytes: int) -> Upload:
    created_s = batch.finalizing_at or 0
    keep_s = batch.output_expires_s or int(here.settings.api.keep_files)
    filename = f"{batch.id}_{kind}.jsonl"
    made = (_file_id(batch, kind), batch.client, filename, "batch_output", "jsonl", size_bytes, created_s)
    return Upload(*made, expires_s=created_s + keep_s)


def _usage(tokens: dict[str, int]) -> dict[str, Any]:
    """What the calls of this batch took; an answer that was reused took nothing."""
    return {
        "input_tokens": tokens["input_tokens"],
        "input_tokens_details": {"cached_tokens": tokens["cached_input_tokens"]},
        "output_tokens": tokens["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": tokens["reasoning_tokens"]},
        "total_tokens": tokens["input_tokens"] + tokens["output_tokens"],
    }
