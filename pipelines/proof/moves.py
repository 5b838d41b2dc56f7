"""The same words in another order where English means the same: pairs, owners, receivers, times in front, whole sentences.

Each rule reads the two places where the texts differ, and every word in them must be accounted for.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.proof.difference import Span, place
from pipelines.proof.reading import Token
from pipelines.proof.words import (
    ARTICLES,
    ASKING,
    DATES,
    DIRECTIONS,
    GENDERS,
    NEGATION,
    NUMBER_WORDS,
    OPPOSITES,
    QUANTIFIERS,
    SUBJECTS,
    word_set,
)

JOINERS = frozenset({"and", "or", "&", "and/or", "versus", "vs"})
_EITHER_WAY = JOINERS - {"versus", "vs"}
_ORDERED = word_set(
    "respectively former latter first second third last order ordered sequence rank ranked ranking home away host left right "
    "ratio ratios rate rates odds quotient conversion convert converted exchange score scores"
)
"""Of a text with one of these, the order of two things may be the point."""

_MAX_JOINED = 3
_OPEN_BEFORE = DIRECTIONS | word_set("is are was were be both either whether the a an as than")
_OPEN_HALF = _OPEN_BEFORE - {"between", "both", "either", "whether", "is", "are", "was", "were", "be"}
_TIES = DIRECTIONS | {"of"}
"""`flour in the sugar and salt in the tea`: what stands behind the pair may belong to its second half alone."""

_SYMMETRIC = word_set("difference differences distance similarity similarities")
_BEFORE_PAIR = 4
_GOVERNING = (
    NEGATION | QUANTIFIERS | word_set("then hence thus so therefore also yet still even really later afterwards")
)
_INSTRUCTING = frozenset({"answer", "reply", "respond", "return", "output", "use", "keep", "write", "give", "please"})
_POINTING = word_set(
    "he him his she her hers it its they them their theirs this that these those ones other others another same such so then thus "
    "also too instead else former latter above below following previous next first second last there therefore however but"
)
"""What says to which sentence a sentence belongs."""

_ATTRIBUTES = word_set(
    "time zone timezone zones capital population price cost size age name names colour color height weight length width depth area "
    "address author owner president leader king queen mayor ceo founder director capacity temperature weather climate history "
    "culture economy currency language flag location position date day birthday speed value purpose role status balance "
    "limit deadline beginning top bottom front back side edge centre center middle surface roof door window engine battery "
    "screen keyboard password username email mother father wife husband brother sister son daughter parents children family boss"
)
"""What belongs to one thing in one way: a picture of Anna may be another than Anna's picture, the age of Anna is not."""

_GIVING = word_set("give send tell show lend pay hand mail email text read teach offer sent gave told showed paid")
_MAKING = word_set("buy get find order book make reserve cook bring fetch print build")
_SAYING_IF = word_set(
    "tell know knows ask asks see check find say sure wonder remember show decide whether only even just especially unless but though "
    "matter matters care mind as what's else then so too not"
)
"""Behind these `if` says whether, or the word before it belongs to it."""

_MIN_CONDITIONAL = 6
_RECEIVERS = word_set("me us him her them")
_MAX_TIME = 8
_ASKING_WHAT = [["what", verb] for verb in ("do", "does", "did")]
_ASKED = word_set("i you he she we they people")
"""Who likes or dislikes; *what do true and false mean* is about the words."""
_OF_TIME = DATES | NUMBER_WORDS | word_set("on in at this that the last next early late ago past")
_SAYING = word_set(
    "say says said tell told think thinks thought know knew believe ask asked if when because that while although and or but "
    "report reported announce announced plan plans planned who which"
)


