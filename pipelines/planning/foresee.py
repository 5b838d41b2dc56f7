"""What a run will cost and when it ends, as the spread of the whole, and what is missing where that cannot be; no policy.

Rows' lengths are independent: their spread averages out. What does not: how wrong their mean may be, and how fast a lane is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.planning.capacity import LONG, SIGMA_90, latency_sigma

Numbers = NDArray[np.float64]

RATE_SPREAD = 0.05
"""How far a lane's speed may be from what an earlier run has measured: one standard deviation of its logarithm."""
ENDS = 0.01
"""Of the time until a deadline, what a lane loses at its ends: a run of minutes loses that and more, one of 3,000 rows hardly any."""
DRAWS, SEED = 500, 7
"""Each with its opposite, so that the median is the estimate."""
IN_TIME = 0.85
"""Of a deadline, what an order has: it is placed when the local lane was measured, and recalled when a tenth is left."""
_GUESSED = math.log(LONG) / SIGMA_90


class Basis(NamedTuple):
    """Of rows of one kind: their number, that of the answers that measured them, and the standard deviation of one answer's
    tokens and of its seconds as a share of the mean (None: guessed)."""

    rows: int
    calls: int = 0
    tokens: float | None = None
    seconds: float | None = None


class Office(NamedTuple):
    """A batch API that what is not local may use: its price as a share of real time, how long half and nine in ten of its batches
    take, and in how many orders a job is given to it."""

    price: float
    p50_s: float
    p90_s: float
    orders: int = 3


class Part(NamedTuple):
    """One batch: its kind, the seconds that all of a lane takes for it (infinite: not on that lane), and its price there in
    pico-dollars, without its output and of its output; the batch API that it may use, if any; and the local target and the cloud
    that would do it: each does its own, side by side."""

    kind: str
    home_s: float = math.inf
    away_s: float = math.inf
    home_pusd: tuple[float, float] = (0.0, 0.0)
    away_pusd: tuple[float, float] = (0.0, 0.0)
    office: Office | None = None
    home: str = ""
    away: str = ""


class Split(NamedTuple):
    """What the local lane and the cloud do: seconds (of the target that takes longest) and pico-dollars of each; pico-dollars of
    the cloud's that each batch API may do, in the order of Work.offices, and seconds of what none may."""

    home_s: float
    away_s: float
    home_pusd: float
    away_pusd: float
    may_pusd: tuple[float, ...] = ()
    bought_s: float = 0.0

    @property
    def pusd(self) -> float:
        return self.home_pusd + self.away_pusd

    @property
    def seconds(self) -> float:
        return max(self.home_s, self.away_s)


class Range(NamedTuple):
    p50: float
    p90: float


class Foreseen(NamedTuple):
    """Pico-dollars and seconds, of each lane and of the whole; P90 of a sum is less than the sum of P90s."""

    home_s: Range
    away_s: Range
    home_pusd: Range
    away_pusd: Range
    pusd: Range
    seconds: Range


class Lack(NamedTuple):
    """What would do, either of them alone: so many pico-dollars more, or a deadline so many seconds later. None: none would."""

    pusd: float | None
    seconds: float | None


