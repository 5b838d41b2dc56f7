"""Canonical keys stay what they are, letter by letter: a key that changes unawares forgets what was answered, or merges what differs."""

from __future__ import annotations

import time
from hashlib import blake2b
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dedup import CLOSED, EXTRACT, OPEN, STRICT, VERBATIM, canonical_key
from pipelines.proof.layout import one_line, prose_words, suspicious

KINDS = (OPEN, CLOSED, EXTRACT, STRICT, VERBATIM)
HEADS = (
    "{}",
    "Classify the ticket: {}",
    "Q: Is it late? {}\nA:",
    "<review>{}</review>\nLabel:",
    "- {}\n- two  eggs, no milk",
)
BODIES = (
    "No, more cuts are needed in Turkey",
    "no more cuts are needed in turkey.",
    "I don't know; yes or no - it's never \u201cfine\u201d",
    "Do not stop. Not now, not ever!",
    "Load 5 Mb of 100 MB at 5 mW, 1,500.00 or $5.00",
    "Why so late?? I asked twice? Who knows?",
    'What is "why?" for, when nothing - works?',
    "x - y, f'(3), n! and OH- are not x y",
    "x = 5 X",
    "Solve 5 ? 3 , 5 - 3 and 5 : 3",
    "plan A or b, May or may, IT or it, US or us",
    "I Have Read From The Book Of May About Turkey",
    "run(x) && return y; import os",
    "def f(x):\n    return x  # no\n",
    '{"text": "No, thanks", "n": 1.50}',
    "one, two\nthree; four\r\nfive \t six",
    "<b>so</b> &amp; **so** &quot;No&quot;",
    "see http://Example.org/A?b=C, www.a.io or A@b.co",
    "A shop" + "C:\\x" * 20 + " sells",
    "caf\u00e9 cafe\u0301 \u00abnon\u00bb \u2014 \uff21\uff1f \u200bx\u200dy\u00a0z \u2026",
    "\u4f60\u597d\uff0c\u4e16\u754c \u05e9\u05dc\u05d5\u05dd \U0001f468\u200d\U0001f469\u200d\U0001f467 \x00 \x1f",
)
EDITS = (str, str.upper, lambda text: text.replace(" ", "  ", 2).rstrip(".?!"))
GOLDEN = {
    OPEN: "58fc8354f8ef4fa3",
    CLOSED: "b2c7224447ce86fe",
    EXTRACT: "65a600d322868e7b",
    STRICT: "d2cad6b5bd3dcf96",
    VERBATIM: "2f88836f139fbfa9",
}
"""Of a version that read each piece of each text in turn. A rule that is meant to change keys changes these, and raises
`FORMS` where it parts what was merged."""


def texts() -> list[str]:
    return [edit(head.format(body)) for head, body, edit in product(HEADS, BODIES, EDITS)]


@pytest.mark.parametrize("kind", KINDS)
def test_keys_are_what_they_were(kind: str) -> None:
    keys = [canonical_key(b"family", text, kind) for text in texts()]
    assert len(set(keys)) > len(BODIES)
    assert blake2b(b"".join(keys), digest_size=8).hexdigest() == GOLDEN[kind]


@given(
    st.lists(
        st.sampled_from([*"(){}=<>`|;&+ :ax_1", "return", "import", "SELECT", "class", "def", "else:", "try:", "f("])
    )
)
def test_signs_of_code_are_seen_from_the_pieces(parts: list[str]) -> None:
    text = "".join(parts)
    assert one_line(text)
    assert isinstance(prose_words(text), list) or any(map(suspicious, text.split()))


@given(
    st.lists(st.sampled_from(["no", "No,", "not", '"', "-", "?", 'so?"', "or", "why", "A", "Mb", "5", "May", "hello!"]))
)
def test_what_is_remembered_of_pieces_changes_no_key(pieces: list[str]) -> None:
    """The second time all of them are."""
    fresh = [f"{piece}\u00e9{len(pieces)}" for piece in pieces]
    for text in (" ".join(pieces), " ".join([*pieces, *fresh])):
        assert canonical_key(b"family", text, OPEN) == canonical_key(b"family", text, OPEN)


REPEATED = [".", "-", "?", '"', "'", "(", "=", "<", "\n", "\t", "\x00", "a", "A", "1", "_", "\u00e9", "\u0301", "\u200d", "\u00a0", "\u2019",
            "\u4f60", "\u05d0", "no ", "no, ", "no - ", '?" ', "? ", "why? ", "A ", "May ", "Mb ", "- ", "! ", "&amp;", "**a** ", "- a\n",
            "  a\n", "return ", "a, ", "x = ", "<a> ", "</a>", "```\n"]  # fmt: skip


@pytest.mark.parametrize("letters", REPEATED, ids=repr)
def test_a_long_row_of_one_thing_is_read_in_one_pass(letters: str) -> None:
    text = letters * (50_000 // len(letters))
    begun = time.process_time()
    for kind in KINDS:
        canonical_key(b"family", text, kind)
    assert time.process_time() - begun < 3
