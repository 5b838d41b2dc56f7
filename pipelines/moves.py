"""The same words in another order where English means the same: pairs, owners, receivers, times in front, whole sentences.

Each rule reads the two places where the texts differ, and every word in them must be accounted for.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.reading import Token
from pipelines.words import ARTICLES, DATES, DIRECTIONS, NUMBER_WORDS, word_set

JOINERS = frozenset({"and", "or", "&", "and/or", "versus", "vs"})
_MAX_JOINED = 3
_OPEN_BEFORE = DIRECTIONS | word_set("is are was were be both either whether the a an as than")
_INSTRUCTING = frozenset({"answer", "reply", "respond", "return", "output", "use", "keep", "write", "give", "please"})
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
_RECEIVERS = word_set("me us him her them")
_OF_TIME = DATES | NUMBER_WORDS | word_set("on in at this that the last next early late ago past")
_SUBJECTS = ARTICLES | word_set("i you he she it we they my your his her our their its")
"""What surely begins the sentence proper: `Sunday trading rose` is not `trading rose Sunday`."""

_SAYING = word_set(
    "say says said tell told think thinks thought know knew believe ask asked if when because that while although and or but "
    "report reported announce announced plan plans planned who which"
)


def moved(a: Sequence[Token], b: Sequence[Token]) -> str | None:
    """Why `b` is `a` in another order, or None."""
    mine, other = [token.norm for token in a], [token.norm for token in b]
    if same_but_instructions(a, b):
        return "sentence order"
    if swapped_pair(mine, other):
        return "swapped pair"
    if owned(mine, other) or owned(other, mine):
        return "owner"
    if received(mine, other) or received(other, mine):
        return "receiver"
    return "time in front" if fronted(a, b) or fronted(b, a) else None


def swapped_pair(a: Sequence[str], b: Sequence[str]) -> bool:
    """`salt and pepper` for `pepper and salt`, where nothing outside the pair depends on their order."""
    if len(a) != len(b) or "respectively" in a:
        return False
    head, tail = _ends(a, b)
    end = len(a) - tail
    mine, other = list(a[head:end]), list(b[head:end])
    if head and a[head - 1] not in _OPEN_BEFORE and a[head - 1].isalnum():
        return False
    if end < len(a) and a[end] == "'s":
        return False
    return any(
        word in JOINERS
        and 0 < at <= _MAX_JOINED
        and 0 < len(mine) - at - 1 <= _MAX_JOINED
        and other == [*mine[at + 1 :], word, *mine[:at]]
        and all(part.isalpha() for part in (*mine[:at], *mine[at + 1 :]))
        for at, word in enumerate(mine)
    )


def owned(a: Sequence[str], b: Sequence[str]) -> bool:
    """`the capital of Peru` for `Peru's capital`."""
    head, tail = _ends(a, b)
    long, short = (_bare(side[head : len(side) - tail]) for side in (a, b))
    if "'s" not in short or "of" not in long or a[len(a) - tail :][:1] == ["'s"]:
        return False
    at = short.index("'s")
    owner, thing = short[:at], short[at + 1 :]
    return bool(owner and thing) and thing[-1] in _ATTRIBUTES and long == [*thing, "of", *owner]


def received(a: Sequence[str], b: Sequence[str]) -> bool:
    """`send me the form` for `send the form to me`."""
    head, tail = _ends(a, b)
    mine, other = list(a[head : len(a) - tail]), list(b[head : len(b) - tail])
    if not head or len(mine) < 2 or mine[0] not in _RECEIVERS:
        return False
    verb = a[head - 1]
    links = [word for word, verbs in (("to", _GIVING), ("for", _MAKING)) if verb in verbs]
    return any(other == [*mine[1:], link, mine[0]] for link in links)


def fronted(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """`Yesterday I paid` for `I paid yesterday`, in a sentence with one verb to which the time can belong."""
    mine, other = [token.norm for token in a], [token.norm for token in b]
    if len(mine) != len(other):
        return False
    head, tail = _ends(mine, other)
    end = len(mine) - tail
    if not a[head:end] or not (a[head].first and b[head].first) or (tail and not a[end].first):
        return False
    left, right = mine[head:end], other[head:end]
    for at in range(1, len(left)):
        time, rest = left[:at], left[at:]
        if not all(map(_of_time, time)):
            return False
        if right == rest + time:
            return (
                rest[0] in _SUBJECTS
                and not DATES.isdisjoint(time)
                and DATES.isdisjoint(rest)
                and _SAYING.isdisjoint(rest)
            )
    return False


def same_but_instructions(a: Sequence[Token], b: Sequence[Token]) -> bool:
    """The same sentences, of which only those that say how to answer stand elsewhere."""
    mine, other = _sentences(a), _sentences(b)
    if len(mine) < 2 or sorted(mine) != sorted(other):
        return False
    return [s for s in mine if s[0] not in _INSTRUCTING] == [s for s in other if s[0] not in _INSTRUCTING]


def _sentences(tokens: Sequence[Token]) -> list[tuple[str, ...]]:
    out: list[list[str]] = []
    for token in tokens:
        if token.first or not out:
            out.append([])
        if token.norm != "?":
            out[-1].append(token.norm)
    return [tuple(sentence) for sentence in out if sentence]


def _of_time(word: str) -> bool:
    return word in _OF_TIME or word.isdigit()


def _bare(words: Sequence[str]) -> list[str]:
    return [word for word in words if word not in ARTICLES]


def _ends(a: Sequence[str], b: Sequence[str]) -> tuple[int, int]:
    """How many words both share at the beginning and, of the rest, at the end."""
    head = _common(a, b)
    return head, _common(a[head:][::-1], b[head:][::-1])


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    length = 0
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        length += 1
    return length