class Work:
    """A run's batches as arrays, in the order in which the local lane takes them: what only it can do first, then what saves
    most for its time."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.order = sorted(range(len(parts)), key=lambda number: _saved(parts[number]), reverse=True)
        ordered = [parts[number] for number in self.order]
        self.kinds = list(dict.fromkeys(part.kind for part in ordered))
        at = {kind: number for number, kind in enumerate(self.kinds)}
        self.kind = np.array([at[part.kind] for part in ordered], dtype=np.int64)
        self.home_s, self.away_s = (_floats([part[lane] for part in ordered]) for lane in (1, 2))
        self.home_pusd, self.away_pusd = (_floats([part[lane] for part in ordered]).reshape(-1, 2) for lane in (3, 4))
        self.offices = list(dict.fromkeys(part.office for part in ordered if part.office is not None))
        asks = [np.array([part.office == office for part in ordered], dtype=np.float64) for office in self.offices]
        self.asks = _floats(asks).reshape(len(asks), len(ordered))
        self.no_office = _floats([part.office is None for part in ordered])
        self.homes, self.aways = _members([part.home for part in ordered]), _members([part.away for part in ordered])
        self.at_home = np.isfinite(self.home_s)
        self.only_home = self.at_home & ~np.isfinite(self.away_s)

    def kept(self, room_s: float, home_s: Numbers | None = None) -> Numbers:
        """The share of each batch, in that order, that stays local where each target has `room_s`."""
        home_s = np.where(self.at_home, self.home_s, 0.0) if home_s is None else home_s
        room = np.empty_like(home_s)
        for mine in self.homes:
            room[mine] = room_s - (np.cumsum(home_s[mine]) - home_s[mine])
        kept = np.clip(np.divide(room, home_s, out=np.ones_like(home_s), where=home_s > 0), 0.0, 1.0)
        return np.where(self.only_home, 1.0, np.where(self.at_home, kept, 0.0))

    def split(
        self, room_s: float, longer: Numbers | None = None, slower: Numbers | None = None, rate: float = 1.0
    ) -> Split:
        """Local from the head for `room_s`, the rest away. By kind: how much `longer` answers and `slower` calls are than
        estimated; `rate`: how much faster the local lane is."""
        tokens, times = (1.0 if each is None else each[self.kind] for each in (longer, slower))
        home_s = np.where(self.at_home, self.home_s, 0.0) * times / rate
        away_s = np.where(np.isfinite(self.away_s), self.away_s, 0.0) * times
        kept = self.kept(room_s, home_s)
        home, away = (pusd[:, 0] + pusd[:, 1] * tokens for pusd in (self.home_pusd, self.away_pusd))
        gone_s, gone = (1 - kept) * away_s, (1 - kept) * away
        may = tuple(float(value) for value in self.asks @ gone)
        times_s = _longest(kept * home_s, self.homes), _longest(gone_s, self.aways)
        bought_s = _longest(gone_s * self.no_office, self.aways)
        return Split(*times_s, float((kept * home).sum()), float(gone.sum()), may, bought_s)


def _saved(part: Part) -> tuple[bool, float]:
    return math.isinf(part.away_s), (sum(part.away_pusd) - sum(part.home_pusd)) / max(part.home_s, 1e-12)


def _members(names: Sequence[str]) -> list[NDArray[np.int64]]:
    """Places of each name's."""
    return [
        np.array([at for at, each in enumerate(names) if each == name], dtype=np.int64) for name in dict.fromkeys(names)
    ]


def _longest(seconds: Numbers, groups: Sequence[NDArray[np.int64]]) -> float:
    """Of those that work side by side."""
    return max((float(seconds[mine].sum()) for mine in groups), default=0.0)


def _floats(values: Sequence[object]) -> Numbers:
    return np.array(values, dtype=np.float64)


def foresee(work: Work, known: Mapping[str, Basis], deadline_s: float | None) -> Foreseen:
    """P50 and P90 over lengths, speeds and latencies that may well be; the same for the same figures."""
    room_s = math.inf if deadline_s is None else deadline_s
    pace = 1.0 if deadline_s is None else 1 - ENDS
    orders = sum(office.orders for office in work.offices)
    half = np.random.default_rng(SEED).standard_normal((DRAWS, len(work.kinds) + 2 + orders))
    drawn = np.concatenate([half, -half, np.zeros((1, half.shape[1]))])
    of_kind = [known.get(kind, Basis(0)) for kind in work.kinds]
    tokens, seconds = [each.tokens for each in of_kind], [each.seconds for each in of_kind]
    found = []
    for draw in drawn:
        own = draw[: len(draw) - orders]
        longer, slower = _factors(of_kind, tokens, own), _factors(of_kind, seconds, own)
        split = work.split(room_s, longer, slower, pace * math.exp(RATE_SPREAD * float(draw[1])))
        found.append(_by_order(split, work.offices, deadline_s, draw[len(own) :]))
    columns = [_floats(list(column)) for column in list(zip(*found, strict=True))[:4]]
    whole = [_floats([each.pusd for each in found]), _floats([each.seconds for each in found])]
    return Foreseen(*(Range(*(float(value) for value in np.quantile(each, (0.5, 0.9)))) for each in columns + whole))


