"""Text of strangers that Redis and Parquet cannot hold."""

from __future__ import annotations

from pipelines import wire
from pipelines.printable import storable
from pipelines.types import Called, Done, Late, Usage

HALF = "half \ud83d"


def test_half_an_emoji_is_replaced_wherever_it_stands() -> None:
    assert storable({HALF: [HALF, 7, None, "Grüße 🎉"]}) == {"half ?": ["half ?", 7, None, "Grüße 🎉"]}


def test_no_text_of_an_answer_ends_the_worker_that_keeps_it() -> None:
    called = Called(
        "c", "ok", 200, HALF, Usage(1, 0, 0, 1), 5, "billed", HALF, "p", "2026-01-01", 0, None, 2, "unknown"
    )
    done = Done(0, "ok", "c", 1, HALF, None, HALF, None, None, None, 200, b"{}", 1, 2)
    kept = wire.unpack_entries(wire.pack_entries([called, Late(called), done]))
    assert isinstance(kept[0], Called) and kept[0].model == "half ?" and kept[0].usage == called.usage
    assert isinstance(kept[1], Late) and kept[1].called == kept[0]
    assert isinstance(kept[2], Done) and (kept[2].output, kept[2].finish_reason, kept[2].response) == (
        "half ?",
        "half ?",
        b"{}",
    )
