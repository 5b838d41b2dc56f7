"""Other words for the same open question: frames that ask alike, articles, number of nouns, and words without content.

Every rule is a table row; a content word is never exchanged for another one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.proof import lexicon
from pipelines.proof.asking import asks
from pipelines.proof.difference import Span, differences, place
from pipelines.proof.moves import swapped_pair
from pipelines.proof.reading import Token
from pipelines.proof.words import ARTICLES, POLITE, QUANTIFIERS, word_set

_START = "\N{INFORMATION SEPARATOR TWO}"
_LOOSE = "\N{INFORMATION SEPARATOR ONE}"
_NAMED = "\N{INFORMATION SEPARATOR THREE}"
_END = rf"(?= {_START}|$)"
_THING = rf"([^{_START}]{{1,160}}?)"
"""What a question is about: part of one sentence, and bounded, since two of them in one frame are tried against each other."""

_WHO = r"(?:i|we|one)"
"""Who asks how. What `you` or `people` do is another question: `How can someone hack my phone?`"""

_PERSONAL = r"(?:feel|think|like|look|seem|sound|see|view|rate|know|define|spend|want|mean|say|cope|afford)\b"
"""What depends on whom the question is about."""

_FINDER = r"(?:i|we|one|someone|anyone|people)"
_FINDING = r"(?:find|buy|get|order|download|rent|book|watch|read|learn|study|apply|register|report)\b"
"""Whoever finds it, it is in one place; where `you` do so, and where one lives, is another question for each."""

_QUESTION = r"(?:how|what|where|when|why|who|which)"
_MAY = r"(?:do|does|can|could|should|shall)"
_BE = r"(?:is|are)"
_MOST_OF_ALL = r"(?:\w+est|most|least|worst)\b"

_TWO_PERSONS = re.compile(rf"(?<={_START})how (?={_MAY} (?:i|we) [^{_START}]*\byou(?:rs?)?\b)")
"""Of these it matters who is who."""

_FRAMES = (
    (
        rf"(?:(?:can|could|would|will) (?:you|anyone|someone|somebody) (?:please )?)?(?:please )?(?:kindly )?(?:tell|inform|let) "
        rf"(?:me|us) (?:know )?(?={_QUESTION}\b)",
        _START,
    ),
    (rf"(?:i (?:want|need|would like)|i'd like) to know (?={_QUESTION}\b)", _START),
    (rf"(?:do you know|(?:can|may) i (?:know|ask)|does (?:anyone|anybody|someone) know) (?={_QUESTION}\b)", _START),
    (
        r"(?:can|could|would|will) (?:you|anyone|someone|somebody) (?:please )?(?=explain|tell|describe|list|name|give|show)",
        "",
    ),
    (r"(?:please|kindly) (?=explain|tell|describe|list|name|give|show)", ""),
    (r"there (?:were|was|are|is) (?=any\b)", ""),
    (rf"(?:in )?(?:what|which) (?:ways?|manner) (?={_MAY}\b)", "how "),
    (rf"how (?:(?:do|does) i|(?:can|could|should|shall) {_WHO}) (?!{_PERSONAL})", "how to "),
    (rf"how (?:do|does) (?:we|one) (?!{_PERSONAL})", "how people to "),
    (rf"how (?:do|can|could) you (?!{_PERSONAL})", "how you to "),
    (rf"how (?:am|is|are) {_WHO} supposed to (?!{_PERSONAL})", "how to "),
    (r"how (?:i|we) (?:can|could|should|do)\b", "how to"),
    (rf"what (?:can|could|should) {_WHO} do to ", "how to "),
    (
        rf"what {_BE} (?:the |a |some |any )?(?:good )?ways? (?:for (?:me|us|one) )?to (?!{_PERSONAL})",
        "how to ",
    ),
    (r"(?:which|what) would be the (?=\w+est\b|most\b)", "what is "),
    (rf"what {_BE} the (?=most \w+ (?:in|to|for)\b)", "what is "),
    (rf"what {_BE} (?:the )?meanings? of ", "what mean "),
    (rf"what (?:do|does) {_THING} mean{_END}", r"what mean \1"),
    (rf"what {_BE} meant by ", "what mean "),
    (r"what does it feel like\b", "how does it feel"),
    (r"(?:what|which) (colour|color|size|shape|age|height|weight) (?:is|are) ", r"what \1 of "),
    (rf"how old (?:is|are) {_THING}{_END}", r"what age of \1"),
    (rf"how (?:tall|high) (?:is|are) {_THING}{_END}", r"what height of \1"),
    (rf"how heavy (?:is|are) {_THING}{_END}", r"what weight of \1"),
    (rf"how (?:much|many dollars) (?:do|does) {_THING} cost{_END}", r"what price of \1"),
    (rf"what {_BE} (?:the )?costs? of (?=the |an? )", "what price of "),
    (
        rf"what {_BE} your (?:personal )?(?:opinions?|views?|thoughts?|take) (?:of|on|about|regarding) ",
        "what you think about ",
    ),
    (r"what do you think (?:of|about) ", "what you think about "),
    (r"(who|what|when|where) do you think (?=(?:will|would|is|are|was|were|has|have)\b)", r"\1 "),
    (rf"how come |why is it that |for what reasons? |what {_BE} the reasons? (?:that|why) ", "why "),
    (rf"where (?:can|could|do|does) {_FINDER} (?={_FINDING})", "where to "),
    (
        rf"how (?:do|does|is|are) {_THING} and {_THING} (?:differ|different)(?: from (?:each other|one another|one-another))?{_END}",
        r"what difference between \1 and \2",
    ),
    (
        rf"how (?:do|does|is|are) {_THING} (?:differ|different) (?:from|than|to) {_THING}{_END}",
        r"what difference between \1 and \2",
    ),
    (rf"what {_BE} the differences? (?=between\b)", "what difference "),
    (rf"(?:which|what) {_BE} the (?=\w+(?: \w+)? of\b)", "what is "),
    (r"(?:which|what) are (?:some of|some)\b", "what is"),
    (rf"which ({_BE}) (?=the {_MOST_OF_ALL})", r"what \1 "),
)
"""How a question may open; the replacement is what is compared."""

_INSIDE = (
    (re.compile(r"\b(start|begin|continue)s? to (?=\w)"), r"\1 "),
    (re.compile(r"\b(start|begin|continue)s? (\w{3,})ing\b"), r"\1 \2ing~"),
    (re.compile(r"\b(ways?|methods?|steps?|time|place) (?:of|for) (\w{3,})ing\b"), r"\1 to \2ing~"),
    (re.compile(r"\b(ways?|method|time|place) for (?:me|one) to\b"), r"\1 to"),
    (re.compile(r"\b(makes? (?:an? |the |my |your )?\w+) to be (?=an?\b)"), r"\1 "),
)
"""What may stand in a question in two forms; a verb marked with ~ is compared without its ending."""

_QUESTION_WORDS = frozenset({"how", "what", "where", "when", "why", "who"})
_PATTERNS = tuple((re.compile(rf"(?<={_START}){pattern}"), form) for pattern, form in _FRAMES)
_ALIKE = dict.fromkeys(("i", "we", "one"), "one")
_HELPERS = {"do": "do", "does": "do", "is": "is", "are": "is", "am": "is"}
_PLURALS = word_set(
    "glasses damages arms customs goods manners spirits terms works pants savings means minutes looks brains colours colors forces grounds "
    "irons letters quarters regards scales stairs surroundings times troops woods airs ashes belongings compasses effects draughts "
    "news odds rights shorts greens blues basics specifics finals leaves lives contents remains clothes thanks physics mathematics maths "
    "economics politics ethics statistics athletics yours ours hers theirs others sometimes besides always perhaps towards sides"
)
"""Their plural is another thing than several of one."""

_SUPERLATIVES = word_set("best worst most least first last top")
LIGHT = (
    ARTICLES
    | POLITE
    | _ALIKE.keys()
    | word_set(
        "there is are am be some to someone somebody anyone anybody person people tell know inform let me us want need like supposed able way ways manner would "
        "might must mean means meaning meant think opinion opinions view views thought thoughts take your reason reasons that cost costs "
        "price old age tall high height heavy weight much differ different difference differences from than between each other one another "
        "it come possible has that 's"
    )
)
"""What a question may be put with or without, or with another one of."""

_EACH = frozenset({"i", "we", "you"})
_ADVICE = frozenset({"should", "shall", "could"})
_AGREEING = frozenset({"a", "an", "is", "are", "do", "does"})
_MIN_PLURAL, _NEAR_SUPERLATIVE = 4, 4
_RARE = 40_000
"""Commoner nouns may be a stuff without their article, and a thing with it: `paper` and `a paper`."""


def same_question(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """Both ask the same once frames, articles, number of nouns and words without content are put aside.

    Only in questions that open with a question word: of a yes-no question, and of a statement, every small word counts.
    """
    if _edited(a, b):
        return False
    mine, other = map(_framed, _differing(a, b))
    if not any(word[:1] == _START and word[1:] in _QUESTION_WORDS for word in mine):
        return False
    bare, barer = _without_loose(mine), _without_loose(other)
    if bare == barer:
        return all(span.a0 == span.a1 or span.b0 == span.b1 for span in differences(mine, other))
    mine_loose, other_loose = (Counter(word for word in words if word[:1] == _LOOSE) for words in (mine, other))
    return swapped_pair(bare, barer) and not (mine_loose - other_loose and other_loose - mine_loose)


def _edited(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """One word was changed on purpose: who is meant, what one should or could do, or a number with which nothing else agrees.

    Whoever words a question anew changes more than that: `the bad thing is`, `the bad things are`; a noun one way and its verb the other,
    `heroes win`, `a hero wins`. Two nouns that go one way are another question: `the attack on the church`, `the attacks on the churches`.
    """
    mine, other = [token.norm for token in a], [token.norm for token in b]
    spans = differences(mine, other)
    swaps = [(mine[span.a0], other[span.b0]) for span in spans if span.a1 - span.a0 == span.b1 - span.b0 == 1]
    if any(_EACH.issuperset(swap) or not _ADVICE.isdisjoint(swap) for swap in swaps):
        return True
    fewer = {singular(one) != one for one, another in swaps if singular(one) == singular(another)}
    return len(fewer) == 1 and _AGREEING.isdisjoint(word for span in spans for word in _words(mine, other, span))


def _words(a: list[str], b: list[str], span: Span) -> list[str]:
    return [*a[span.a0 : span.a1], *b[span.b0 : span.b1]]


def _differing(a: Sequence[Token], b: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token]]:
    """From the first sentence that differs to the last one: what they have in common needs no frame."""
    span = place([(token.norm, token.first) for token in a], [(token.norm, token.first) for token in b])
    head = next((at for at in range(span.a0, 0, -1) if at < len(a) and a[at].first), 0)
    tail = next((at for at in range(len(a) - span.a1) if a[span.a1 + at].first), len(a) - span.a1)
    return a[head : span.a1 + tail], b[head : span.b1 + tail]


def _without_loose(words: list[str]) -> list[str]:
    """`do` or `is` may be there or not; one never stands for the other."""
    return [word for word in words if word[:1] != _LOOSE]


def _framed(tokens: Sequence[Token]) -> list[str]:
    text = " ".join(map(_opened, tokens, (*tokens[1:], None)))
    text = _TWO_PERSONS.sub("how~ ", text)
    for pattern, form in (*_INSIDE, *_PATTERNS):
        text = pattern.sub(form, text)
    words: list[str] = []
    for sentence in re.split(f"(?={_START})", text.replace(_START + _START, _START)):
        found = [word for word in sentence.split(" ") if word]
        words += _bared(found) if found and found[0][1:] in _QUESTION_WORDS else found
    return words


def _opened(token: Token, following: Token | None) -> str:
    """A word with the mark of a sentence's first one; `When it rains, …` is marked as no question."""
    if not token.first:
        return token.norm + _named(token)
    asking = token.norm not in _QUESTION_WORDS or asks(token.norm, following.norm if following else "")
    return f"{_START}{token.norm}{'' if asking else '~'}{_named(token)}"


