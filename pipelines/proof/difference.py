"""Where two lists of words differ: the fewest and shortest places, and fast for long lists. What that means, others say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

_SMALL = 300
_MAX_EDITS = 16


class Span(NamedTuple):
    """One place where two token lists differ, as half-open ranges."""

    a0: int
    a1: int
    b0: int
    b1: int


def differences(a: list[str], b: list[str]) -> list[Span]:
    """Where two lists differ: common head and tail first, then the longest common runs between them.

    Long lists that differ in many places are one difference from the first place to the last.
    """
    whole = place(a, b)
    head, mid_a, mid_b = whole.a0, a[whole.a0 : whole.a1], b[whole.b0 : whole.b1]
    if not mid_a and not mid_b:
        return []
    if not mid_a or not mid_b or len(mid_a) == len(mid_b) == 1:
        return [whole]
    if max(len(mid_a), len(mid_b)) > _SMALL:
        spans = _few_edits(mid_a, mid_b)
        return [whole] if spans is None else [Span(head + i, head + j, head + k, head + m) for i, j, k, m in spans]
    codes = SequenceMatcher(None, mid_a, mid_b, autojunk=False).get_opcodes()
    return [Span(head + i, head + j, head + k, head + m) for tag, i, j, k, m in codes if tag != "equal"]


def place(a: Sequence[object], b: Sequence[object]) -> Span:
    """From the first word that differs to the last one; empty on both sides where none does."""
    head = shared_head(a, b)
    tail = min(shared_head(reversed(a), reversed(b)), min(len(a), len(b)) - head)
    return Span(head, len(a) - tail, head, len(b) - tail)


def shared_head(a: Iterable[object], b: Iterable[object]) -> int:
    """How many words, or letters of two words, are the same from the beginning on."""
    count = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        count += 1
    return count


def _few_edits(a: list[str], b: list[str]) -> list[Span] | None:
    """The shortest way from one long list to the other by single deletions and insertions, if it is short."""
    reach: dict[int, tuple[int, tuple[tuple[int, int], ...]]] = {1: (0, ())}
    for edits in range(_MAX_EDITS + 1):
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and reach.get(k - 1, (-1, ()))[0] < reach.get(k + 1, (-1, ()))[0])
            x, path = reach[k + 1] if down else (reach[k - 1][0] + 1, reach[k - 1][1])
            y = x - k
            if edits:
                path = (*path, (x, y - 1) if down else (x - 1, y))
            while x < len(a) and y < len(b) and a[x] == b[y]:
                x, y = x + 1, y + 1
            reach[k] = (x, path)
            if x >= len(a) and y >= len(b):
                return _spans(a, b, path)
    return None


def _spans(a: list[str], b: list[str], path: tuple[tuple[int, int], ...]) -> list[Span]:
    """Neighbouring single edits as one span; an edit at (x, y) deletes a[x] or inserts b[y]."""
    spans: list[Span] = []
    for at, (x, y) in enumerate(path):
        following = path[at + 1] if at + 1 < len(path) else (len(a), len(b))
        deletes = _is_deletion(a, b, x, y, following)
        end = (x + 1, y) if deletes else (x, y + 1)
        if spans and spans[-1].a1 == x and spans[-1].b1 == y:
            spans[-1] = Span(spans[-1].a0, end[0], spans[-1].b0, end[1])
        else:
            spans.append(Span(x, end[0], y, end[1]))
    return spans


def _is_deletion(a: list[str], b: list[str], x: int, y: int, following: tuple[int, int]) -> bool:
    """From (x, y) a diagonal run must lead to the next edit: after a deletion it starts one to the right."""
    return following[0] - (x + 1) == following[1] - y
