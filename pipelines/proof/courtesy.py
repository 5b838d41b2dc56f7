"""Greetings, thanks and requests to be kind: they say nothing of their own beside a message, and one of a kind is as good as another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence

from pipelines.proof import lexicon, typos
from pipelines.proof.reading import Token
from pipelines.proof.words import DIRECTIONS, GREETINGS, MODALS, POLITE, SUBJECTS, word_set

_GREETING = """
hi | hello | hey | hi there | hello there | hey there | hi all | hello all | hi team | hello team | dear team | dear all
hi everyone | hello everyone | hi everybody | hello everybody | dear support team | dear support | dear customer service
dear sir or madam | dear sir / madam | dear sir | dear madam | to whom it may concern | greetings | hi guys | hey guys | hi folks | hey team
hello support | hi support | dear customer support | dear customer care | hey all | hey everyone
"""
_OF_THE_DAY = "good morning | good afternoon | good evening | good day"
_THANKS = """
thanks | thank you | thx | thanks a lot | thanks so much | thanks very much | thank you so much | thank you very much | many thanks
thanks in advance | thank you in advance | thanks and regards | thanks and best regards | thanks and kind regards | thank you and best regards
thanks a million | thanks a bunch | thanks for your help | thank you for your help | thanks for any help | much appreciated
"""
_CLOSING = "best regards | kind regards | warm regards | regards | best wishes | cheers | sincerely | yours sincerely"
_FRANKLY = "honestly | tbh | to be honest | to be quite honest"
_PLEA = """
please help | please help me | please advise | any help appreciated | any help is appreciated | any help would be appreciated
any help would be great | help please | pls help | plz help | pls help me
"""
_FILLER = """
quick question | a quick question | just a quick question | just wondering | just curious | sorry to bother you | sorry to bother
sorry if this was asked before | sorry if this has been asked before | sorry if this has been asked
"""
_BEFORE_A_MARK = "excuse me | well | so | ok | okay | ok so | um | uh | erm | hmm"
"""Only where a mark parts them from what follows: `So, is it late`, but `So is he`."""

_KINDS = {
    "greeting": _GREETING,
    "time of day": _OF_THE_DAY,
    "thanks": _THANKS,
    "closing": _CLOSING,
    "frankly": _FRANKLY,
    "plea": _PLEA,
    "filler": _FILLER,
    "aside": _BEFORE_A_MARK,
}
_OPENING = frozenset({"greeting", "time of day", "filler", "aside", "frankly"})
"""They open a sentence or what stands below a heading; inside of one, `Hello` is a name or a word that is spoken of."""
UNDECIDED = frozenset({"plea", "aside"})
"""Beside a label they may be what it is about: `Please help`, `Okay, send it`."""
_SPOKEN_OF = word_set("thanks thank greeting greetings polite politeness courtesy hesitant hesitation filler fillers")
"""Where one stands that is no courtesy itself, the text is about courtesies."""
_HEADINGS = word_set("message messages mail email comment feedback input query request review text ticket transcript")
_HEADED = 4
"""How far before its last word the `#` of a heading may stand."""

EXCHANGED = frozenset({"please", "greeting", "thanks", "closing"})
"""Kinds of which one may stand for another; a morning is no evening."""


def _table() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    found: defaultdict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for kind, rows in _KINDS.items():
        for row in rows.strip().replace("\n", "|").split("|"):
            words = tuple(row.split())
            found[words[0]].append((words, kind))
    return {first: sorted(rows, key=lambda row: -len(row[0])) for first, rows in found.items()}


_PHRASES = _table()
_meant = typos.mender(word for rows in _PHRASES.values() for row, _ in rows for word in row)
"""The word of a courtesy that another one is a slip of: `Good aftrenoon`."""

_CLAUSES = SUBJECTS | word_set("this that these those there not if when")
_REQUESTING = POLITE | GREETINGS | {"you", "and"}
"""Behind these `kindly` asks."""


def courtesies(tokens: Sequence[Token], paused: Container[int] = ()) -> Mapping[int, str]:
    """Which tokens, without soft punctuation, are courtesies, and of what kind; a phrase begins a sentence, thanks may also be written so
    or stand behind a mark (`paused`).
    """
    if lexicon.installed():
        tokens = [token._replace(norm=_meant(token.norm)) for token in tokens]
    found = {at: "please" for at, token in enumerate(tokens) if token.norm in POLITE and _only_polite(tokens, at)}
    for at, token in enumerate(tokens):
        if token.norm in _PHRASES and (token.first or token.raw[:1].isupper() or at in paused):
            length, kind = _phrase(tokens, at, paused)
            found |= dict.fromkeys(range(at, at + length), kind)
    about = any(token.norm in _SPOKEN_OF and at not in found for at, token in enumerate(tokens))
    return {at: kind for at, kind in found.items() if kind == "please"} if about else found


def _only_polite(tokens: Sequence[Token], at: int) -> bool:
    """It opens or closes a sentence, or asks; `they want to please` and `they kindly lost it` say something."""
    token = tokens[at]
    if token.first or at == 0:
        return True
    before, after = tokens[at - 1], tokens[at + 1 : at + 2]
    if before.norm == "to" or before.norm in MODALS:
        return False
    closing = not after or after[0].first or after[0].kind != "word"
    return token.norm != "kindly" or before.norm in _REQUESTING or closing


def _phrase(tokens: Sequence[Token], at: int, paused: Container[int]) -> tuple[int, str]:
    """How many words of a courtesy begin here, and its kind; 0: it goes on to something else."""
    for words, kind in _PHRASES[tokens[at].norm]:
        end = at + len(words)
        parted = end in paused and (kind in _OPENING or end == len(tokens) or tokens[end].first)
        if tuple(token.norm for token in tokens[at:end]) == words and (parted or _ends(tokens, end, kind, words)):
            return (len(words), kind) if kind not in _OPENING or _opens(tokens, at) else (0, "")
    return 0, ""


def _opens(tokens: Sequence[Token], at: int) -> bool:
    """It begins a sentence, or stands below a heading such as `## Message`, whose line end is no longer seen."""
    if at == 0 or tokens[at].first:
        return True
    return tokens[at - 1].norm in _HEADINGS and any(token.norm == "#" for token in tokens[max(0, at - _HEADED) : at])


def _ends(tokens: Sequence[Token], end: int, kind: str, words: Sequence[str]) -> bool:
    """`Good morning, my card is lost`, but no `Good Morning Vietnam`, and no `thanks to the rain`."""
    if kind == "aside":
        return False
    if end == len(tokens) or tokens[end].first:
        return True
    after = tokens[end]
    if kind == "frankly":
        return after.norm in _CLAUSES
    if kind in _OPENING:
        if kind == "time of day" and after.norm in DIRECTIONS:
            return False  # `Good day at work`
        return len(words) == 1 or not after.raw[:1].isupper() or after.norm in SUBJECTS or lexicon.ordinary(after.norm)
    return after.raw[:1].isupper() or after.kind == "symbol"
