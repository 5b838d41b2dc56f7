"""A process of its own for what needs worker code or much memory: its end, and what worker/asked.py says to a question.

How many there may be, and for how long, is the caller's to say.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipelines.config import portable
from pipelines.errors import QueueError
from pipelines.settings import Settings

ANSWER_MAX_BYTES = 8 << 20
ROOT = Path(__file__).resolve().parents[1]
ASKED = ("worker.asked",)


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: bytes
    err: str


def question(settings: Settings, asked: str, cpu_s: float, /, **told: Any) -> bytes:
    """What ASKED reads: one of its questions, with settings that travel by a pipe, since they hold keys."""
    plain = portable.plain(settings, str(Path(settings.spillway.data).resolve()))
    return msgspec.json.encode({"question": asked, "settings": plain, "cpu_s": cpu_s, **told}, enc_hook=str)


def answer(ended: Ended) -> dict[str, Any]:
    """What ASKED said; {"error"} alone for what it refuses. QueueError when it did not come to an end."""
    if ended.code != 0:
        raise QueueError(f"a child process ended with status {ended.code}: {ended.err[-500:]}")
    said: dict[str, Any] = msgspec.json.decode(ended.out)
    return said


async def run(module: Sequence[str], told: bytes, environment: Mapping[str, str] | None = None) -> Ended:
    """`python -m MODULE ARGUMENTS…` to its end; whoever is cancelled ends it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SPILLWAY_")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=ROOT, env={**env, **(environment or {})},
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = await child.communicate(told)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if len(out) > ANSWER_MAX_BYTES:
        raise QueueError("a child process said too much")
    return Ended(child.returncode or 0, out, err.decode(errors="replace"))
