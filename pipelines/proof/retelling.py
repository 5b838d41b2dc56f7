"""Whether two texts tell one story in other words, for labels of what a text is about: a judgement, not a proof.

Most words of weight, the names and the numbers must be shared, and where the texts differ, one must mostly say more or the same elsewhere
or in another form: words for other words are edits of one text or fillings of one form. Who speaks of himself tells his own story.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

from pipelines.guards import code, links, negation, opposites, order, sides, units
from pipelines.proof import lexicon
from pipelines.proof.difference import Span
from pipelines.proof.explain import Read, open_spans, read
from pipelines.proof.facts import EMPTY, OPINION, Facts, facts_of, renames, stem
from pipelines.proof.instruction import CLOSED, asked_of
from pipelines.proof.newswire import abbreviated, same_quotation, same_report
from pipelines.proof.words import DATES, MODALS, NUMBER_WORDS, OPPOSITES, RANGED, word_set

_RAREST, _MIN_RARE = 5, 4
RARE_PAIRS = comb(_RAREST, 2)
"""What proposes: the pairs of a text's rarest words."""

_LONG_WORD, _FEW_BETWEEN = 4, 3
_MIN_WORDS, _MIN_PLACES = 5, 2
_SHARED, _SHARED_IF_ANCHORED, _SHARED_NAMES = 0.4, 0.3, 0.5
_ANCHORS = 2
_SAME_ORDER, _FEW_WORDS, _A_WORD = 0.84, 5, 2
"""Who tells a story in other words leaves less than this of the longer text as it stands, and changes more words, both
texts together; two edits of a text leave more and change fewer."""

_ANYWHERE, _IN_PLACE = (code, links, order), (negation, opposites, units)
"""Guards that read the whole difference, and guards that read a place where words stand for others."""

_SMALL = (
    EMPTY
    | MODALS
    | word_set(
        "is are was were am do does did has have had but that this these those which while when for of by with at as"
    )
)
_TURNING = ("before", "until", "unless", "except")
"""What one text says with these no other says without them: `shut after the drone was seen`, `shut before it was`."""

_UNTURNED = EMPTY | word_set(
    "doctor patient teacher student pupil buyer seller employer employee landlord tenant lender borrower host guest"
)
"""Words of place, and persons of whom both may be in one story."""

_OWN_CASE = frozenset({"i", "my", "me", "mine", "myself"})
_QUOTED, _WORD, _SPEAKER_WORDS = re.compile(r'"[^"]*"|“[^“”]*”'), re.compile(r"[a-z]+"), 2
_ABOUT = re.compile(r"\b(?:topics?|sections?|subjects?|themes?|genres?|news|headlines?)\b", re.IGNORECASE)
_MATTERS = re.compile(
    r"\b(?:support|customers?|clients?|tickets?|messages?|e-?mails?|requests?|complaints?|[ei]nquir(?:y|ies)|chats?|calls?|quer(?:y|ies)|questions?|intents?)\b",
    re.IGNORECASE,
)
"""Who writes in has a matter of his own: two of them are two, whatever words they share."""

_TOPICS = tuple(
    frozenset(map(stem, words.split()))
    for words in (
        "share shares stock stocks shareholder investor broker profit revenue earnings sales sell sold price merger takeover bankruptcy "
        "dividend economy startup invest invested",
        "match matches game beat win won winner goal season coach striker goalkeeper player league cup final semifinal champion "
        "championship medal title tournament race olympic innings scored marathon",
        "election vote voter ballot referendum parliament senate congress lawmaker bill legislation tax budget treaty sanctions coalition rights",
        "court lawsuit sued trial verdict convicted sentenced jury prosecutor",
        "telescope planet galaxy astronomer fossil genome satellite spacecraft orbit scientist",
        "doctor patient hospital vaccine virus disease cancer surgery nurse",
        "software app hacker password robot smartphone algorithm headset",
        "film movie album song novel museum concert",
    )
)
"""Words that put a story under a topic: where only one text has any of a row, the other is told from another side, *lost to Liverpool* and
*its shares fell after it lost to Liverpool*."""


class _Change(NamedTuple):
    """What a passage that differs does: words of weight stand there for others, which the other text has nowhere (`exchanged`), and one side
    alone has such words, or has words of the other text in another form or elsewhere (`reworded`)."""

    exchanged: bool
    reworded: bool


def about(task: str, instruction: str) -> bool:
    """Whether a label is asked for that says what a text is about, and not what somebody thinks of it."""
    asked = asked_of(instruction)
    return (
        task == CLOSED
        and _ABOUT.search(asked) is not None
        and OPINION.search(instruction) is None
        and _MATTERS.search(asked) is None
    )


def rare_pairs(text: str) -> list[str]:
    """Pairs of the rarest words of a text, at most ten; none for a text too short to be told in other words."""
    found: dict[str, int] = {}
    for token in read(text).tokens:
        if token.kind == "word" and len(token.norm) >= _LONG_WORD and token.norm not in EMPTY:
            found[stem(token.norm)] = lexicon.rarity(token.norm)
    if len(found) < _MIN_RARE:
        return []
    rarest = sorted(found, key=lambda word: (-found[word], word))[:_RAREST]
    return ["\x1f".join(pair) for pair in combinations(sorted(rarest), 2)]


