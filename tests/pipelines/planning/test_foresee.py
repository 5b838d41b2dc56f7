"""The spread of a whole run, and what is missing where it cannot be done."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from pipelines.planning.capacity import LONG
from pipelines.planning.foresee import (
    IN_TIME,
    RATE_SPREAD,
    Basis,
    Foreseen,
    Lack,
    Office,
    Part,
    Range,
    Work,
    done_in,
    foresee,
    in_words,
    lacking,
)

Z90 = NormalDist().inv_cdf(0.9)
USD = 1e12
HOUR = 3600.0


def parts(number: int, *, home_s: float = 10.0, away_s: float = 1.0, usd: float = 1.0) -> list[Part]:
    return [Part("r", home_s, away_s, (0.0, 0.0), (0.0, usd * USD)) for _ in range(number)]


def test_local_keeps_what_saves_most_for_its_time_and_what_only_it_can_do() -> None:
    dear, cheap = Part("r", 10.0, 1.0, away_pusd=(0.0, 5.0)), Part("r", 10.0, 1.0, away_pusd=(1.0, 1.0))
    bound, gone = Part("r", 10.0), Part("r", away_s=2.0, away_pusd=(3.0, 0.0))
    work = Work([cheap, gone, dear, bound])
    assert work.order == [3, 2, 0, 1]
    assert list(work.kept(25.0)) == [1.0, 1.0, 0.5, 0.0]
    assert work.split(25.0)[:4] == (25.0, 2.5, 0.0, 4.0)
    assert work.split(5.0).home_s == 10.0, "no other lane does it"
    assert work.split(math.inf)[:4] == (30.0, 2.0, 0.0, 3.0)
    assert Work([]).split(1.0)[:4] == (0.0, 0.0, 0.0, 0.0)


def test_each_server_and_each_cloud_does_its_own() -> None:
    """Two servers' seconds were added up: what one was short of the other had room for."""
    one, two = (
        [part._replace(home=home, away=away) for part in parts(number)]
        for number, home, away in ((14, "gpua", "fast"), (6, "gpub", "slow"))
    )
    work = Work([*one, *two])
    assert work.split(100.0)[:4] == (100.0, 4.0, 0.0, 4 * USD), "four batches of one, and none of the other"
    assert list(work.kept(100.0)).count(0.0) == 4
    assert lacking(work, 100.0, None) is None and lacking(Work(parts(20)), 100.0, None) is None
    clouds = Work([part._replace(home_s=math.inf) for part in (*one, *two)])
    assert clouds.split(1.0).away_s == 14.0, "side by side"
    slow = Work([part._replace(home_s=math.inf, away_s=10.0 if part.away == "slow" else 1.0) for part in (*one, *two)])
    assert lacking(slow, 59.0, None) == Lack(None, pytest.approx(1.0, rel=0.002))


def test_rows_average_out_and_a_doubtful_mean_does_not() -> None:
    def p90(rows: int, calls: int) -> float:
        seen = foresee(Work(parts(50, home_s=math.inf)), {"r": Basis(rows, calls, 1.0, 1.0)}, None)
        assert seen.pusd.p50 == pytest.approx(50 * USD)
        return seen.pusd.p90 / seen.pusd.p50

    for rows, calls in ((100, 100), (10_000, 100), (10_000, 10_000)):
        sigma = math.sqrt(math.log1p(1 / rows + 1 / calls))
        assert p90(rows, calls) == pytest.approx(math.exp(Z90 * sigma), rel=0.01)
    assert p90(10**9, 100) == pytest.approx(p90(10_000, 100), rel=0.01), "more rows do not help"


def test_a_whole_varies_less_than_the_sum_of_its_kinds_and_guesses_vary_together() -> None:
    work = Work([part._replace(kind=str(kind)) for kind in range(9) for part in parts(5, home_s=math.inf)])
    measured = foresee(work, {str(kind): Basis(10**6, 100, 2.0, 2.0) for kind in range(9)}, None)
    alone = foresee(Work(parts(5, home_s=math.inf)), {"r": Basis(10**6, 100, 2.0, 2.0)}, None)
    assert measured.pusd.p90 / measured.pusd.p50 - 1 == pytest.approx(
        (alone.pusd.p90 / alone.pusd.p50 - 1) / 3, rel=0.1
    )
    guessed = foresee(work, {}, None)
    assert guessed.pusd.p90 == pytest.approx(LONG * guessed.pusd.p50, rel=0.05)


