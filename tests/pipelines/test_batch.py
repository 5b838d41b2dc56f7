"""Batches: one route, bounded rows and bytes, prefixes together, nothing lost."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batch import MAX_BYTES, MAX_ROWS, MIN_ROWS, Asked, groups, output_estimate, pack, rest, rows_per_batch
from pipelines.types import BatchHead, Item


def asked(row: int, route: str = "small", prefix: bytes = b"", size: int = 10) -> Asked:
    return Asked(Item(row, b"x" * size, 5, 0), route, prefix, 20)


def test_routes_do_not_mix_and_prefixes_stay_together() -> None:
    rows = [asked(i, "a" if i % 2 else "b", b"p1" if i % 3 else b"p0") for i in range(200)]
    batches = [batch for _, batch in pack(rows, {})]
    assert all(len({one.route for one in batch}) == 1 for batch in batches)
    order = [one.prefix for batch in batches for one in batch if one.route == "a"]
    assert [prefix for prefix, _ in groupby(order)] in ([b"p0", b"p1"], [b"p1", b"p0"])


def test_groups_do_not_mix_and_lengths_stay_together() -> None:
    """Each batch is of one group; a beginning that few share is no group of its own."""
    rows = [
        Asked(Item(i, b"x", i % 100, 40 if i % 2 else 900), "a", b"many" if i % 3 else b"%d" % i, 20, "text")
        for i in range(600)
    ]
    packed = pack(rows, {})
    assert sorted({group for group, _ in packed}) == [
        "a text 10 ",
        "a text 10 73bade64",
        "a text 6 ",
        "a text 6 73bade64",
    ]
    for group, batch in packed:
        assert {one.item.max_tokens for one in batch} == {900 if " 10 " in group else 40}
    many = [one.item.input_tokens for group, batch in packed if group == "a text 6 73bade64" for one in batch]
    assert many == sorted(many) and len(many) == 200
    assert pack(list(reversed(rows)), {}) == packed, "whatever the order in which they came"


def of_kinds(rows: int, beginning: bytes) -> list[Asked]:
    """Prompts of three kinds, a half, three tenths and a fifth of all, that begin alike for `beginning` of the kind."""
    kinds = b"aaaaabbbxx"
    return [
        Asked(
            Item(i, b"x", i % 7, 0), "a", (beginning.replace(b"?", bytes([kinds[i % 10]])) + b"%09d" % i).ljust(256), 20
        )
        for i in range(rows)
    ]


@pytest.mark.parametrize("length", [40, 100, 200])
@pytest.mark.parametrize("rows", [200, 256, 2048])
def test_kinds_of_prompts_are_the_same_groups_in_a_chunk_of_any_size_and_by_a_beginning_of_any_length(
    rows: int, length: int
) -> None:
    """The first chunk is small, and what is measured of its groups must say something of all others."""
    beginning = (b'{"messages":[{"role":"user","content":"Of kind ?: ' + b"read and answer. " * 20)[: length + 48]
    names = {group for group, _ in pack(of_kinds(rows, beginning), {})}
    assert len(names) == 3 and all(name.split()[-1] != "0" for name in names)
    assert names == {group for group, _ in pack(of_kinds(640, beginning), {})}


def test_a_group_that_is_known_is_one_however_few_it_has_now_and_comes_before_one_that_is_not() -> None:
    """Five prompts of a kind that a large run had; and in a larger one, where a part of them begins alike for longer."""
    beginning = (b'{"messages":[{"role":"user","content":"Of kind ?: ' + b"read and answer. " * 20)[:100]
    known = groups(of_kinds(640, beginning)).keys()
    assert groups(of_kinds(5, beginning)).keys().isdisjoint(known)
    assert groups(of_kinds(5, beginning), known).keys() < known
    more = [Asked(one.item, "a", one.prefix[:100] + b"x" * 156, 20) for one in of_kinds(640, beginning)]
    assert groups(more).keys().isdisjoint(known) and groups(more, known).keys() == known


def test_prompts_that_begin_each_in_its_own_way_lie_by_their_lengths() -> None:
    rows = [Asked(Item(i, b"x", i * 37 % 101, 0), "a", b"%03d" % i, 20) for i in range(100)]
    lengths = [one.item.input_tokens for _, batch in pack(rows, {}) for one in batch]
    assert lengths == sorted(lengths)


def test_size_follows_the_lane() -> None:
    assert rows_per_batch(0.0) == MIN_ROWS
    assert rows_per_batch(1e6) == MAX_ROWS
    assert MIN_ROWS < rows_per_batch(10.0) < MAX_ROWS


def test_a_run_that_is_due_soon_is_cut_finely() -> None:
    """A batch of sixteen was a twentieth of what a lane could do in a minute."""
    for deadline_s, slow, fast in ((None, 16, 38), (3600.0, 16, 38), (600.0, 4, 30), (60.0, 4, 4)):
        assert rows_per_batch(0.0, deadline_s) == slow and rows_per_batch(10.0, deadline_s) == fast
    assert rows_per_batch(1e6, 60.0) == MAX_ROWS
    assert [rows_per_batch(0.0, 60.0, rows) for rows in (1, 300, 900, 1200, 2048)] == [2, 2, 3, 4, 4]
    assert rows_per_batch(10.0, 600.0, 300) == 30, "what the lane does in a moment, however few they are"
    for rows, each in ((40, 2), (1200, 4)):
        assert {len(batch) for _, batch in pack([asked(i) for i in range(rows)], {}, 60.0)} == {each}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, MAX_BYTES)), max_size=60), st.floats(0, 1e4))
def test_every_prompt_is_in_one_batch_within_bounds(rows: list[tuple[str, int]], rate: float) -> None:
    batches = [batch for _, batch in pack([asked(i, r, b"", size) for i, (r, size) in enumerate(rows)], {"a": rate})]
    assert sorted(one.item.row for batch in batches for one in batch) == list(range(len(rows)))
    for batch in batches:
        assert len(batch) <= MAX_ROWS
        assert len(batch) == 1 or sum(len(one.item.body) for one in batch) <= MAX_BYTES


def test_output_estimates() -> None:
    assert output_estimate(0, None) == 200
    assert output_estimate(50, None) == 50
    assert output_estimate(0, ("positive", "negative")) < 10


def test_a_batch_of_which_some_is_answered_is_worth_what_is_left() -> None:
    head = BatchHead("b", "r", "all", 0, 10, 1000, 400, 500.0, 3000, 77, group="g", max_tokens=600)
    assert rest(head, 4) == BatchHead("b", "r", "all", 0, 4, 400, 160, 200.0, 1200, 77, group="g", max_tokens=240)
    assert rest(head, 0) == rest(head, 10) == rest(head, 11) == rest(head, -1) == head
