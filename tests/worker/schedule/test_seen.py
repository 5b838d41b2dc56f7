"""What a batch's hash says: ours is read, anything else costs its batch alone."""

from __future__ import annotations

import pytest

from pipelines import wire
from pipelines.types import BatchHead
from worker.schedule.seen import seen_of, work_at

HEAD = wire.pack_head(BatchHead("r.0.0.1", "r", "small", 0, 10, 5000, 2000, 1.0, 1, 1))


def test_a_batch_waits_while_no_budget_has_room_for_its_call() -> None:
    seen = seen_of([HEAD, b"any", b"1", b"5", None, b"700 cloud", None])
    assert seen is not None
    assert (seen.held(699), seen.held(700)) == ("cloud", "")
    assert seen_of([None] * 7) is None


@pytest.mark.parametrize(
    "fields",
    [
        [HEAD, None, b"x", *[None] * 4],
        [HEAD, *[None] * 4, b"x cloud", None],
        [HEAD, *[None] * 5, b"x"],
        [b"?", *[None] * 6],
    ],
)
def test_what_no_worker_wrote_is_said_at_once(fields: list[bytes | None]) -> None:
    with pytest.raises(ValueError):
        seen_of(fields)


def test_what_is_rung_is_work_of_its_target_as_far_as_it_is_not_answered() -> None:
    heads = [BatchHead(f"r.0.0.{n}", "r", "small", 0, 10, 5000, 2000, 1.0, 1, 1) for n in range(3)]
    rung = [(heads[0], "gpu", 10), (heads[1], "gpu", 5), (heads[2], "other", 1)]
    assert work_at(rung, lambda head: 100.0) == {"gpu": 150.0, "other": 10.0}
    assert work_at([], lambda head: 100.0) == {}
