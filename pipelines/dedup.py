"""When one answer may serve two prompts: the keys that are equal for harmless variants, and the proof by difference.

Pure values; the vectors and the index that propose candidates are in worker/dedupe/index.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache, reduce
from hashlib import blake2b
from operator import or_

import msgspec

from pipelines.guards import objection
from pipelines.proof.asking import paragraphs
from pipelines.proof.casing import capitals
from pipelines.proof.explain import harmless, shared_words, unexplained
from pipelines.proof.instruction import (
    CLOSED,
    EXTRACT,
    LITERAL,
    OPEN,
    STRICT,
    VERBATIM,
    infer_task,
    labelled_task,
    read_task,
    says_what,
    stricter,
)
from pipelines.proof.layout import layout, one_line, prose_words
from pipelines.proof.letters import placed
from pipelines.proof.loose import loose_lines, loose_words
from pipelines.proof.outline import OUTLINES, outlines, skeleton
from pipelines.proof.pieces import CODE, TELLING
from pipelines.proof.retelling import RARE_PAIRS as STORIES
from pipelines.proof.retelling import rare_pairs
from pipelines.proof.reworking import says_nothing, says_only_how
from pipelines.proof.shown import decoded
from pipelines.proof.signs import doubted

__all__ = ["CLOSED", "EXTRACT", "FIELD", "OPEN", "OUTLINES", "STORIES", "STRICT", "VERBATIM", "Candidate", "Link", "Said", "Verdict", "Veto", "canonical_key", "decide",
           "infer_task", "labelled_task", "likeness", "outline_keys", "proof", "read", "refusal", "said", "skeleton_key", "stored", "story_keys", "stricter"]  # fmt: skip


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A prompt as the duplicate stage sees it; prompts of different family are never compared."""

    row: int
    key: bytes  # 16: exact key of the canonical request
    family: bytes  # 8: everything but the user's text
    text: str
    fields: tuple[str, ...] | None = None  # the template's variable fields, when known
    task: str = ""  # closed | open | extract | strict | verbatim | "": infer
    paraphrase: bool = False  # the route allows other words for the same question
    system: str = ""  # the system prompt, which may say what the task is; it is part of the family
    labels: bool = False  # the answer is one of known labels
    keys_only: bool = False  # reuse by proof is paused for the route


class Link(msgspec.Struct, frozen=True, gc=False):
    """A prompt that another prompt's answer serves."""

    row: int
    leader_row: int
    leader_run: str | None  # None: this run
    kind: str  # exact | canonical | edit | semantic
    similarity: float
    guard: str  # which rule proved it


class Veto(msgspec.Struct, frozen=True, gc=False):
    """A near miss: proposed by the index, refused by a guard."""

    row: int
    leader_row: int
    leader_run: str | None
    cosine: float
    guard: str


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What the proof by difference says, and why."""

    accept: bool
    reason: str


class Said(msgspec.Struct, frozen=True, gc=False):
    """What a prompt says, as the guards compare it."""

    text: str
    fields: tuple[str, ...] | None
    rest: str  # the text without its known fields


FIELD = "\x00"
"""Stands in `Said.rest` where a field is."""

FORMS = 10
"""Raised whenever canonical forms begin to part texts that they merged: keys that are stored say nothing any more then."""


_CACHED_FAMILIES = 4_096


def said(row: Candidate) -> Said:
    """A candidate's text, with its fields cut out when they are known, stand in it in order, and what is left has no mark
    of ours in it."""
    if row.fields is None:
        return Said(row.text, None, "")
    at, rest = 0, []
    for field in row.fields:
        start = row.text.find(field, at)
        if start < 0:
            return Said(row.text, None, "")
        rest.append(row.text[at:start])
        at = start + len(field)
    rest.append(row.text[at:])
    if any(FIELD in piece for piece in rest):
        return Said(row.text, None, "")
    return Said(row.text, row.fields, FIELD.join(rest))


def stored(row: Candidate) -> str:
    """What must be kept of a representative so that `read` gives back what it says."""
    found = said(row)
    if found.fields is None:
        return _unicode(row.text.replace(FIELD, "\ufffd"))
    return FIELD + msgspec.json.encode([_unicode(part) for part in (found.rest, *found.fields)]).decode()


def _unicode(text: str) -> str:
    """Half a surrogate pair cannot be written; in its place stands a mark that equals nothing."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def read(text: str) -> Said:
    """The opposite of `stored`; what cannot be put together again equals no prompt, and says only what is stored."""
    if text[:1] != FIELD:
        return Said(text, None, "")
    rest, *fields = msgspec.json.decode(text[1:], type=list[str])
    pieces = rest.split(FIELD)
    if len(pieces) != len(fields) + 1:  # an earlier version took a NUL of the prompt for a mark of its own
        return Said(text, None, "")
    whole = "".join(piece + field for piece, field in zip(pieces, [*fields, ""], strict=True))
    return Said(whole, tuple(fields), rest)


def canonical_key(family: bytes, text: str, task: str) -> bytes:
    """Equal for texts that differ in nothing that this kind of task could notice; 16 bytes."""
    form = text if task == VERBATIM else _literal_form(text) if task in LITERAL else _loose_form(text, task)
    return _digest(form, family, _of(task, FORMS), 16)


def _literal_form(text: str) -> str:
    """Without what only layout says, but with the blanks and line ends that part things."""
    places = placed(text)
    return "\x1f".join([layout(text), *places]) if places else layout(text)