def _named(token: Token) -> str:
    """Marks a name that looks like a plural: `Roberts` is not `Robert`."""
    return _NAMED if token.raw[0].isupper() and token.norm[-1] == "s" and lexicon.is_name(token.norm) else ""


def _bared(words: list[str]) -> list[str]:
    """What a question asks, without what may be put otherwise."""
    if words[1:2] == ["to"] and words[0][1:] in ("how", "where"):
        words = [_ALIKE.get(word, word) for word in words]
    asked = Counter(word for word in words[1:] if word not in _HELPERS)
    counted = words[1:2] in (["many"], ["much"]) or any(word.isdigit() for word in words)
    return [_said(words, at) for at in range(len(words)) if not _needless(words, at, asked, counted)]


def _needless(words: Sequence[str], at: int, asked: Mapping[str, int], counted: bool) -> bool:
    """`there` beside its verb; `a` before more than one word, or a rare one, or where it is not asked what that is; `the` only in `the X of`.

    How many `a bird` and `birds` are is the point of what is `counted`.
    """
    word, after = words[at].lstrip(_START), words[at + 1 : at + 4]
    if word in POLITE:
        return True
    if word == "there":
        return not {"is", "are"}.isdisjoint((words[at - 1], *after[:1]))
    if word == "the":
        return "of" in after[1:]
    if word not in ARTICLES or not after or after[0] in QUANTIFIERS or words[at - 1][-1].isdigit() or counted:
        return False  # `a Pixel 7a` is another phone
    others = len(asked) - (asked.get(words[at]) == 1)
    return words[0] != f"{_START}what" or others > 1 or lexicon.rarity(after[0]) > _RARE


