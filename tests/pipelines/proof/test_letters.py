"""Blanks, line ends and forms of letters that say something where the letters of a text are work."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, EXTRACT, STRICT, canonical_key, decide

PARTED = [
    ('echo "a  b"', 'echo "a b"'),
    ("puts 'a\tb'", "puts 'a b'"),
    ("Say `a  b` twice, please", "Say `a b` twice, please"),
    ("Guests: Paul Simon\nJohn Denver", "Guests: Paul\nSimon John Denver"),
    ("Present: Lee\nPark Kim", "Present: Lee Park Kim"),
    ("To: Ann Bo\nCc: Cy", "To: Ann\nBo Cc: Cy"),
    ("Sizes: 12\n14 16", "Sizes: 12 14 16"),
    ("print(len('caf\u00e9'))", "print(len('cafe\u0301'))"),
    ("print(len('x\u200by'))", "print(len('xy'))"),
]
SAME = [
    ("He  said that it was late", "He said that it was late"),
    ("He said \u201cit is late\u201d", 'He said  "it is late"'),
    ('He said "that it is late  and he must go"', 'He said "that it is late and he must go"'),
    ("She doesn't know what  he can't do", "She doesn't know what he can't do"),
    ("The talks between the two sides ended in New\nYork on Friday", "The talks between the two sides ended in New York on Friday"),
    ("A tablet that was sold in May of 2014, at 4:00\nPM\n\nJSON:", "A tablet that was sold in May of 2014, at 4:00 PM\n\nJSON:"),
    ("It was late.\nHe left", "It was late. He left"),
    ("we met in\nthe park", "we met in the park"),
    ("caf\u00e9 'caf\u00e9'", "cafe\u0301 'cafe\u0301'"),
    ("Net: 12\nVAT: 7", "Net: 12 \r\nVAT: 7\n"),
    ("NOTE\nTicket: 7\nName: Ana", "NOTE\n\n\ufeffTicket: 7\nName: A\u00adna"),
]  # fmt: skip


@pytest.mark.parametrize("task", [EXTRACT, STRICT])
@pytest.mark.parametrize(("a", "b"), PARTED)
def test_what_is_parted_differs(a: str, b: str, task: str) -> None:
    assert canonical_key(b"", a, task) != canonical_key(b"", b, task)
    assert not decide((a,), (b,), task).accept


@pytest.mark.parametrize("task", [EXTRACT, STRICT, CLOSED])
@pytest.mark.parametrize(("a", "b"), SAME)
def test_other_layout_is_none(a: str, b: str, task: str) -> None:
    assert canonical_key(b"", a, task) == canonical_key(b"", b, task)
    assert decide((a,), (b,), task).accept
