"""The short form of `python -m tests.crash.chaos`: a seed of each form, and a fresh one, printed."""

from __future__ import annotations

import os
import random

import pytest

from tests.crash.chaos import play

FIXED = [("field", 1), ("embedded", 3), ("hosts", 5)]
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID")  # processes that share a suite must draw the same seed
FRESH = (random.Random(RUN) if RUN else random.SystemRandom()).randrange(1000, 1_000_000)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("form", "seed"), [*FIXED, ("field", int(os.environ.get("CHAOS_SEED", FRESH)))])
def test_every_row_once_and_the_ledger_covers_the_bill(form: str, seed: int) -> None:
    print(f"{form} seed {seed}: python -m tests.crash.chaos --form {form} --first {seed} --seeds 1")
    assert not (wrong := play(seed, form)), "\n".join(wrong)
