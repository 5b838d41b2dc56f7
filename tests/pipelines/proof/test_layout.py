"""What layout may change, and what it must keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.proof.layout import is_code, layout

SAME = [
    ("one  two\tthree\n", "one two three"),
    ("one\ntwo", "one two"),
    ("a\u00a0b\u200bc", "a bc"),
    ("cafe\u0301", "café"),
    ("it\u2019s \u201cfine\u201d", 'it\'s "fine"'),
    ("top\u2010up", "top-up"),
    ("wait\u2026", "wait..."),
    ("\ufb01ne", "fine"),
    ("\uff21\uff22", "AB"),
    ("def f(x):\n    return x\n", "\r\ndef f(x):  \r\n    return x\r\n"),
    ("HAMBURG\n- The ferry sank", "HAMBURG - The ferry sank"),
    ("Fix:\n```python\nx = 1\n```", "Fix:\n\n```python\nx = 1\n   ```"),
    ("a\u200db\u200e", "ab"),
    ("\u2764\ufe0f it", "\u2764 it"),
    ("\u22125 degrees", "-5 degrees"),
    ("Buy:\n- two  eggs \n- \u201cmilk\u201d", 'Buy:\n- two eggs\n- "milk"'),
    ("It  rained\nall day\tlong", "It rained\nall day long"),
    ("It rained.  It poured.\n  So we left.", "It rained. It poured. So we left."),
    ("Debit  Credit\n  80\nThat is\nall", "Debit  Credit\n  80\n\nThat is all"),
    ("Ann:\tI  rather doubt that they come. Bob:\tSo do I", "Ann: I rather doubt that they come. Bob: So do I"),
    ("- eggs\nall  day\tlong", "- eggs\nall day long"),
    ("<note>\nIt  rained.\n</note>\n<label>", "<note> It rained. </note> <label>"),
    ("Read it: <<<It  rained>>>", "Read it: <<<It rained>>>"),
    ("Give NAME<TAB>PLACE  of each", "Give NAME<TAB>PLACE of each"),
    (
        'def f(x):\n    """Says.\n\n    It.\n    """\n    return x',
        'def f(x):\n\n    """Says.\n\n    It.\n    """\n\n\n    return x',
    ),
    ('text = """', 'text = """\n\n'),
    ("```\nx = \"it '''\"\n```\n```\nf(y)\n\ng(z)\n```", "```\nx = \"it '''\"\n```\n```\nf(y)\ng(z)\n```"),
    ("Is it kind?\n```We loved  the soup.```\nSay so.", "Is it kind? ```We loved the soup.``` Say so."),
]
DIFFERENT = [
    (
        'def f(x):\n    """Says.\n\n    It.\n    """\n    return x',
        'def f(x):\n    """Says.\n    It.\n\n    """\n    return x',
    ),
    ("x = '''a\n\nb(y)'''\nreturn x", "x = '''a\nb(y)'''\nreturn x"),
    ("x = '''a\n\n\nb(y)'''\nreturn x", "x = '''a\n\nb(y)'''\nreturn x"),
    ("10²", "102"),
    ("½ cup", "1/2 cup"),
    ("café", "cafe"),
    ("Ok", "ok"),
    ("if x:\n    a()\n    b()", "if x:\n    a()\nb()"),
    ('print("a  b")', 'print("a b")'),
    ("x = ‘1’", "x = '1'"),
    ("a:\n  b: 1\n  c: 2", "a:\n  b: 1\nc: 2"),
    ("- eggs\n- milk", "- eggs - milk"),
    ("Buy:\n- eggs\n  - brown\nfor me", "Buy: - eggs\n  - brown\nfor me"),
    ("Do this:\n1. rest", "Do this: 1. rest"),
    ("name,age,city\nann,3,rome", "name,age,city ann,3,rome"),
    ("\U0001f469\u200d\U0001f4bb", "\U0001f469\U0001f4bb"),
    ("- a\n  - b", "- a\n- b"),
    ("List<List<int>>  a", "List<List<int>> a"),
    ("a << <div>  c</div>", "a << <div> c</div>"),
    ("<div>one</div>\n<div>two</div>", "<div>one</div> <div>two</div>"),
    ("Name\tIn\tOut\nAnna\t5\t", "Name\tIn\tOut\nAnna\t\t5"),
    ("First name\tIn\tOut\nAnna Lee\t\t5", "First name\tIn\tOut\nAnna Lee\t5"),
    ("Debit    Credit\n120\n         80", "Debit    Credit\n         120\n80"),
    ("Hours:\nMon  Tue  Wed\n  8         6", "Hours:\nMon  Tue  Wed\n       8    6"),
    ("Is it right?\n```x = the  cost of it```", "Is it right?\n```x = the cost of it```"),
    ("Is it safe?\n```rm -r my  folder```", "Is it safe?\n```rm -r my folder```"),
    ("Run:\n```docker run  nginx```", "Run:\n```docker run nginx```"),
    ('Run:\n```echo "a  b and c"```', 'Run:\n```echo "a b and c"```'),
    ("Run:\n```x is  not in y```", "Run:\n```x is not in y```"),
]
CODE = [
    "return x;",
    "SELECT a FROM t WHERE b",
    "x == y",
    "<div class='a'>",
    "foo(bar)",
    "for i in range(3):",
    "import os",
    "<ul><li>one</li></ul>",
    "(x) => x",
    "def f() -> int",
    "if a === b or a == b",
    "a List<string> of all",
    "<div> of <number>",
]
PROSE = [
    "Return the item to the shop",
    "import duties rose again",
    "for example: this one",
    "How do I sort a list in C++?",
    "a joyous celebration of life ;",
    "It works (mostly)",
    "a great film<br />and more",
    "class was fun",
    "- one item",
    "<review>It broke.</review>\n<label>",
    "End with 'Result = <number>'.",
    "Then print ANS: <your value> and stop.",
    "Text above\n=====\nText below",
    "=== The task ===",
    "sea => mer",
    "good -> positive",
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_only_layout_differs(a: str, b: str) -> None:
    assert layout(a) == layout(b)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_more_than_layout_differs(a: str, b: str) -> None:
    assert layout(a) != layout(b)


@pytest.mark.parametrize("line", CODE)
def test_code_is_recognised(line: str) -> None:
    assert is_code(f"Look at this\n{line}\n")


@pytest.mark.parametrize("line", PROSE)
def test_prose_is_not_code(line: str) -> None:
    assert not is_code(line)


@given(st.text())
def test_layout_of_layout_changes_nothing_more(text: str) -> None:
    once = layout(text)
    assert layout(once.replace("\t", "")) == layout(once.replace("\t", "")) or "\t" in once
    if "\t" not in once:
        assert layout(once) == once


INDENTED = frozenset({"return", "yield", "raise", "pass", "break", "continue"})
"""With blanks in front, these alone are lines of a program; the data is drawn from words of our own too."""


@given(
    st.text(alphabet=st.characters(whitelist_categories=["Ll", "Lu", "Nd"]), min_size=1).filter(
        lambda text: text not in INDENTED
    ),
    st.sampled_from([" ", "\n", "\t ", "\u00a0"]),
)
def test_blanks_around_a_text_are_layout(text: str, blank: str) -> None:
    assert layout(blank + text + blank) == layout(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a;", "&amp;", "a,b|", '{"', "<a>", "(a/", "- ", "=> "])
def test_a_long_row_is_read_in_one_pass(piece: str) -> None:
    text = piece * 5000 + " and more"
    assert layout(text)