def moved(a: Sequence[Token], b: Sequence[Token]) -> str | None:
    """Why `b` is `a` in another order, or None."""
    mine, other = [token.norm for token in a], [token.norm for token in b]
    if _same_but_instructions(a, b):
        return "sentence order"
    if swapped_pair(mine, other) and not (_swapped_names(a, b) or _governed(a, b)):
        return "swapped pair"
    span = place(mine, other)
    back = Span(span.b0, span.b1, span.a0, span.a1)
    if _shared_noun(mine, other, span) or _shared_noun(other, mine, back):
        return "shared noun"
    if _both(a, b, span):
        return "either or both"
    if _owned(mine, other, span) or _owned(other, mine, back):
        return "owner"
    if _received(mine, other, span) or _received(other, mine, back):
        return "receiver"
    if _fronted(a, b, span) or _fronted(b, a, back):
        return "time in front"
    return "condition in front" if _conditional(a, b, span) or _conditional(b, a, back) else None


def _swapped_names(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """`Merkel thanked Macron and Trump`: who is named first may be the point, but not in `the difference between Oslo and Bergen`."""
    span = place([token.norm for token in a], [token.norm for token in b])
    names = [token for token in a[span.a0 : span.a1] if token.norm not in JOINERS and token.norm not in ARTICLES]
    if not all(token.raw[:1].isupper() and not token.first for token in names):
        return False
    before = [token.norm for token in a[max(0, span.a0 - _BEFORE_PAIR) : span.a0]]
    return before[-1:] != ["between"] or _SYMMETRIC.isdisjoint(before)


def _governed(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """`not sweet and salty` is not `salty and not sweet`: a word before the first of two may belong to both, as in `old men and women`."""
    span = place([token.norm for token in a], [token.norm for token in b])
    pair = a[span.a0 : span.a1]
    if any(token.norm in _GOVERNING for token in pair):
        return True
    for at, joiner in enumerate(pair):
        if joiner.norm not in _EITHER_WAY:
            continue
        halves = (pair[:at], pair[at + 1 :])
        bare = [[token for token in half if token.norm not in ARTICLES] for half in halves]
        alone = [len(half) < 2 for half in bare]
        named = [half[:1] for half in bare if len(half) > 1 and half[0].raw[:1].isupper() and not half[0].first]
        if alone[0] != alone[1] and not named and not all(half and half[0].norm in SUBJECTS for half in halves):
            return True
    return False


def swapped_pair(a: list[str], b: list[str]) -> bool:
    """`salt and pepper` for `pepper and salt`, where nothing outside the pair depends on their order."""
    if len(a) != len(b) or not _ORDERED.isdisjoint(a):
        return False
    head, end, _, _ = place(a, b)
    mine, other = a[head:end], b[head:end]
    before, after = a[head - 1] if head else "", a[end] if end < len(a) else ""
    if before not in _OPEN_BEFORE and before.isalnum():
        return False
    if after == "'s" or (before in _OPEN_HALF and after in _TIES):
        return False
    return any(
        word in _EITHER_WAY
        and 0 < at <= _MAX_JOINED
        and 0 < len(mine) - at - 1 <= _MAX_JOINED
        and other == [*mine[at + 1 :], word, *mine[:at]]
        and all(part.isalpha() for part in (*mine[:at], *mine[at + 1 :]))
        for at, word in enumerate(mine)
    )


def _shared_noun(a: list[str], b: list[str], span: Span) -> bool:
    """`left or right wing` for `left wing or right wing`, of two opposites; `coffee or oat milk` may be coffee without milk, and a `black and
    white film` is one.
    """
    if span.a0 != span.a1 or span.b1 - span.b0 != 1 or not span.b0:
        return False
    first, noun, *rest = b[span.b0 - 1 : span.b0 + 4]
    return rest[::2] == ["or", noun] and _opposite(first, rest[1])


def _both(a: Sequence[Token], b: Sequence[Token], span: Span) -> bool:
    """`What do you like or dislike` for `what do you like and dislike`: who asks what wants both."""
    gone, come = (tuple(token.norm for token in part) for part in (a[span.a0 : span.a1], b[span.b0 : span.b1]))
    if {gone, come} != {("and",), ("or",)} or not 0 < span.a0 < len(a) - 1:
        return False
    begins = next((at for at in range(span.a0, -1, -1) if a[at].first), 0)
    asked = [token.norm for token in a[begins : begins + 3]]
    return asked[:2] in _ASKING_WHAT and asked[2] in _ASKED and _opposite(a[span.a0 - 1].norm, a[span.a1].norm)


def _opposite(one: str, other: str) -> bool:
    return frozenset((one, other)) in OPPOSITES and GENDERS.isdisjoint((one, other))


def _owned(a: list[str], b: list[str], span: Span) -> bool:
    """`the capital of Peru` for `Peru's capital`."""
    long, short = _bare(a[span.a0 : span.a1]), _bare(b[span.b0 : span.b1])
    if "'s" not in short or "of" not in long or a[span.a1 :][:1] == ["'s"]:
        return False
    at = short.index("'s")
    owner, thing = short[:at], short[at + 1 :]
    return bool(owner and thing) and thing[-1] in _ATTRIBUTES and long == [*thing, "of", *owner]


def _received(a: list[str], b: list[str], span: Span) -> bool:
    """`send me the form` for `send the form to me`."""
    mine, other = a[span.a0 : span.a1], b[span.b0 : span.b1]
    if not span.a0 or len(mine) < 2 or mine[0] not in _RECEIVERS:
        return False
    verb = a[span.a0 - 1]
    links = [word for word, verbs in (("to", _GIVING), ("for", _MAKING)) if verb in verbs]
    return any(other == [*mine[1:], link, mine[0]] for link in links)


def _fronted(a: Sequence[Token], b: Sequence[Token], span: Span) -> bool:
    """`Yesterday I paid` for `I paid yesterday`, in a sentence with one verb to which the time can belong."""
    gone, come = a[span.a0 : span.a1], b[span.b0 : span.b1]
    if not gone or len(gone) != len(come) or not (gone[0].first and come[0].first):
        return False
    if span.a1 < len(a) and not a[span.a1].first:
        return False
    left, right = [token.norm for token in gone], [token.norm for token in come]
    for at in range(1, min(len(left), _MAX_TIME + 1)):
        time, rest = left[:at], left[at:]
        if not _of_time(time[-1]):
            return False
        if right == rest + time:
            return (
                rest[0] in SUBJECTS  # `Sunday trading rose` is not `trading rose Sunday`
                and not DATES.isdisjoint(time)
                and DATES.isdisjoint(rest)
                and _SAYING.isdisjoint(rest)
            )
    return False


def _conditional(a: Sequence[Token], b: Sequence[Token], span: Span) -> bool:
    """`What do I do if it breaks?` for `If it breaks, what do I do?`; `Tell me if it breaks` is no condition, and `only if` another one."""
    gone, come = a[span.a0 : span.a1], b[span.b0 : span.b1]
    if len(gone) != len(come) or len(gone) < _MIN_CONDITIONAL or not (gone[0].first and come[0].first):
        return False
    if (span.a1 < len(a) and not a[span.a1].first and a[span.a1].kind == "word") or come[0].norm != "if":
        return False
    left, right = [token.norm for token in gone], [token.norm for token in come]
    if left[0] not in ASKING or left.count("if") != 1 or not (_SAYING_IF | _EITHER_WAY).isdisjoint(left):
        return False
    at = left.index("if")
    return right == left[at:] + left[:at]


def _same_but_instructions(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """The same sentences, of which only those that say how to answer stand elsewhere, and none of them points at another."""
    mine, other = _sentences(a), _sentences(b)
    if len(mine) < 2 or sorted(mine) != sorted(other):
        return False
    if any(not _POINTING.isdisjoint(sentence) for sentence in mine):
        return False
    return _parted(mine) == _parted(other)


def _parted(sentences: list[tuple[str, ...]]) -> list[list[tuple[str, ...]]]:
    """What says how to answer, and the rest."""
    return [[each for each in sentences if (each[0] in _INSTRUCTING) == instructs] for instructs in (True, False)]


def _sentences(tokens: Sequence[Token]) -> list[tuple[str, ...]]:
    out: list[list[str]] = []
    for token in tokens:
        if token.first or not out:
            out.append([])
        out[-1].append(token.norm)
    return [tuple(sentence) for sentence in out if sentence]


def _of_time(word: str) -> bool:
    return word in _OF_TIME or word.isdigit()


def _bare(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in ARTICLES]
