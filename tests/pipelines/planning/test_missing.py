"""What an open run lacks, from the snapshot that plan() sees."""

from __future__ import annotations

import math

import msgspec
import pytest

from pipelines.planning.foresee import Lack
from pipelines.planning.missing import missing
from pipelines.planning.snapshot import BatchView, RunView, Snapshot, TargetView

GPU = TargetView("gpu", "local", True, slots=4, rate=100.0, rows_per_s=1.0, latency_s=1.0, spans=9)
MINI = TargetView("mini", "cloud", True, slots=8, rate=50.0, rows_per_s=2.0, latency_s=0.5, limit_rows_per_s=1.0)
NOW = 1_000_000
USD = 1e12


def batches(count: int, route: str = "small", lanes: str = "any") -> tuple[BatchView, ...]:
    return tuple(BatchView(f"{route}{i}", route, 10, 1000.0, lanes) for i in range(count))


def run(waiting: tuple[BatchView, ...], deadline_s: float | None, **more: object) -> RunView:
    deadline = None if deadline_s is None else NOW + int(deadline_s * 1000)
    return msgspec.structs.replace(RunView("r", "c", 0, deadline, waiting), **more)


def lack(*runs: RunView, gpu: TargetView = GPU, mini: TargetView = MINI, room_usd: float | None = None) -> Lack | None:
    """Each batch is ten seconds of either lane, and a dollar; the local lane has four seconds less, its last calls."""
    routes = {"small": ("gpu", "mini"), "cloudy": ("mini",), "homely": ("gpu",)}
    given = Snapshot(NOW, {"gpu": gpu, "mini": mini}, routes, runs)
    return missing(given, lambda _: USD, {} if room_usd is None else {"r": room_usd * USD}).get("r")


def seconds(value: float) -> object:
    return pytest.approx(value, rel=0.01, abs=6)


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("local has the time", lack(run(batches(10), 200)), None),
        ("both lanes together have", lack(run(batches(10), 60)), None),
        ("both together are too slow", lack(run(batches(20), 60)), Lack(None, seconds(40))),
        ("what is not prepared yet counts too", lack(run(batches(10), 60, ahead=10_000.0)), Lack(None, seconds(40))),
        ("no deadline", lack(run(batches(20), None)), None),
        (
            "no more money",
            lack(run(batches(10), 60), room_usd=1.0),
            Lack(pytest.approx(3.4 * USD), seconds(36)),
        ),
        (
            "no money, no local lane",
            lack(run(batches(10, "cloudy"), None), room_usd=1.0),
            Lack(pytest.approx(9 * USD), None),
        ),
        ("only local may", lack(run(batches(10, lanes="local"), 60)), Lack(None, seconds(44))),
        ("only the cloud may", lack(run(batches(10, "cloudy"), 60)), Lack(None, seconds(40))),
        ("somebody waits", lack(run(batches(20), 60, waited_for=True)), None),
        ("its time is up", lack(run(batches(20), -1)), None),
        ("nothing waits", lack(run((), 60, ahead=10_000.0)), None),
        ("a little late is not known", lack(run(batches(12), 60)), None),
        (
            "the local lane was not measured",
            lack(run(batches(20), 60), gpu=msgspec.structs.replace(GPU, spans=0)),
            None,
        ),
        (
            "nobody knows what the cloud holds",
            lack(run(batches(20), 60), mini=msgspec.structs.replace(MINI, limit_rows_per_s=math.inf, rows_per_s=0.0)),
            None,
        ),
        (
            "a cloud that is down for the moment is counted on",
            lack(run(batches(10), 60), mini=msgspec.structs.replace(MINI, up=False)),
            None,
        ),
        (
            "a local lane that is gone is not",
            lack(run(batches(10), 60), gpu=msgspec.structs.replace(GPU, up=False)),
            Lack(None, seconds(40)),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing(name: str, found: Lack | None, expected: Lack | None) -> None:
    assert found == expected, name


def test_another_run_that_is_due_earlier_has_the_lane_first() -> None:
    mine = run(batches(8, "homely"), 100)
    assert lack(mine) is None
    other = msgspec.structs.replace(run(batches(5, "homely"), 90), id="other")
    found = lack(mine, other)
    assert found is not None and found.seconds is not None and found.seconds > 25


def test_one_servers_time_is_no_other_s() -> None:
    """Both fit; and where one is short by half, the other's idle half helps it nothing."""
    other = msgspec.structs.replace(GPU, name="other")
    routes = {"homely": ("gpu",), "lonely": ("other",)}

    def found(mine: int, theirs: int, **more: object) -> Lack | None:
        waiting = (*batches(mine, "homely"), *batches(theirs, "lonely"))
        given = Snapshot(NOW, {"gpu": GPU, "other": other}, routes, (run(waiting, 100, **more),))
        return missing(given, lambda _: USD, {}).get("r")

    assert found(9, 9) is None
    assert found(14, 4) == Lack(None, seconds(44))
    assert found(9, 4, ahead=4000.0, rung={"other": 4000.0}) is None
    assert found(9, 4, ahead=5000.0, rung={"gpu": 5000.0}) == Lack(None, seconds(44))
    assert found(7, 0, ahead=7000.0) == Lack(None, seconds(44)), "what is not prepared yet is like what waits"


def test_what_a_second_cloud_can_do_is_not_missing() -> None:
    one, two = MINI, msgspec.structs.replace(MINI, name="two")
    for routes, expected in ((("mini",), Lack(None, seconds(40))), (("mini", "two"), None)):
        given = Snapshot(NOW, {"mini": one, "two": two}, {"cloudy": routes}, (run(batches(10, "cloudy"), 60),))
        assert missing(given, lambda _: USD, {}).get("r") == expected