def _by_order(split: Split, offices: Sequence[Office], deadline_s: float | None, draw: Numbers) -> Split:
    """With what comes back in time from batch APIs; the rest is bought in real time. Without a deadline all of it is waited for."""
    saved, latest_s = 0.0, 0.0
    real_time_s = split.bought_s if deadline_s is None else split.away_s
    ends = np.cumsum([office.orders for office in offices])
    for office, own, may in zip(offices, np.split(draw, ends)[: len(offices)], split.may_pusd, strict=True):
        latency_s = office.p50_s * np.exp(latency_sigma(office.p50_s, office.p90_s) * own)
        if deadline_s is None:
            latest_s = max(latest_s, float(latency_s.max()) if may else 0.0)
        back = 1.0 if deadline_s is None else float((latency_s <= IN_TIME * deadline_s).mean())
        saved += back * (1 - office.price) * may
    return split._replace(away_s=max(real_time_s, latest_s), away_pusd=split.away_pusd - saved)


def _factors(of_kind: Sequence[Basis], spreads: Sequence[float | None], draw: Numbers) -> Numbers:
    """By kind; all guesses are wrong in one direction."""
    logs = [
        _GUESSED * draw[0] if spread is None else _sigma(known, spread) * own
        for known, spread, own in zip(of_kind, spreads, draw[2:], strict=True)
    ]
    return np.exp(_floats(logs))


def _sigma(known: Basis, spread: float) -> float:
    """How far the mean of these rows may be from that of the measured ones, as the deviation of its logarithm: both are
    means of so many."""
    return math.sqrt(math.log1p(spread**2 * (1 / max(1, known.rows) + 1 / max(1, known.calls))))


def lacking(work: Work, deadline_s: float | None, budget_pusd: float | None) -> Lack | None:
    """None when the lanes together are done by the deadline and within the budget."""
    if _fits(work, deadline_s, budget_pusd):
        return None
    longest = math.inf if deadline_s is None else deadline_s
    dearer = work.split(longest)
    pusd = dearer.pusd - budget_pusd if budget_pusd is not None and _fits(work, deadline_s, None) else None
    later = None if deadline_s is None else _later(work, deadline_s, budget_pusd)
    return Lack(pusd, later)


def done_in(seconds: Range, lack: Lack | None, deadline_s: float | None) -> Range:
    """When all would be done: of what no lane can do by its deadline, when both could if that were as much later as is said, and not
    when one alone would end what the other leaves at the deadline."""
    if deadline_s is None or lack is None or lack.seconds is None:
        return seconds
    share = min(1.0, (deadline_s + lack.seconds) / max(1e-9, seconds.p50))
    return Range(share * seconds.p50, share * seconds.p90)


def _later(work: Work, deadline_s: float, budget_pusd: float | None) -> float | None:
    """The least that a deadline must be later; found by halving, to a thousandth."""
    least, most = deadline_s, max(deadline_s, work.split(math.inf).seconds) * 1.001 + 1e-6
    if not _fits(work, most, budget_pusd):
        return None
    while most - least > 0.001 * max(1e-6, most - deadline_s):
        middle = (least + most) / 2
        least, most = (least, middle) if _fits(work, middle, budget_pusd) else (middle, most)
    return most - deadline_s


def _fits(work: Work, deadline_s: float | None, budget_pusd: float | None) -> bool:
    done = work.split(math.inf if deadline_s is None else deadline_s)
    in_time = deadline_s is None or done.seconds <= deadline_s * (1 + 1e-9)
    return in_time and (budget_pusd is None or done.pusd <= budget_pusd)


def in_words(pusd: float | None, seconds: float | None) -> str:
    """`+$1.20 or +3.4 h`: rounded up, so that it is enough; nothing where neither would do."""
    said = [] if pusd is None else [f"+${math.ceil(pusd / 1e10) / 100:,.2f}"]
    if seconds is not None:
        said.append(
            f"+{math.ceil(seconds / 360) / 10:,.1f} h" if seconds > 360 else f"+{math.ceil(seconds / 6) / 10:.1f} min"
        )
    return " or ".join(said)