def test_the_lanes_rate_is_doubtful_however_much_was_measured() -> None:
    seen = foresee(Work(parts(100)), {"r": Basis(10**6, 10**6, 1.0, 1.0)}, None)
    assert seen.seconds.p90 == pytest.approx(1000 * math.exp(Z90 * RATE_SPREAD), rel=0.01)
    assert seen.pusd == (0.0, 0.0)


def test_what_spills_varies_more_than_the_work() -> None:
    """At a load just over 1 a few per cent more work is half as much money again; far below it there is none to pay."""
    sure = {"r": Basis(10**6, 400, 1.0, 1.0)}
    tight = foresee(Work(parts(110)), sure, 1000.0)
    assert tight.pusd.p50 == pytest.approx(11 * USD, rel=0.02), (
        "a tenth more than it can do, and a hundredth for its ends"
    )
    assert tight.pusd.p90 > 1.5 * tight.pusd.p50
    assert tight.seconds.p90 == pytest.approx(1000.0)
    assert foresee(Work(parts(50)), sure, 1000.0).pusd == (0.0, 0.0)


def test_what_a_batch_api_brings_back_in_time_is_cheaper() -> None:
    """Alone with the cloud: half the price where there is time, the whole where there is none, and either at a median's deadline."""
    sure, office = {"r": Basis(10**6, 10**6, 0.1, 0.1)}, Office(0.5, HOUR, 6 * HOUR)

    def by(deadline_s: float | None, office: Office = office) -> Foreseen:
        return foresee(Work([part._replace(office=office) for part in parts(10, home_s=math.inf)]), sure, deadline_s)

    waits = by(None)
    assert waits.pusd.p50 == pytest.approx(5 * USD, rel=0.01) and waits.seconds.p50 > HOUR
    assert by(300 * HOUR).pusd.p90 == pytest.approx(5 * USD, rel=0.01)
    assert by(HOUR / 100).pusd.p50 == pytest.approx(10 * USD, rel=0.01)
    half = by(HOUR / IN_TIME)
    assert 6 * USD < half.pusd.p50 < 9 * USD and half.pusd.p90 == pytest.approx(10 * USD, rel=0.01)
    many = by(HOUR / IN_TIME, office._replace(orders=100))
    assert many.pusd.p90 - many.pusd.p50 < 0.4 * USD, "many orders average out"


def test_what_has_no_batch_api_gets_no_discount_and_each_has_its_own_price_and_time() -> None:
    """Three routes: none, half the price in an hour, a fifth in a minute."""
    sure = {"r": Basis(10**6, 10**6, 0.01, 0.01)}
    slow, quick = Office(0.5, HOUR, 1.1 * HOUR), Office(0.2, 60.0, 66.0)
    each = parts(10, home_s=math.inf)
    work = Work([part._replace(office=office) for office in (None, slow, quick) for part in each])
    for deadline_s, usd in ((None, 17.0), (9 * HOUR, 17.0), (HOUR / 2, 22.0), (20.0, 30.0)):
        assert foresee(work, sure, deadline_s).pusd.p50 == pytest.approx(usd * USD, rel=0.01), deadline_s
    assert foresee(work, sure, None).seconds.p50 > HOUR
    alone = Work([*each, *(part._replace(office=quick, away_s=1e6, away_pusd=(0.0, 0.0)) for part in each)])
    assert foresee(alone, sure, None).seconds.p50 == pytest.approx(10.0, rel=0.01), "real time has its own"


