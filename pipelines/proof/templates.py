"""Which part of a prompt is the file's template and which part varies, learnt from the prompts of a chunk.

A finding only chooses what is embedded and which words name the task; no proof of a duplicate rests on it alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple, TypeVar

from pipelines.proof.apart import apart

_MIN_PROMPTS = 8
_MIN_SHARE = 0.01
_ALWAYS = 0.9
"""A template's own words stand in nearly all of its prompts; what the data repeats does not."""
_MAX_BRANCHES = 64
_MAX_EDGE = 200
_LABEL_WORDS = 4
_SENTENCE_WORDS = 5
_HALF = 0.5
_OPENERS = ":>\"'([{-=»“‘"

Lines = list[str]
Row = TypeVar("Row")
Edge = tuple[str, ...]


class Parts(NamedTuple):
    """One prompt taken apart."""

    constant: str  # what the template says
    field: str  # what varies; the whole text when no template is known
    template: int  # which template; -1: none


class Template(NamedTuple):
    """What all prompts of one template share: lines and words at both ends, lines and labels between them."""

    head_lines: Edge
    head_words: Edge
    tail_words: Edge
    tail_lines: Edge
    inner: frozenset[str]
    labels: frozenset[str]

    def size(self) -> int:
        return sum(map(len, (*self.head_lines, *self.head_words, *self.tail_words, *self.tail_lines)))


class Templates:
    """The templates of a run's prompts, several at once; grows with every chunk it is shown."""

    def __init__(self) -> None:
        self._known: list[Template] = []
        self._sizes: list[int] = []
        self._by_start: dict[str, list[int]] = defaultdict(list)
        self._by_end: dict[str, list[int]] = defaultdict(list)

    def learn(self, texts: Iterable[str]) -> None:
        """Look for templates among different texts that none of the known ones fits."""
        rows = [lines for text in dict.fromkeys(texts) if self._match(lines := _lines(text)) < 0 and lines]
        if len(rows) < _MIN_PROMPTS:
            return
        for template in _discover(rows):
            if template not in self._known:
                self._add(template)

    def split(self, text: str) -> Parts:
        """The constant and the varying part of a prompt."""
        lines = _lines(text)
        number = self._match(lines)
        if number < 0:
            return Parts("", text, -1)
        constant, field = _cut(lines, self._known[number])
        return Parts(constant, field or text, number)

    def apart(self, text: str) -> str:
        """The text with what varies on lines of its own, where it would be read otherwise for what stands beside it."""
        place = self.place(text)
        return apart(text, *place) if place else text

    def place(self, text: str) -> tuple[int, int] | None:
        """Where what varies begins and ends, if words of its template stand on the same lines, or it stands in a fence."""
        lines = _lines(text)
        number = self._match(lines)
        if number < 0:
            return None
        template = self._known[number]
        fenced = template.head_lines[-1:] and template.head_lines[-1].startswith("```")
        beside = template.head_words or template.tail_words or any(name[-1] == "=" for name in template.labels)
        if not (beside or fenced):
            return None
        raw = text.split("\n")
        full = [at for at, line in enumerate(raw) if line.strip()]
        first, last = full[len(template.head_lines)], full[-1 - len(template.tail_lines)]
        start = sum(len(line) + 1 for line in raw[:first]) + _behind(raw[first], template)
        end = sum(len(line) + 1 for line in raw[: last + 1]) - 1 - _beyond(raw[last], len(template.tail_words))
        return (start, end) if start < end else None

    def _add(self, template: Template) -> None:
        number = len(self._known)
        self._known.append(template)
        self._sizes.append(template.size())
        if template.head_lines:
            self._by_start[template.head_lines[0]].append(number)
        elif template.head_words:
            self._by_start[template.head_words[0]].append(number)
        elif template.tail_lines:
            self._by_end[template.tail_lines[-1]].append(number)
        else:
            self._by_end[template.tail_words[-1]].append(number)

    def _match(self, lines: Lines) -> int:
        """The template that explains most of the text."""
        if not lines:
            return -1
        first, last = lines[0], lines[-1]
        starts, ends = self._by_start, self._by_end
        near = [starts.get(first), starts.get(_first_word(first)), ends.get(last), ends.get(_last_word(last))]
        words: dict[int, tuple[str, ...]] = {}
        best, size = -1, -1
        for number in chain.from_iterable(found for found in near if found):
            if self._sizes[number] > size and _fits(lines, self._known[number], words):
                best, size = number, self._sizes[number]
        return best


