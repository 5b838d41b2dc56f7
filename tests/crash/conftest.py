"""`make test` plays a part of the crash suite; `make crash` (CRASH_EVERY=1) plays all of it."""

from __future__ import annotations

import os

import pytest

SIBLINGS = {
    "test_two_workers_that_both_believe_they_own_a_batch_never_both_publish": ("after the run has ended",),
    "test_a_redis_that_forgot_its_last_seconds_is_told_again": ("1",),
    "test_a_run_registered_just_before_redis_forgot_its_last_seconds_is_not_lost": ("are down",),
    "test_a_registration_forgotten_together_with_its_preparer_costs_nothing": ("otherwise",),
    "test_rows_of_a_route_that_is_gone_wait_for_it_and_others_go_on": ("not prepared",),
    "test_what_was_accepted_is_answered_once_whoever_is_killed": ("2",),
    "test_kill_9_in_the_middle": ("lanes", "program"),
    "test_an_order_survives_a_kill_at_every_step": ("read",),
}
"""Forms of tests of which another form is always played."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("CRASH_EVERY"):
        return
    later = pytest.mark.skip(reason="a sibling is played; `make crash` plays both")
    for item in items:
        name, _, form = item.name.rstrip("]").partition("[")
        if form in SIBLINGS.get(name, ()):
            item.add_marker(later)