def test_p90_covers_nine_in_ten_of_what_may_come() -> None:
    """Rows and the earlier answers that measured them are drawn afresh each time; so is the lane's speed."""
    random, covered, trials = np.random.default_rng(1), 0, 100
    for _ in range(trials):
        told, rows = random.lognormal(0.0, 0.8, 150), random.lognormal(0.0, 0.8, 600)
        rate = math.exp(RATE_SPREAD * random.standard_normal())
        mean, spread = float(told.mean()), float(told.std(ddof=1) / told.mean())
        estimate = Work([Part("r", 10 * mean, 1.0, away_pusd=(0.0, 10 * mean)) for _ in range(60)])
        truth = Work([Part("r", float(r) / rate, 1.0, away_pusd=(0.0, float(r))) for r in rows])
        room_s = float(rows.mean()) * 600 / 1.4
        covered += (
            truth.split(room_s).pusd <= foresee(estimate, {"r": Basis(600, 150, spread, spread)}, room_s).pusd.p90
        )
    assert 0.85 <= covered / trials <= 0.95


def test_what_is_too_slow_is_done_when_it_is_said_to_lack_no_time() -> None:
    """120 rows were left for a cloud of one a second: `done in 126 s` stood beside `needs +0.3 min` of a minute."""
    work = Work(parts(360, home_s=0.25))
    lack, seen = lacking(work, 60.0, None), foresee(work, {"r": Basis(360, 10**6, 0.01, 0.01)}, 60.0)
    assert lack is not None and lack.seconds == pytest.approx(12.0, rel=0.01) and seen.seconds.p50 > 119
    done = done_in(seen.seconds, lack, 60.0)
    assert done.p50 == pytest.approx(72.0, rel=0.01) and done.p50 <= done.p90 < 82
    assert done_in(Range(30.0, 40.0), None, 60.0) == done_in(Range(30.0, 40.0), lack, 60.0) == (30.0, 40.0)


@pytest.mark.parametrize(
    ("deadline_s", "budget_usd", "expected"),
    [
        (1000.0, None, None),
        (500.0, 50.0, None),
        (None, None, None),
        (None, 0.0, None),
        (500.0, 20.0, Lack(30 * USD, 300.0)),
        (500.0, 0.0, Lack(50 * USD, 500.0)),
        (50.0, None, Lack(None, 1000 / 11 - 50)),
        (50.0, 1.0, Lack(None, 940.0)),
    ],
)
def test_what_is_missing(deadline_s: float | None, budget_usd: float | None, expected: Lack | None) -> None:
    """100 batches: 10 s each at home, 1 s and a dollar each away."""
    found = lacking(Work(parts(100)), deadline_s, None if budget_usd is None else budget_usd * USD)
    if expected is None or found is None:
        assert found is expected
        return
    assert found.pusd == (None if expected.pusd is None else pytest.approx(expected.pusd))
    assert found.seconds == pytest.approx(expected.seconds, rel=0.002)


def test_what_is_said_to_be_missing_would_do() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        work = Work([
            Part("r", 10 * random.random(), random.random(), away_pusd=(random.random(), random.random())) for _ in range(40)
        ])  # fmt: skip
        deadline_s, budget = 150 * random.random(), 20 * random.random()
        found = lacking(work, deadline_s, budget)
        if found is None:
            continue
        assert found.seconds is not None and lacking(work, deadline_s + found.seconds, budget) is None
        assert lacking(work, deadline_s + 0.99 * found.seconds, budget) is not None
        if found.pusd is not None:
            assert lacking(work, deadline_s, budget + 1.001 * found.pusd) is None


def test_neither_money_nor_time_where_there_is_no_lane_for_it() -> None:
    away = Work(parts(10, home_s=math.inf))
    assert lacking(away, HOUR, 4 * USD) == Lack(pytest.approx(6 * USD), None), "time does not make it cheaper"
    assert lacking(away, None, 4 * USD) == Lack(pytest.approx(6 * USD), None)
    home = Work(parts(10, away_s=math.inf))
    assert lacking(home, 40.0, 1.0) == Lack(None, pytest.approx(60.0, rel=0.002)), "money does not make it faster"


@pytest.mark.parametrize(
    ("pusd", "seconds", "said"),
    [
        (1.2 * USD, 3.35 * HOUR, "+$1.20 or +3.4 h"),
        (0.001 * USD, None, "+$0.01"),
        (None, 90.0, "+1.5 min"),
        (None, None, ""),
    ],
)
def test_it_is_said_in_one_line_rounded_up(pusd: float | None, seconds: float | None, said: str) -> None:
    assert in_words(pusd, seconds) == said
