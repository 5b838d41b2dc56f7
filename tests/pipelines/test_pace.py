"""Speed: full spans alone measure it, mixes tell what prefill weighs, workers add up, and the next run begins with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batch import PREFILL_WEIGHT
from pipelines.pace import Answered, Kept, Pace, Speed

SLOTS = 16


def server(
    prefill: float,
    mixes: list[tuple[float, float]],
    *,
    rate: float = 640.0,
    each_s: float = 25.0,
    in_flight: int = SLOTS,
) -> Iterator[tuple[float, Answered]]:
    """A lane that does `rate` work a second on prompts of one mix (input, output tokens) after the other; a look a second."""
    rows = inputs = outputs = now = 0.0
    for tokens_in, tokens_out in mixes:
        for _ in range(int(each_s)):
            more = rate / (prefill * tokens_in + tokens_out)
            rows, inputs, outputs, now = rows + more, inputs + more * tokens_in, outputs + more * tokens_out, now + 1
            yield now, Answered(rows, inputs, outputs, now, in_flight, 1.0)


def after(looks: Iterator[tuple[float, Answered]], pace: Pace | None = None) -> Speed:
    speed, pace = Speed(), pace or Pace()
    for now, seen in looks:
        speed = pace.note(now, "gpu", SLOTS, [("w", seen)])
    return speed


@given(st.floats(0.02, 0.5))
def test_different_mixes_tell_what_prefill_weighs(prefill: float) -> None:
    mixes = [(700.0, 40.0), (2500.0, 300.0), (250.0, 700.0)] * 8
    speed = after(server(prefill, mixes, rate=6400.0))
    assert speed.prefill == pytest.approx(prefill, rel=0.25)
    assert speed.rate == pytest.approx(6400.0, rel=0.2)


def test_one_mix_cannot_tell_and_the_guess_stands() -> None:
    speed = after(server(0.3, [(700.0, 40.0)] * 8))
    assert speed.prefill == pytest.approx(PREFILL_WEIGHT, rel=0.2)
    assert speed.rows_per_s == pytest.approx(640 / (0.3 * 700 + 40), rel=0.01)


def test_what_was_measured_with_other_slots_says_little_of_the_speed_and_nothing_of_prefill() -> None:
    """Long prompts were read with 16 slots and long answers written with 48, at twice the speed: reading looked expensive."""
    pace = Pace()
    after(server(PREFILL_WEIGHT, [(2500.0, 30.0), (2400.0, 40.0)]), pace)
    speed, first = Speed(), 1000
    for now, seen in server(PREFILL_WEIGHT, [(100.0, 300.0), (90.0, 310.0)], rate=1280.0, in_flight=48):
        speed = pace.note(now + 60.0, "gpu", 48, [("later", seen)])
        first = min(first, speed.spans)
    assert first == 1, "and it has been measured hardly at all: nothing is ordered for what it did with few"
    assert speed.rate == pytest.approx(1280.0, rel=0.05)
    assert speed.prefill == pytest.approx(PREFILL_WEIGHT, rel=0.2)


def test_a_lane_that_is_not_full_has_a_rough_speed_and_a_full_one_another() -> None:
    pace = Pace()
    idle = after(server(0.1, [(100.0, 100.0)], rate=50.0, in_flight=1), pace)
    assert idle.spans == 0 and idle.rate == pytest.approx(50.0, rel=0.05)
    looks = [
        (
            now + 100,
            Answered(seen.rows + 1e3, seen.input_tokens + 1e6, seen.output_tokens + 1e6, seen.busy_s + 25, SLOTS, 1.0),
        )
        for now, seen in server(0.1, [(100.0, 100.0)] * 2)
    ]
    busy = after(iter(looks), pace)
    assert busy.spans > 5 and busy.rate == pytest.approx(640.0, rel=0.05), "the rough spans count no longer"


def test_calls_that_span_two_spans_mislead_nobody() -> None:
    """Classes of calls in turn, the long ones of eight spans: who counts what ends while it ends sees a lane of many speeds."""
    pace, speeds, weights = Pace(), list[float](), list[float]()
    running: list[tuple[float, float, float, float]] = []  # end, begin, tokens
    seen, now, number = Answered(), 0.0, 0
    while now < 600:
        while len(running) < SLOTS:
            tokens_in, tokens_out = ((700, 40), (2500, 300), (250, 1500))[number // 40 % 3]
            took = (0.05 * tokens_in + tokens_out) * SLOTS / 640.0
            running.append((now + took, now, tokens_in, tokens_out))
            number += 1
        end, begin, tokens_in, tokens_out = min(running)
        running.remove((end, begin, tokens_in, tokens_out))
        seen = seen._replace(
            rows=seen.rows + 1, input_tokens=seen.input_tokens + tokens_in, output_tokens=seen.output_tokens + tokens_out,
            busy_s=end, held_s=seen.held_s + end - begin, in_flight=SLOTS, latency_s=2.0,
        )  # fmt: skip
        now = end
        speed = pace.note(now, "gpu", SLOTS, [("w", seen)])
        if now > 120 and speed.spans > 10:
            speeds.append(speed.rate)
            weights.append(speed.prefill)
    assert min(weights) > 0.045 and max(weights) < 0.06
    assert min(speeds) > 0.97 * 640 and max(speeds) < 1.06 * 640


def test_a_first_figure_is_by_busy_seconds_whatever_was_counted_before() -> None:
    """A span that was not full, and then the first call of the next: no call's own time stands for those of the others."""
    pace, rates = Pace(), []
    for now in range(1, 8):
        seen = Answered(rows=now, output_tokens=50.0 * now, busy_s=now, in_flight=2, latency_s=1.0, held_s=0.01 * now)
        rates.append(pace.note(float(now), "gpu", SLOTS, [("w", seen)]).rate)
    assert all(rate == pytest.approx(50.0, rel=0.3) for rate in rates[1:])


