"""A cloud whose limit nobody configured: its answers name it, and calls keep to it once it has said 429."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support_program import CLOUD, Program
from tests.support_upstream import Upstream


@pytest.mark.parametrize(("rpm", "burst_s", "rows", "most_429"), [(600, 1, 80, 64), (120, 60, 80, 0)])
def test_calls_keep_to_a_limit_that_answers_named(
    tmp_path: Path, rpm: int, burst_s: int, rows: int, most_429: int
) -> None:
    """The plan reckoned with it, calls did not: each pause ended in a flight of 429s, several for every answer. Who admits the calls of a
    minute at once is asked them at once, as before."""
    server = {**CLOUD, "latency_ms": 200, "rpm": rpm, "burst_s": burst_s}
    with Upstream({"servers": {"cloud": server}}) as upstream:
        settings = upstream.settings()
        del settings["targets"]["cloud"]["rpm"]
        program = Program(tmp_path, **settings)
        file = program.rows([{"prompt": f"number {row}?", "max_tokens": 64} for row in range(rows)])
        began_s = time.monotonic()
        assert program.json("run", str(file))["rows"] == rows
        took_s = time.monotonic() - began_s
    said = Counter(program.costs()["http_status"])
    assert said[200] == rows and said[429] <= most_429, said
    assert most_429 or took_s < 60 * rows / rpm / 2, "faster than the limit, for as long as that is allowed"