def _said(words: list[str], at: int) -> str:
    """A word as it is compared: a noun in the singular, unless one is picked out of many, where number counts."""
    word = words[at]
    if word[-1] == _NAMED:
        return word[:-1]
    if word == "am" and words[at - 1][-1].isdigit():
        return word  # of a clock time
    if word in _HELPERS:
        return _LOOSE + _HELPERS.get(word, word)
    picked = any(near in _SUPERLATIVES or near.endswith("est") for near in words[max(0, at - _NEAR_SUPERLATIVE) : at])
    asked = at == 1 and words[0][1:] in _QUESTION_WORDS
    return word if (picked and word[-1] != "~") or asked else _plain(word)


def _plain(word: str) -> str:
    """A noun in the singular, a marked verb without its ending."""
    if word[-1] == "~":
        return _stem(word[:-1])
    return word if word in _PLURALS else singular(word)


def _stem(word: str) -> str:
    """`improving` and `improve` alike."""
    base = word[:-3]
    doubled = len(base) > 2 and base[-1] == base[-2]
    return next((form for form in (base + "e", base, base[:-1] if doubled else base) if lexicon.ordinary(form)), base)


def singular(word: str) -> str:
    """`careers` and `career` alike; wrong for some words, but alike on both sides."""
    if len(word) < _MIN_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is", "'s")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("oes") and lexicon.ordinary(word[:-2]):
        return word[:-2]
    return word[:-2] if word.endswith(("ches", "shes", "sses", "xes", "zes")) else word[:-1]
