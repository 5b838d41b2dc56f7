"""Two texts side by side with their difference marked, as HTML; everything from outside is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from html import escape
from typing import NamedTuple

MOST_WORDS = 750
"""At either end of where two texts differ; what is between is left out, as difflib takes up to the cube of it."""
CONTEXT = 40
"""Words and blanks left around a difference; a longer equal stretch is shortened in the middle."""
STYLE = """
.pair{border:1px solid #d8dee4;border-radius:6px;margin:1rem 0;overflow:hidden}
.pair h3{font-size:.95rem;margin:0;padding:.5rem .8rem;background:#f6f8fa;border-bottom:1px solid #d8dee4}
.pair div{display:grid;grid-template-columns:1fr 1fr}.pair pre{margin:0;padding:.7rem .8rem;white-space:pre-wrap;
overflow-wrap:anywhere;font:13px/1.5 ui-monospace,monospace}.pair pre+pre{border-left:1px solid #d8dee4}
.pair b{display:block;color:#57606a;font-weight:600}del,ins{text-decoration:none;border-radius:3px;padding:0 .1em}
del{background:#ffd7d5}ins{background:#ccf2d4}i{color:#8b949e}
@media(max-width:50rem){.pair div{grid-template-columns:1fr}.pair pre+pre{border-left:0;border-top:1px solid #d8dee4}}
@media(prefers-color-scheme:dark){.pair,.pair h3,.pair pre+pre{border-color:#30363d}.pair h3{background:#161b22}
.pair b{color:#8b949e}del{background:#67060c}ins{background:#033a16}}
"""

_WORDS = re.compile(r"\s{1,40}|\w{1,40}|[^\w\s]")  # what has no blanks for long is no word, and may differ anywhere


class Pair(NamedTuple):
    """Two prompts, what they are called, and what the stage said of them."""

    said: str
    left_name: str
    left: str
    right_name: str
    right: str


def html(title: str, pairs: Sequence[Pair]) -> str:
    """A section with one box for each pair; empty without pairs."""
    return f"<h2>{escape(title)}</h2>{''.join(map(_box, pairs))}" if pairs else ""


def _box(pair: Pair) -> str:
    left, right = marked(pair.left, pair.right)
    return (
        f'<section class="pair"><h3>{escape(pair.said)}</h3><div>'
        f"<pre><b>{escape(pair.left_name)}</b>{left}</pre><pre><b>{escape(pair.right_name)}</b>{right}</pre></div></section>"
    )


def marked(left: str, right: str) -> tuple[str, str]:
    """Both texts as HTML, what only one of them says in <del> or <ins>."""
    a, b = _WORDS.findall(left), _WORDS.findall(right)
    head = _same(a, b)
    tail = _same(a[head:][::-1], b[head:][::-1])
    begin, end = _shortened(a[:head]), _shortened(a[len(a) - tail :])
    a, b = a[head : len(a) - tail], b[head : len(b) - tail]
    first, last = _differences(a[:MOST_WORDS], b[:MOST_WORDS]), _differences(_last(a), _last(b))
    one, other = (begin + first[at] + _left_out(words) + last[at] + end for at, words in enumerate((a, b)))
    return one, other


def _same(a: Sequence[str], b: Sequence[str]) -> int:
    """How many words both begin with."""
    return next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _last(words: Sequence[str]) -> Sequence[str]:
    """The end of what is more than a beginning."""
    return words[max(MOST_WORDS, len(words) - MOST_WORDS) :]


def _left_out(words: Sequence[str]) -> str:
    between = words[MOST_WORDS : len(words) - MOST_WORDS]
    return f"<i> … {_count(between)} words not shown … </i>" if between else ""


def _differences(a: Sequence[str], b: Sequence[str]) -> tuple[str, str]:
    one, other = [], []
    for kind, a0, a1, b0, b1 in SequenceMatcher(str.isspace, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            same = _shortened(a[a0:a1])
            one.append(same)
            other.append(same)
            continue
        one.append(_mark("del", a[a0:a1]))
        other.append(_mark("ins", b[b0:b1]))
    return "".join(one), "".join(other)


def _mark(tag: str, words: Sequence[str]) -> str:
    return f"<{tag}>{escape(''.join(_visible(words)))}</{tag}>" if words else ""


def _visible(words: Sequence[str]) -> Iterator[str]:
    """Blanks that are the whole difference can be seen."""
    if "".join(words).strip():
        yield from words
    else:
        yield from (word.replace(" ", "␣").replace("\n", "⏎\n").replace("\t", "⇥\t") for word in words)


def _shortened(words: Sequence[str]) -> str:
    if len(words) <= 2 * CONTEXT + 10:
        return escape("".join(words))
    head, tail = escape("".join(words[:CONTEXT])), escape("".join(words[-CONTEXT:]))
    return f"{head}<i> … {_count(words[CONTEXT:-CONTEXT])} equal words … </i>{tail}"


def _count(words: Sequence[str]) -> int:
    return sum(not word.isspace() for word in words)