def _loose_form(text: str, task: str) -> str:
    """Without case and soft punctuation, but with the words that their case makes names, where a name matters."""
    text = decoded(text)
    plain = one_line(text)
    words: list[str] | str = text.split() if plain else prose_words(text)
    low, kinds = _loose_parts(text, words) if isinstance(words, list) else loose_lines(words)
    if plain and kinds & CODE and isinstance(words := prose_words(text), str):
        low, kinds = loose_lines(words)
    if not kinds & TELLING:
        return low
    shown = words if isinstance(words, str) else " ".join(words)
    names = [*capitals(shown, names=task == OPEN), *doubted(shown, asked=task == OPEN)]
    return "\x1f".join([low, *names]) if names else low


def _loose_parts(text: str, words: list[str]) -> tuple[str, int]:
    """Each paragraph has its own sentences."""
    said = paragraphs(text) if "\n" in text else []
    parts = [prose_words(part) for part in said] if len(said) > 1 else []
    if not parts or any(isinstance(part, str) for part in parts):
        return loose_words(words)
    forms = [loose_words(part) for part in parts if part]
    return " ".join([form for form, _ in forms if form]), reduce(or_, [kinds for _, kinds in forms], 0)


def skeleton_key(family: bytes, text: str) -> bytes:
    """Often equal for texts that differ by slips and polite words: it proposes, and proves nothing; 16 bytes."""
    return _digest("\x1f".join(skeleton(text)), family, b"skeleton", 16)


def outline_keys(family: bytes, text: str) -> bytes:
    """Eight keys of 8 bytes: texts that share none of them are no variants of each other; an empty outline has key 0."""
    return b"".join(_digest(form, family, b"outline", 8) if form else bytes(8) for form in outlines(text))


def story_keys(family: bytes, text: str) -> bytes:
    """Ten keys of 8 bytes that texts which tell one story seldom share none of; 0: no such key."""
    keys = [_digest(pair, family, b"story", 8) for pair in rare_pairs(text)]
    return b"".join(keys).ljust(8 * STORIES, b"\0")


def _digest(form: str, family: bytes, of: bytes, size: int) -> bytes:
    made = _begun(family, of, size).copy()
    made.update(form.encode("utf-8", "surrogatepass"))
    return made.digest()


@cache
def _of(task: str, forms: int) -> bytes:
    return f"{task} {forms}".encode()


@lru_cache(maxsize=_CACHED_FAMILIES)
def _begun(family: bytes, of: bytes, size: int) -> blake2b:
    """Copying what has read the family is cheaper than to begin anew."""
    return blake2b(digest_size=size, key=family, person=of)


def likeness(leader: Said, row: Said) -> float:
    """Share of equal words, for links that no vector measured."""
    return shared_words(leader.text, row.text)


def decide(a: Sequence[str], b: Sequence[str], task: str) -> Verdict:
    """Whether the answer to `a` may serve `b`, field by field: every difference must be explained as harmless."""
    reason = _reason(a, b, task)
    return Verdict(False, _refusal(a, b, task)) if reason is None else Verdict(True, reason)


def proof(leader: Said, row: Said, task: str) -> str | None:
    """Only the reason for a reuse, from the known fields, when both sides have them, and the whole texts; says nothing about
    refusals, and so costs little."""
    return _reason(*_compared(leader, row), task)


def refusal(leader: Said, row: Said, task: str) -> str:
    """What forbids a reuse that `proof` has found no reason for; the proof is not tried again."""
    return _refusal(*_compared(leader, row), task)


def _reason(a: Sequence[str], b: Sequence[str], task: str) -> str | None:
    if len(a) != len(b):
        return None
    reasons = [harmless(x, y, task) for x, y in zip(a, b, strict=True) if x != y]
    return None if None in reasons else "+".join(sorted({reason for reason in reasons if reason})) or "equal"


def _refusal(a: Sequence[str], b: Sequence[str], task: str) -> str:
    """The first guard that objects to what is left of a difference."""
    if len(a) != len(b):
        return "template"
    said = (objection(*unexplained(x, y, task)) for x, y in zip(a, b, strict=True) if x != y)
    return next(filter(None, said), "strict task" if task in LITERAL else "unexplained")


def _compared(leader: Said, row: Said) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Each field, so that no difference is read across two of them, and the whole: `5 mW` is told from `5 MW` by the 5 beside the field."""
    if leader.fields is None or row.fields is None:
        return (leader.text,), (row.text,)
    return ((*leader.fields, leader.text), (*row.fields, row.text)) if leader.rest == row.rest else ((), ("",))


def task_of(row: Candidate, text: str, constant: str, rest: str) -> str:
    """The kind of a task that nobody named: what its instruction says, and the system prompt if that is stricter."""
    silent = says_nothing(constant)
    field, constant = (rest if constant.strip() else text), ("" if silent else constant)
    if row.labels:
        return labelled_task(f"{row.system}\n{constant or text}", rest)
    told = infer_task(row.system) if row.system else OPEN
    if row.system and says_what(row.system):  # labels of fields are no instruction that could say more
        return stricter(told, infer_task(f"{row.system}\n{constant}", rest if constant else text))
    if silent or says_only_how(constant):
        return stricter(stricter(told, read_task(constant) if constant else OPEN), read_task(field))
    return stricter(told, infer_task(constant, rest))