def retold(a: str, b: str) -> bool:
    """Whether both texts tell the same story."""
    left, right = abbreviated(read(a), read(b)), abbreviated(read(b), read(a))
    if same_quotation(left, right):
        return True
    if _own_case(a) or _own_case(b):
        return False
    if same_report(left, right):
        return True
    mine, other = facts_of(left), facts_of(right)
    if min(len(mine.content), len(other.content)) < _MIN_WORDS or not _agree(mine, other):
        return False
    if any(words.isdisjoint(mine.content) != words.isdisjoint(other.content) for words in _TOPICS):
        return False
    overlap = len(mine.content & other.content) / len(mine.content | other.content)
    anchors = len(set(mine.names) & set(other.names)) + len(set(mine.numbers) & set(other.numbers))
    if overlap < (_SHARED if anchors < _ANCHORS else _SHARED_IF_ANCHORED):
        return False
    spans = open_spans(left, right, CLOSED)
    if (
        len(spans) < _MIN_PLACES
        or any(left.norms.count(word) != right.norms.count(word) for word in _TURNING)
        or _edited(left, right, spans)
        or any(renames(left, right, span) for span in spans)
        or _forbidden(left, right, spans)
    ):
        return False
    return _reworded([_change(left, right, span, mine, other) for span in _passages(left, spans)])


def _own_case(text: str) -> bool:
    """Whether the writer speaks of himself; who is quoted beside it does not."""
    around = _WORD.findall(_QUOTED.sub(" ", text.lower()))
    words = around if len(around) >= _SPEAKER_WORDS else _WORD.findall(text.lower())
    return not _OWN_CASE.isdisjoint(words)


def _agree(mine: Facts, other: Facts) -> bool:
    """Equally many denials, the same signs; one side's numbers are among the other's, and half of its names."""
    ours, theirs = Counter(mine.numbers), Counter(other.numbers)
    if mine.denials != other.denials or mine.signs != other.signs or (ours - theirs and theirs - ours):
        return False
    names = set(mine.names) - DATES, set(other.names) - DATES
    return len(names[0] & names[1]) >= _SHARED_NAMES * min(map(len, names))


def _edited(left: Read, right: Read, spans: Sequence[Span]) -> bool:
    """Most of the longer text stands in the other one, word by word, or only a few words differ at all, or only one beside a passage that
    one text has in front or behind."""
    gone, come = sum(s.a1 - s.a0 for s in spans), sum(s.b1 - s.b0 for s in spans)
    passage = max((s.a1 - s.a0 + s.b1 - s.b0 for s in spans if _extends(left, right, s)), default=0)
    if gone + come - passage <= _A_WORD:
        return True
    size, changed = max((len(left.norms), gone), (len(right.norms), come))
    return gone + come <= _FEW_WORDS or size - changed > _SAME_ORDER * size


def _extends(left: Read, right: Read, span: Span) -> bool:
    """One text goes on where the other begins or ends."""
    one_sided = span.a0 == span.a1 or span.b0 == span.b1
    ends = (span.a1, span.b1) == (len(left.norms), len(right.norms))
    return one_sided and (ends or span.a0 == span.b0 == 0)


def _forbidden(left: Read, right: Read, spans: Sequence[Span]) -> bool:
    """What no rewording overrules."""
    if _turned(left, right):
        return True
    exchanged = [[span] for span in spans if span.a1 > span.a0 and span.b1 > span.b0]
    return any(guard(*sides(left.tokens, right.tokens, spans)) for guard in _ANYWHERE) or any(
        guard(*sides(left.tokens, right.tokens, place)) for place in exchanged for guard in _IN_PLACE
    )


def _turned(one: Read, other: Read) -> bool:
    """A word that only one text has is the opposite of one that only the other has, wherever it stands: `opens` and `is shut`; or each has
    a day or a number of its own."""
    gone, come = one.bag - other.bag, other.bag - one.bag
    if any(not gone.isdisjoint(words) and not come.isdisjoint(words) for words in (RANGED, NUMBER_WORDS)):
        return True
    gone, come = gone - _UNTURNED, come - _UNTURNED
    ours, theirs = gone.union(map(stem, gone)), come.union(map(stem, come))
    return any(frozenset((word, opposite)) in OPPOSITES for word in ours for opposite in theirs)


def _passages(left: Read, spans: Sequence[Span]) -> list[Span]:
    """The places that differ, as one where only small words stand between two: an exchanged clause often shares those by chance."""
    joined = [spans[0]]
    for span in spans[1:]:
        last = joined[-1]
        between = left.norms[last.a1 : span.a0]
        if len(between) <= _FEW_BETWEEN and all(word in _SMALL or len(word) < _LONG_WORD for word in between):
            joined[-1] = last._replace(a1=span.a1, b1=span.b1)
        else:
            joined.append(span)
    return joined


def _change(left: Read, right: Read, span: Span, mine: Facts, other: Facts) -> _Change:
    ours = {stem(word): word for word in left.norms[span.a0 : span.a1] if word not in _SMALL}
    theirs = {stem(word): word for word in right.norms[span.b0 : span.b1] if word not in _SMALL}
    gone, come = ours.keys() - other.content, theirs.keys() - mine.content
    inflected = any(word != theirs.get(base, word) for base, word in ours.items())
    moved = len(gone) < len(ours) or len(come) < len(theirs)
    return _Change(bool(gone and come), inflected or moved or bool(gone) != bool(come))


def _reworded(changes: Sequence[_Change]) -> bool:
    """Words stand for others in no more places than those where one side says more, or the same in another form or order: two fillings of
    a form, and edits of one text, mostly put words for words."""
    reworded = sum(change.reworded for change in changes)
    return reworded > 0 and reworded >= sum(change.exchanged for change in changes)
