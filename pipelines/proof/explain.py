"""What allows a reuse: why a difference between two texts is harmless. Whatever nothing here explains is a difference.

The kind of task decides what may be ignored; guards.py names what forbids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pipelines.guards import Side, sides
from pipelines.proof import closing, lexicon, typos
from pipelines.proof.asking import PARAGRAPH
from pipelines.proof.casing import named_and_one, same_capitals, titled
from pipelines.proof.courtesy import EXCHANGED, UNDECIDED, courtesies
from pipelines.proof.difference import Span, differences
from pipelines.proof.figures import MEASURES, PAUSE, figures
from pipelines.proof.instruction import CLOSED, LITERAL, OPEN, VERBATIM
from pipelines.proof.layout import layout
from pipelines.proof.letters import literal_words, placed
from pipelines.proof.moves import moved
from pipelines.proof.phrases import common
from pipelines.proof.reading import Token, tokens
from pipelines.proof.shown import decoded, emphasised, unmarked
from pipelines.proof.signs import same_doubts
from pipelines.proof.slips import slips
from pipelines.proof.spelling import spelling
from pipelines.proof.wording import same_question
from pipelines.proof.words import ARTICLES, NUMBER_WORDS, QUANTIFIERS, RANGED, SLIPS, SUBJECTS, word_set

_MAX_CHANGED, _MAX_REWORDED = 6, 10
"""More changed words than this on one side are another text, not a variant; a question may be put in so many other words: frames are long."""

_LONG_ENOUGH, _REMEMBERED_LETTERS = 6, 4_000_000
_CONTRACTED = ({"'s", "is"}, {"'s", "has"})
"""Where a verb may stand, no owner can: `the card's gone` is `the card has gone`."""

_FIXED = frozenset(
    {
        ("of", "question"),
        ("in", "way"),
        ("of", "way"),
        ("in", "case"),
        ("in", "event"),
        ("in", "family"),
        ("at", "time"),
    }
)
"""Between these an article makes another phrase: `out of the question` is not `out of question`, `in the case` not `in case`."""

_SAYING = word_set(
    "say says said think thinks thought know knew knows believe believes believed hope hoped hopes sure told tell claim claimed claims "
    "announced reported noticed realised realized suppose assume guess mentioned added insisted confirmed see saw show showed heard"
)
_CLAUSES = SUBJECTS | {"there"}
"""What begins a clause, so that `that` before it joins clauses: `I think (that) the shop is closed`."""

_COURTESY = dict.fromkeys(
    ("please", "greeting", "time of day", "thanks", "closing", "frankly", "plea", "filler", "aside"), "politeness"
)
_PACING = frozenset(",;:.!?-…–—")
_SOFT, _PACE = Token(PAUSE, "", "soft", False), Token(PAUSE, ",", "soft", False)
"""A phrase ends at either; quotation marks and brackets do not part a courtesy from what it stands beside."""
MARKED_KINDS = frozenset({"code", "id", "link", "number"})
"""What is never explained away."""


class Read(NamedTuple):
    """A text in layout form, its tokens without soft punctuation, and what is compared of them."""

    form: str
    shown: str  # the same as a reader is shown it
    tokens: tuple[Token, ...]
    norms: list[str]
    bag: frozenset[str]
    marked: frozenset[str]  # numbers, links and the like
    stressed: list[str]  # in bold or between stars
    slips: list[str]  # words in another form than the usual one, where mistakes or spellings may be what is asked about
    titled: bool  # most words have a capital letter, which then says nothing
    courteous: Mapping[int, str]  # which tokens are greetings and the like, and of what kind


_reads: dict[str, Read] = {}
_held = [0]
lexicon.forgets.append(_reads.clear)


def read(text: str) -> Read:
    """Everything the comparisons need of a text, made once; what is remembered is bounded by its letters."""
    found = _reads.get(text)
    if found is None:
        if _held[0] + len(text) > _REMEMBERED_LETTERS:
            _reads.clear()
            _held[0] = 0
        found = _reads[text] = _read(text)
        _held[0] += len(text)
    return found


def _read(text: str) -> Read:
    form = layout(text)
    shown = unmarked(plain := decoded(text))
    parts = PARAGRAPH.split(shown) if "?" in shown and "\n" not in form and form[:1] != "\t" else [shown]
    every = _closed([token for part in parts for token in tokens(form if part == text else layout(part))])
    said = [(_PACE if token.norm in _PACING else _SOFT) if token.kind == "soft" else token for token in every]
    found = common(figures(said))
    kept = tuple([token for token in found if token.norm != PAUSE])
    pauses = [at for at, token in enumerate(found) if token.norm == PAUSE]
    courteous = courtesies(kept, {at - nth for nth, at in enumerate(pauses) if found[at].raw})
    norms, seen = [token.norm for token in kept], form if plain == text else layout(plain)
    marked = frozenset([token.norm for token in kept if token.kind in MARKED_KINDS])
    return Read(
        form, seen, kept, norms, frozenset(norms), marked, emphasised(text), slips(said), titled(form), courteous
    )


def _closed(found: list[Token]) -> list[Token]:
    """In `it ends in 14"` the mark closes a quotation, if one was opened and nothing else ends in one: it is no inch."""
    places = [at for at, token in enumerate(found) if token.norm == '"']
    if len(places) % 2:
        return found
    for opens, ends in zip(places[::2], places[1::2], strict=True):
        if found[opens].kind == "soft" and found[ends].kind == "symbol" and found[ends - 1].kind == "number":
            found[ends] = found[ends]._replace(kind="soft")
    return found


def harmless(a: str, b: str, task: str) -> str | None:
    """Why `a` and `b` ask the same thing for this kind of task, or None when something remains unexplained."""
    if task == VERBATIM:
        return None  # blanks, lines and characters may be what is counted
    left, right = read(a), read(b)
    if task in LITERAL and placed(a) != placed(b):
        return None
    if left.form == right.form:
        return "layout"
    if task in LITERAL:
        return "closing mark" if closing.same(a, b, (left.norms, right.norms), task) else None
    if _missing(left.marked, right.bag) or _missing(right.marked, left.bag):
        return None  # the most usual difference of all, and the cheapest to see
    if left.slips != right.slips or (left.stressed and right.stressed and left.stressed != right.stressed):
        return None  # which mistake, or which word, is meant
    if not same_capitals(left.form, right.form, names=task == OPEN) or not same_doubts(
        left.shown, right.shown, asked=task == OPEN
    ):
        return None
    if left.norms == right.norms:
        return "case or punctuation"
    most = _MAX_REWORDED if task == OPEN else _MAX_CHANGED
    if abs(len(left.norms) - len(right.norms)) > most or len(left.bag ^ right.bag) > 2 * most:
        return None
    spans = differences(left.norms, right.norms)
    if max(sum(s.a1 - s.a0 for s in spans), sum(s.b1 - s.b0 for s in spans)) > most:
        return None
    if task == OPEN and named_and_one(left.tokens, right.tokens):
        return None
    reasons = {span: _explain(left, right, span, task) for span in spans}
    if None not in reasons.values():
        return _joined(reasons.values())
    if (order := moved(left.tokens, right.tokens)) is not None:
        return order
    alike = [span for span, reason in reasons.items() if reason and span.a1 - span.a0 == span.b1 - span.b0]
    return "wording" if task == OPEN and same_question(left.tokens, _mended(left, right, alike)) else None


def _mended(left: Read, right: Read, alike: Sequence[Span]) -> list[Token]:
    """The words of the right text, with those of the left one where both are the same but for a slip or the like."""
    tokens = list(right.tokens)
    for span in alike:
        tokens[span.b0 : span.b1] = left.tokens[span.a0 : span.a1]
    return tokens


def _missing(marked: frozenset[str], other: frozenset[str]) -> bool:
    """Some of these are not in the other text, in whatever case."""
    odd = {norm.lower() for norm in marked - other}
    return bool(odd) and (any(map(str.isdigit, odd)) or not odd <= {norm.lower() for norm in other})


def shared_words(a: str, b: str) -> float:
    """Twice the words in common, divided by all words."""
    left, right = Counter(read(a).norms), Counter(read(b).norms)
    return 2 * (left & right).total() / max(1, left.total() + right.total())


def unexplained(a: str, b: str, task: str) -> tuple[Side, Side]:
    """What is left of the difference, for the guards to name."""
    left, right = read(a), read(b)
    return sides(left.tokens, right.tokens, open_spans(left, right, task))


def open_spans(left: Read, right: Read, task: str) -> list[Span]:
    """The places that differ and that nothing here explains; all of them for a literal task."""
    spans = differences(left.norms, right.norms)
    return spans if task in LITERAL else [span for span in spans if _explain(left, right, span, task) is None]


def _explain(left: Read, right: Read, span: Span, task: str) -> str | None:
    """Why one difference is harmless, or None when nothing says that it is."""
    gone, come = left.tokens[span.a0 : span.a1], right.tokens[span.b0 : span.b1]
    if len(gone) == len(come):
        cased = not (left.titled or right.titled)
        reasons = {_same_word(x, y, cased, task) for x, y in zip(gone, come, strict=True)}
        if None not in reasons:
            slips = {t.norm for x, y in zip(gone, come, strict=True) if x.norm != y.norm for t in (x, y)}
            literal = "typo" in reasons and not slips.isdisjoint(literal_words(left.form) | literal_words(right.form))
            return None if literal else _joined(reasons)
    if any(token.kind in MARKED_KINDS for token in (*gone, *come)):
        return None
    dropped = {_dispensable(left, at) for at in range(span.a0, span.a1)}
    added = {_dispensable(right, at) for at in range(span.b0, span.b1)}
    both = dropped | added
    if "hyphen" in both and (_parted(left, span.a0, right.form) or _parted(right, span.b0, left.form)):
        return None
    if task == CLOSED and not UNDECIDED.isdisjoint(both):
        return None
    if None in both or (gone and come and not (both <= EXCHANGED and len(both - {"please"}) <= 1)):
        return None
    return _joined(_COURTESY.get(reason or "", reason) for reason in both)


def _joined(reasons: Iterable[str | None]) -> str:
    return "+".join(sorted({reason for reason in reasons if reason}))


def _dispensable(text: Read, at: int) -> str | None:
    """Why a word may be left out where it stands."""
    if at in text.courteous:
        return text.courteous[at]
    whole, token = text.tokens, text.tokens[at]
    norm, before, after = token.norm, whole[at - 1] if at else None, whole[at + 1] if at + 1 < len(whole) else None
    if norm == "-" and _long_word(before) and _long_word(after):
        return None if before and after and _binding(before.norm, after.norm) else "hyphen"
    if norm in "()" and all(near is None or _long_word(near) for near in (before, after)):
        return "parenthesis"
    if norm == "that" and before is not None and after is not None:
        return "conjunction" if before.norm in _SAYING and after.norm in _CLAUSES else None
    if norm not in ARTICLES or len(whole) < _LONG_ENOUGH or not _plain_noun(after):
        return None
    if before is not None and before.kind in MARKED_KINDS and not token.first:
        return None  # `version 7a`
    fixed = before is not None and after is not None and (before.norm, after.norm) in _FIXED
    return None if fixed else "article"


def _binding(before: str, after: str) -> bool:
    """`Mon-Fri` is a range, `twenty-year-old trees` are not twenty trees; `twenty-one` is written in both ways."""
    return {before, after} <= RANGED or (before in NUMBER_WORDS and after not in NUMBER_WORDS)


def _parted(text: Read, at: int, other: str) -> bool:
    """What a hyphen joins is two things in the other text: `the London-Paris train`, `the London, Paris train`."""
    if not 0 < at < len(text.tokens) - 1 or text.tokens[at].norm != "-":
        return False
    before, after, low = text.tokens[at - 1].raw.lower(), text.tokens[at + 1].raw.lower(), other.lower()
    return any(f"{before}{mark} {after}" in low for mark in ",;:")


def _long_word(token: Token | None) -> bool:
    return token is not None and token.kind == "word" and len(token.norm) > 1


def _plain_noun(token: Token | None) -> bool:
    """A common word that its article does not change, as it does `few` or a name."""
    if token is None or token.kind != "word" or not token.raw.islower():
        return False
    return lexicon.ordinary(token.norm) and token.norm not in QUANTIFIERS


def _of_one_case(token: Token) -> bool:
    """`AB_12`, `ab_12` or, as a title or a sentence has it, `Ab_12`: the case of an id is layout; in `anna_K` a letter is meant."""
    raw = token.raw
    return raw.islower() or raw.isupper() or raw.istitle() or (token.first and raw[1:].islower())


def _same_word(x: Token, y: Token, cased: bool, task: str) -> str | None:
    if {x.norm, y.norm} == {"&", "and"}:
        return "spelling"
    if task == CLOSED and x.kind == y.kind == "id" and x.norm.lower() == y.norm.lower():
        return "case" if _of_one_case(x) and _of_one_case(y) else None
    if x.kind != "word" or y.kind != "word":
        return None
    if {x.norm, y.norm} in _CONTRACTED:
        return "contraction"
    if spelling(x.norm) == spelling(y.norm):
        return "spelling"
    if {x.norm, y.norm} == {"a", "an"}:
        return "article"
    if SLIPS.get(x.norm) == y.norm or SLIPS.get(y.norm) == x.norm:
        return "typo"
    if x.kind == y.kind == "word" and (x.norm in MEASURES or y.norm in MEASURES):  # the words behind `min`
        return "typo" if typos.typo(x.raw.lower(), y.raw.lower()) else None
    proper = [cased and not token.first and token.raw[:1].isupper() for token in (x, y)]
    if proper[0] != proper[1]:
        return None
    if task == CLOSED and typos.typo_for_labels(x.norm, y.norm):
        return "typo"
    slip = typos.typo_of_name if proper[0] else typos.typo
    return "typo" if slip(x.norm, y.norm) else None
