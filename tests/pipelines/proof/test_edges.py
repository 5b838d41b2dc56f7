"""Blanks and full stops at the ends of a passage that is wrapped say nothing; in a short string they may be what is meant."""

from __future__ import annotations

import pytest

from pipelines.dedup import EXTRACT, STRICT, canonical_key, decide
from pipelines.proof.edges import tightened

SAID = "Nobody knew that the ferry had left before noon."
WRAPPED = ["Text: '{}'\nJSON:", 'Text: "{}"\nJSON:', '"""{}"""\nList it.', "<note>{}</note>\nList it.", "List: \u00ab{}\u00bb", "List: \u201c{}\u201d",
           "List it: `{}`", "<<<{}>>>\nList it.", '<source lang="en">{}</source>\n<target lang="Thai">', '<note id="a-17">{}</note>\nList it.',
           '"""\n{}\n"""\nList it.']  # fmt: skip
BLANKS = ["{} ", " {}", "\n{}\n", "\t{}", "  {}   "]
SAME_END = [SAID[:-1], SAID[:-1] + " .", SAID + " "]

OTHER = [
    ('Join the names with: " - "', 'Join the names with: "-"'),
    ('Put between all of them: " and "', 'Put between all of them: "and"'),
    ('Set the title of the page to "Hello."', 'Set the title of the page to "Hello"'),
    (f'List: "{SAID}"', f"List: {SAID}"),
    (f'List: "{SAID[:-1]}?"', f'List: "{SAID}"'),
    (
        'List: the 5 " pipe is broken and nobody will come today',
        'List: the 5" pipe is broken and nobody will come today',
    ),
    ('print(" a b c ")', 'print("a b c")'),
    (f'List it: print(" {SAID} ")', f'List it: print("{SAID}")'),
    (f'List: "{SAID}" "It sank."', f'List: "{SAID} It sank."'),
    (f"List: <b>{SAID}</b> x", f"List: <b> {SAID}</b> x"),
    (f"List: <note>{SAID} </a>", f"List: <note>{SAID}</a>"),
    ("Split it at <separator> - </separator>", "Split it at <separator>-</separator>"),
    (f'List: <note id="7">{SAID}</note>', f'List: <note id="8">{SAID}</note>'),
    (
        f'<source lang="en">{SAID}</source>\n<target lang="Thai">',
        f'<source lang="en">{SAID}</source>\n<target lang="Greek">',
    ),
    (f'Fix it: <path d="M 0 0">{SAID} </path>', f'Fix it: <path d="M 0 0">{SAID}</path>'),
    (
        'Write code. It prints "Please enter your first and your last name: "',
        'Write code. It prints "Please enter your first and your last name:"',
    ),
    (f'Write a test that it returns "{SAID}"', f'Write a test that it returns "{SAID[:-1]}"'),
]


@pytest.mark.parametrize("task", [STRICT, EXTRACT])
@pytest.mark.parametrize("template", WRAPPED)
@pytest.mark.parametrize("edit", BLANKS)
def test_blanks_inside_of_what_wraps_a_passage_are_layout(template: str, edit: str, task: str) -> None:
    one, other = template.format(SAID), template.format(edit.format(SAID))
    assert decide((one,), (other,), task).accept
    assert canonical_key(b"family", one, task) == canonical_key(b"family", other, task)


@pytest.mark.parametrize("template", WRAPPED)
@pytest.mark.parametrize("said", SAME_END)
def test_so_is_the_full_stop_that_closes_it(template: str, said: str) -> None:
    assert decide((template.format(SAID),), (template.format(said),), STRICT).accept


def test_a_passage_may_quote_in_turn() -> None:
    quoted = 'List: "He said "no" and left the party much too early.{}"'
    assert decide((quoted.format(""),), (quoted.format(" "),), STRICT).accept
    assert decide(
        ('List: "It is ""the best"" that ever was." .',), ('List: "It is ""the best"" that ever was."',), STRICT
    ).accept


@pytest.mark.parametrize("task", [STRICT, EXTRACT])
@pytest.mark.parametrize(("one", "other"), OTHER)
def test_short_strings_and_programs_keep_theirs(one: str, other: str, task: str) -> None:
    assert not decide((one,), (other,), task).accept
    assert canonical_key(b"family", one, task) != canonical_key(b"family", other, task)


def test_lines_of_code_stay_as_they_are() -> None:
    form = f'He wrote: " {SAID} "\n\tx = " {SAID} "'
    assert tightened(form) == f'He wrote: "{SAID}"\n\tx = " {SAID} "'