def _lines(text: str) -> Lines:
    return [line for raw in text.split("\n") if (line := raw.strip())]


def _first_word(line: str) -> str:
    return line.split(None, 1)[0]


def _last_word(line: str) -> str:
    return line.rsplit(None, 1)[-1]


def _fits(lines: Lines, template: Template, words: dict[int, tuple[str, ...]]) -> bool:
    """`words` remembers those of the lines from one template to the next."""
    head, tail = template.head_lines, template.tail_lines
    if len(lines) <= len(head) + len(tail) or tuple(lines[: len(head)]) != head:
        return False
    if tail and tuple(lines[-len(tail) :]) != tail:
        return False
    start, end = template.head_words, template.tail_words
    if start and _words_of(lines, len(head), words)[: len(start)] != start:
        return False
    return not end or _words_of(lines, len(lines) - 1 - len(tail), words)[-len(end) :] == end


def _words_of(lines: Lines, at: int, words: dict[int, tuple[str, ...]]) -> tuple[str, ...]:
    if at not in words:
        words[at] = tuple(lines[at].split())
    return words[at]


def _cut(lines: Lines, template: Template) -> tuple[str, str]:
    head, tail = template.head_lines, template.tail_lines
    middle = lines[len(head) : len(lines) - len(tail)]
    constant = [*head, " ".join(template.head_words)]
    varying: list[str] = []
    for at, line in enumerate(middle):
        if line in template.inner:
            constant.append(line)
            continue
        words = line.split()
        start = len(template.head_words) if at == 0 else 0
        stop = len(words) - (len(template.tail_words) if at == len(middle) - 1 else 0)
        rest = " ".join(words[start:stop])
        label = _label(rest)
        if label in template.labels:
            constant.append(label)
            rest = rest[len(label) :].strip()
        varying.append(rest)
    constant += [" ".join(template.tail_words), *tail]
    return "\n".join(part for part in constant if part), "\n".join(part for part in varying if part)


def _behind(line: str, template: Template) -> int:
    """How many letters of a line the template's first words take, with the blanks around them, or its label."""
    if template.head_words:
        rest = line.split(None, len(template.head_words))[len(template.head_words) :]
        return len(line) - len(rest[0]) if rest else len(line)
    label = _label(line.strip())
    return line.find(label) + len(label) if label in template.labels else 0


def _beyond(line: str, words: int) -> int:
    """How many letters of a line its last words take."""
    return len(line) - len(line.rsplit(None, words)[0]) if words else 0


def _label(line: str) -> str:
    """`Review:` of `Review: a fine film`, `TEXT=` of `TEXT=a fine film`, or nothing."""
    head, colon, _ = line.partition(":")
    if colon and len(head.split()) <= _LABEL_WORDS:
        return head + colon
    head, equals, _ = line.partition("=")
    return head + equals if equals and head.isidentifier() else ""


def _discover(rows: list[Lines]) -> list[Template]:
    """By the first line, then by the first words, then by the last line, then by the last words."""
    least = max(_MIN_PROMPTS, int(_MIN_SHARE * len(rows)))
    found: list[Template] = []
    for key, certain in _KEYS:
        left: list[Lines] = []
        for group in _groups(rows, key):
            described = _describe(group, least) if len(group) >= least else []
            share = len(group) / len(rows)
            told = [
                template for template in described if template.size() and (certain or _says_enough(template, share))
            ]
            found += told
            left += [] if told else group
        rows = left
    return found


