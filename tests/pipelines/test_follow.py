"""Who is asked when a leader has no answer: equal followers one at a time, proven ones each, deterministic ends shared."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.follow import (
    ALONE,
    CANONICAL,
    CLOSED,
    EXACT,
    FELL,
    NONE,
    OK,
    SHARED,
    TRIES,
    Links,
    due,
    ended,
    substitutes,
    takers,
    twin,
)

Member = tuple[int, int, bool]
"""Kind of the link, how the follower itself ended, whether it is being asked."""


def group(
    members: list[Member], leader: int, keys: Mapping[int, bytes] = {}
) -> tuple[Links, np.ndarray, np.ndarray, np.ndarray]:
    """One leader, row 0, with followers 1, 2, … and the keys that were kept of them."""
    count = len(members)
    kinds, followers, asked = zip(*members, strict=True) if members else ((), (), ())
    twins = [twin(kind, row, keys.get(row)) for row, kind in enumerate(kinds, start=1)]
    links = Links(
        np.zeros(count, np.int32), np.zeros(count, np.int64), np.arange(1, count + 1), np.array(kinds, np.uint8),
        np.array(twins, np.uint64),
    )  # fmt: skip
    return links, np.full(count, leader, np.uint8), np.array(followers, np.uint8), np.array(asked, bool)


@pytest.mark.parametrize(
    ("leader", "members", "expected"),
    [
        (NONE, [(EXACT, NONE, False)], []),
        (OK, [(EXACT, NONE, False), (ALONE, NONE, False)], []),
        (CLOSED, [(EXACT, NONE, False)], []),
        (FELL, [(EXACT, NONE, False), (EXACT, NONE, False), (CANONICAL, NONE, False)], [1]),
        (FELL, [(EXACT, NONE, True), (EXACT, NONE, False)], []),
        (FELL, [(EXACT, FELL, False), (EXACT, NONE, False)], [2]),
        (FELL, [(EXACT, OK, False), (EXACT, NONE, False)], []),
        (FELL, [*[(EXACT, FELL, False)] * TRIES, (EXACT, NONE, False)], []),
        (FELL, [(ALONE, NONE, False), (ALONE, NONE, False), (ALONE, OK, False)], [1, 2]),
        (FELL, [(EXACT, CLOSED, False)], [1]),
        (SHARED, [(EXACT, NONE, False), (CANONICAL, NONE, False), (CANONICAL, NONE, False)], [2]),
        (SHARED, [(EXACT, NONE, False)], []),
        (SHARED, [(ALONE, NONE, False)], [1]),
    ],
)
def test_who_is_due(leader: int, members: list[Member], expected: list[int]) -> None:
    assert due(*group(members, leader)) == expected


A, B = b"a" * 16, b"b" * 16


@pytest.mark.parametrize(
    ("leader", "ends", "asked", "expected"),
    [
        (FELL, [NONE, NONE, NONE, NONE], None, [1, 2]),
        (FELL, [NONE, NONE, NONE, NONE], 3, [2]),
        (FELL, [FELL, NONE, NONE, NONE], None, [2, 3]),
        (FELL, [OK, NONE, NONE, NONE], None, [2]),
        (FELL, [OK, OK, NONE, NONE], None, []),
        (SHARED, [NONE, NONE, NONE, NONE], None, [1, 2]),
        (OK, [NONE, NONE, NONE, NONE], None, []),
    ],
)
def test_exact_copies_of_a_proven_follower_are_asked_one_at_a_time(
    leader: int, ends: list[int], asked: int | None, expected: list[int]
) -> None:
    members = [(ALONE, end, row == asked) for row, end in enumerate(ends, start=1)]
    assert due(*group(members, leader, {1: A, 2: B, 3: A, 4: A})) == expected


def test_the_copies_follow_the_one_that_was_answered_and_nobody_else() -> None:
    keys = {1: A, 2: B, 3: A, 4: A}
    links, *_ = group([*[(ALONE, NONE, False)] * 5, (EXACT, NONE, False)], FELL, keys)
    sources, served = substitutes(links, np.array([3]))
    assert sources.tolist() == [3, 3] and served.tolist() == [1, 4]
    assert [column.tolist() for column in substitutes(links, np.array([5, 6]))] == [[], []], "each has no peer"


members_ = st.lists(
    st.tuples(
        st.sampled_from([EXACT, CANONICAL, ALONE]), st.sampled_from([NONE, OK, SHARED, FELL, CLOSED]), st.booleans()
    ),
    max_size=8,
)


@given(members_, st.sampled_from([NONE, OK, SHARED, FELL, CLOSED]))
def test_nobody_is_asked_twice_and_at_most_one_takes_a_place(members: list[Member], leader: int) -> None:
    rows = due(*group(members, leader))
    assert len(rows) == len(set(rows))
    for row in rows:
        kind, follower, asked = members[row - 1]
        assert follower in (NONE, CLOSED) and not asked, "it has ended or is on its way"
        assert leader in (FELL, SHARED) and not (leader == SHARED and kind == EXACT)
    assert sum(members[row - 1][0] != ALONE for row in rows) <= 1


@given(members_, st.dictionaries(st.integers(1, 8), st.sampled_from([A, B])))
def test_as_many_would_be_asked_as_are_asked_when_their_leader_is_lost(
    members: list[Member], keys: dict[int, bytes]
) -> None:
    links, leaders, *_ = group([(kind, NONE, False) for kind, _, _ in members], FELL, keys)
    nobody = np.zeros(len(members), np.uint8)
    taking = takers(links, np.arange(len(members)))
    assert sorted(links.follower[taking].tolist()) == due(links, leaders, nobody, nobody.astype(bool))


@given(members_)
def test_every_group_comes_to_an_end(members: list[Member]) -> None:
    """Asked again and again, with every answer a failure, nobody is left who is due, and few equal ones were asked."""
    members = [(kind, NONE, False) for kind, _, _ in members]
    asked = 0
    while rows := due(*group(members, FELL)):
        asked += sum(members[row - 1][0] != ALONE for row in rows)
        members = [(kind, FELL if at + 1 in rows else was, False) for at, (kind, was, _) in enumerate(members)]
    assert asked <= TRIES
    assert all(was == FELL for kind, was, _ in members if kind == ALONE)


def test_peers_follow_the_first_that_was_answered() -> None:
    links, *_ = group([(EXACT, FELL, False), (CANONICAL, OK, False), (ALONE, OK, False), (EXACT, NONE, False)], FELL)
    sources, served = substitutes(links, np.array([2, 3]))
    assert sources.tolist() == [2, 2] and served.tolist() == [1, 4]
    other = Links(*(np.concatenate([column, column]) for column in links))
    other.run[4:] = 1
    other.follower[4:] += 10
    sources, served = substitutes(other, np.array([12]))
    assert served.tolist() == [11, 14], "equal row numbers of other runs are other leaders"


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (("ok", None, 200, 1), OK),
        (("refused", "refusal", 200, 1), SHARED),
        (("failed", "check_failed", 200, 2), SHARED),
        (("failed", "bad_request", 400, 1), SHARED),
        (("failed", "lost", None, 3), FELL),
        (("failed", "http_500", 500, 3), FELL),
        (("expired", None, None, 0), CLOSED),
        (("cancelled", None, None, 1), FELL),
    ],
)
def test_how_an_end_counts(end: tuple[str, str | None, int | None, int], expected: int) -> None:
    assert ended(*end) == expected