def test_a_first_span_ends_with_its_first_answers_however_long_the_others_take() -> None:
    """Of calls of 4 to 40 seconds the first span ended after 50: the longer it lasted, the longer its calls had taken."""
    pace, first_s = Pace(), 0
    for now in range(1, 60):
        rows = float(max(0, now - 5))
        tokens, held_s = 40.0 * sum(range(6, now + 1)), float(sum(range(6, now + 1)))
        latency_s = held_s / rows if rows else 0.0
        seen = Answered(rows, 0.0, tokens, float(now), SLOTS, latency_s, held_s)
        speed = pace.note(float(now), "gpu", SLOTS, [("w", seen)])
        first_s = first_s or (now if speed.spans else 0)
    assert first_s <= 14
    assert speed.rate == pytest.approx(40.0 * SLOTS, rel=0.1)


def test_nothing_is_known_before_the_first_answer() -> None:
    assert after(iter([(1.0, Answered(in_flight=SLOTS, busy_s=1.0))])) == Speed(prefill=PREFILL_WEIGHT)


def test_workers_add_up_and_one_that_comes_later_brings_no_past() -> None:
    pace, speed = Pace(), Speed()
    for now, seen in server(0.1, [(100.0, 100.0)] * 4, in_flight=SLOTS // 2):
        old = Answered(1e9, 1e9, 1e9, 1e9, SLOTS // 2, 1.0) if now > 50 else Answered()
        grown = Answered(*(a + b for a, b in zip(old[:4], seen[:4], strict=True)), SLOTS // 2, 1.0)
        speed = pace.note(now, "gpu", SLOTS, [("a", seen), *([("b", grown)] if now > 50 else [])])
    assert speed.rate == pytest.approx(2 * 640.0, rel=0.1)


def test_the_next_run_begins_with_what_was_measured_and_soon_believes_itself() -> None:
    pace = Pace()
    after(server(0.05, [(700.0, 40.0), (250.0, 700.0)] * 6), pace)
    later = Pace()
    later.begin("gpu", pace.kept("gpu"))
    first = after(iter([(0.0, Answered())]), later)
    assert first.rate == pytest.approx(640.0, rel=0.1) and first.spans == 1
    assert first.prefill == pytest.approx(0.05, rel=0.2)
    slower = after(server(0.05, [(700.0, 40.0), (250.0, 700.0)] * 3, rate=320.0), later)
    assert slower.rate == pytest.approx(320.0, rel=0.2)
    later.begin("other", Kept())
    assert later.kept("other") == Kept()
    assert later.note(0.0, "other", 1, []).spans == 0


def test_a_cloud_of_few_calls_is_no_slower_in_the_next_run() -> None:
    """Nobody had asked it, as far as each run knew: it was taken for one of six seconds, and bought from that much earlier."""
    pace, later = Pace(), Pace()
    after(iter([(0.0, Answered()), (2.0, Answered(8.0, 800.0, 400.0, 1.0, 0, 0.9, 7.0))]), pace)
    later.begin("gpu", pace.kept("gpu"))
    found = after(iter([(0.0, Answered())]), later)
    assert found == Speed(found.rate, pytest.approx(8.0), 0.9, PREFILL_WEIGHT, 0)
    slower = [
        (float(now), Answered(now / 4, 25.0 * now, 12.0 * now, float(now), 1, 4.0, float(now))) for now in range(180)
    ]
    assert after(iter(slower), later)[1:3] == (pytest.approx(0.25, rel=0.2), 4.0), (
        "what it does now outweighs that soon"
    )