_KEYS: tuple[tuple[Callable[[Lines], str], bool], ...] = (
    (lambda lines: lines[0], True),
    (lambda lines: lines[-1], True),
    (lambda lines: _first_word(lines[0]), False),
    (lambda lines: _last_word(lines[-1]), False),
)
"""What prompts of one template may share, and whether that alone makes a template."""


def _groups(rows: Sequence[Lines], key: Callable[[Lines], str]) -> list[list[Lines]]:
    groups: dict[str, list[Lines]] = defaultdict(list)
    for lines in rows:
        groups[key(lines)].append(lines)
    return list(groups.values())


def _describe(rows: list[Lines], least: int) -> list[Template]:
    """One template per combination of lines that the rows share at their ends."""
    found: list[Template] = []
    for head, heads in _walk(rows, least, lambda lines, at: lines[at] if at < len(lines) - 1 else None):
        inside = [lines[len(head) :] for lines in heads]
        for tail, tails in _walk(inside, least, lambda lines, at: lines[-1 - at] if at < len(lines) - 1 else None):
            middle = [lines[: len(lines) - len(tail)] for lines in tails]
            found += _words(middle, head, tail[::-1], least)
    return found


def _words(middle: list[Lines], head: Edge, tail: Edge, least: int) -> list[Template]:
    found: list[Template] = []
    first = [lines[0].split() for lines in middle]
    for start, group in _walk(list(zip(first, middle, strict=True)), least, lambda row, at: _word(row[0], at)):
        rest = [[" ".join(words[len(start) :]), *lines[1:]] for words, lines in group]
        last = [lines[-1].split()[::-1] for lines in rest]
        for end, ended in _walk(list(zip(last, rest, strict=True)), least, lambda row, at: _word(row[0], at)):
            lines = [lines for _, lines in ended]
            found.append(Template(head, start, end[::-1], tail, _inner(lines, lambda x: x), _inner(lines, _label)))
    return found


def _word(words: list[str], at: int) -> str | None:
    return words[at] if at < len(words) - 1 else None


def _inner(rows: list[Lines], key: Callable[[str], str]) -> frozenset[str]:
    counts: Counter[str] = Counter()
    for lines in rows:
        counts.update({name for line in lines if (name := key(line))})
    return frozenset(name for name, count in counts.items() if count >= max(_MIN_PROMPTS, _ALWAYS * len(rows)))


def _walk(rows: list[Row], least: int, step: Callable[[Row, int], str | None]) -> list[tuple[Edge, list[Row]]]:
    """Follow what the rows share, step by step; where a few values share nearly all rows, follow each of them."""
    done: list[tuple[Edge, list[Row]]] = []
    open_: list[tuple[Edge, list[Row]]] = [((), rows)]
    while open_:
        edge, group = open_.pop()
        branches: dict[str, list[Row]] = defaultdict(list)
        for row in group:
            value = step(row, len(edge))
            if value is not None:
                branches[value].append(row)
        common = [(value, members) for value, members in branches.items() if len(members) >= least]
        covered = sum(len(members) for _, members in common)
        if not common or covered < _ALWAYS * len(group) or len(common) > _MAX_BRANCHES or len(edge) >= _MAX_EDGE:
            done.append((edge, group))
        else:
            open_ += [((*edge, value), members) for value, members in common]
    return done


def _says_enough(template: Template, share: float) -> bool:
    """A few first or last words make a template only when they end like one, are a sentence, or rule the file."""
    head, tail = template.head_words, template.tail_words
    if template.head_lines or template.tail_lines or share >= _HALF:
        return True
    return bool(head and head[-1][-1] in _OPENERS) or max(len(head), len(tail)) >= _SENTENCE_WORDS
