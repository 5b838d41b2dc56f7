"""What is said of an inbox run's rows can be read again, and what nobody of ours said is nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines import told, wire
from pipelines.told import Sorted, Unasked
from pipelines.types import Called, Done, Intent, Usage

CALLED = Called("c1", "ok", 200, None, Usage(7, 0, 0, 3), 1_500_000, "billed", "m", "p", "2026-01-01", 0, None, 9)
DONE = Done(4, "ok", "c1", 1, "yes", None, "stop", None, None, None, 200, b'{"a":1}', 5, 1_000_000)
FAILED = Done(5, "failed", None, 2, None, None, None, None, "check_failed", "no", 400, None, 5, 6)


def test_a_piece_of_a_journal_becomes_answers() -> None:
    entries = [Intent("c1", 4, 1, "gpu", 1, 2), CALLED, DONE, DONE, FAILED]
    message = told.ANSWERS + b"run-1 local\n" + wire.pack_entries(entries)
    one, two = told.read(message)  # type: ignore[misc]
    assert (one["run_id"], one["row"], one["status"], one["output"], one["lane"]) == ("run-1", 4, "ok", "yes", "local")
    assert (one["response"], one["model"], one["input_tokens"], one["cost_usd"]) == ('{"a":1}', "m", 7, "0.0000015")
    assert (two["status"], two["error_code"], two["http_status"], two["cost_usd"]) == (
        "failed",
        "check_failed",
        400,
        "0.00",
    )
    assert set(one) == set(two) == set(told.COLUMNS)


def test_rows_that_nobody_asks() -> None:
    columns = {
        "row": [1, 2, 3, 4], "kind": ["asked", "invalid", "link", "link"], "error_code": [None, "no_prompt", None, None],
        "error_message": [None, "why", None, None], "leader_row": [None, None, 1, 9], "leader_run": [None, None, None, "b"],
    }  # fmt: skip
    rows = [Unasked(2, "no_prompt", "why"), Unasked(3, None, None, 1), Unasked(4, None, None, 9, "b")]
    assert told.read(told.sorted_out("a", columns)) == Sorted("a", rows)
    assert told.sorted_out("a", {name: values[:1] for name, values in columns.items()}) == b""
    assert told.sorted_out("a", {}) == b""


def test_a_copy_costs_nothing_and_names_its_leader() -> None:
    [leader] = told.answers("a", "cloud", [CALLED, DONE])
    here, there = told.copied(("a", 8), leader), told.copied(("b", 0), leader)
    assert (here["row"], here["status"], here["cost_usd"], here["output"]) == (8, "duplicate", "0.00", "yes")
    assert (here["duplicate_of"], here["duplicate_run"]) == (4, None)
    assert (there["run_id"], there["duplicate_run"]) == ("b", "a")


@given(st.binary(max_size=60))
def test_what_no_worker_wrote_is_nothing(junk: bytes) -> None:
    for head in (b"", told.ANSWERS, told.SORTED, told.ANSWERS + b"run local\n"):
        found = told.read(head + junk)
        assert isinstance(found, Sorted) or all(set(row) == set(told.COLUMNS) for row in found)
