"""A pause ends by time or by a higher limit, and what no worker wrote pauses nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.audit import condemned
from pipelines.pauses import READ, WINDOW, Judged, days, of_audits, pause, paused, standing

ALLOWED = {"a": 0.005, "b": 0.5}


def test_a_pause_ends_by_time_or_by_a_higher_limit() -> None:
    names = ("a", "a canonical", "b", "b canonical", "gone")
    raw = {name: pause(100, 0.2, f"{name} is paused") for name in names}
    holding = {"a": "a is paused", "a canonical": "a canonical is paused", "gone": "gone is paused"}
    assert paused(raw, ALLOWED, 50) == holding, (
        "of a route that this configuration does not have the limit is not known"
    )
    assert paused(raw, ALLOWED, 100) == {}


def test_what_nobody_wrote_pauses_nothing() -> None:
    odd = ["[", "{}", b"\xff", '{"until_ms": "x", "excess_low": 1}', '{"until_ms": 1e999, "excess_low": 1}', "[1]"]
    assert paused({"a": "?"} | {str(at): value for at, value in enumerate(odd)}, ALLOWED, 50) == {}
    assert paused({"a": '{"until_ms": 100, "excess_low": 1}'}, ALLOWED, 50) == {"a": ""}
    assert paused({READ: "{}"}, ALLOWED, 50) == {}, "that the audits were read pauses nothing"


START = datetime(2026, 3, 1, tzinfo=UTC)
ENDED = st.tuples(st.integers(0, 20 * 24), st.integers(0, 40), st.integers(20, 60), st.sampled_from([0, 40]))


@given(st.lists(ENDED, max_size=12, unique_by=lambda run: run[0]), st.integers(0, 30 * 24))
@example([(0, 0, 60, 40), (24, 40, 60, 40)], 7 * 24)
@example([(0, 40, 40, 40), (24, 0, 60, 40), (48, 0, 60, 40)], 6 * 24)
def test_a_report_and_the_workers_agree_on_what_is_paused(runs: list[tuple[int, int, int, int]], now_h: int) -> None:
    """As a worker judges: at each end, by the audits of that day and of the seven days before."""
    known = [
        Judged((START + timedelta(hours=h)).date(), START + timedelta(hours=h), (min(wrong, count), count, 0, twice))
        for h, wrong, count, twice in sorted(runs)
        if h <= now_h
    ]
    until = START
    for at, run in enumerate(known):
        seen = [each.tally for each in known[: at + 1] if each.day >= run.day - WINDOW]
        wrong, audited, twice_wrong, twice = (sum(column) for column in zip(*seen, strict=True))
        if condemned(wrong, audited, twice_wrong, twice, 0.1):
            until = run.at + WINDOW
    now = START + timedelta(hours=now_h)
    assert (standing(known[::-1], now, 0.1) == "paused") == (until > now)
    assert standing(known, now, 1.0) != "paused", "a limit that was raised since"
    files = [(run.day, audits(run)) for run in known if run.day in days(now)]
    told = of_audits(files, {"small": 0.1}, now)
    assert set(told) == ({"small canonical"} if until > now else set())
    if told:
        assert told["small canonical"].until_ms == until.timestamp() * 1000
        assert paused({"small canonical": pause(*told["small canonical"])}, {"small": 0.1}, int(now.timestamp() * 1000))


def audits(run: Judged) -> list[tuple[str, str, str, bool, datetime]]:
    """What its file says."""
    wrong, audited, twice_wrong, twice = run.tally
    said = [("reuse", True)] * (audited - wrong) + [("reuse", False)] * wrong
    said += [("baseline", True)] * (twice - twice_wrong) + [("baseline", False)] * twice_wrong
    return [("small", "canonical", part, agrees, run.at) for part, agrees in said]


def test_audits_tell_a_pause_in_words() -> None:
    run = Judged(START.date(), START, (30, 30, 0, 30))
    (told,) = of_audits([(run.day, audits(run))], {"small": 0.005}, START).values()
    assert told.message.startswith(
        "route small: reuse by anything but exact keys is paused until 2026-03-08: 30 of 30 audited reuses disagree"
    )
    unnamed = of_audits([(run.day, audits(run))], {}, START)
    assert list(unnamed.values()) == [told], "a route that this configuration does not name is judged by the default"
    assert of_audits([(run.day, audits(run))], {"small": 1.0}, START) == {}
