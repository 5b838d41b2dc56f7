"""How the columns of a table share a screen: ids, numbers and money stay whole, headings and free text are folded, and what
does not fit beside the rest goes on below. No cell is made or cut here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rich.cells import cell_len

GAPS = (3, 2, 1)
"""Blanks between columns, where there is room for them."""
EDGES = 2
READABLE = 24
"""Free text is folded no narrower than this, and only a word of it that takes half of the screen (a path, say) is broken."""


@dataclass(frozen=True)
class Column:
    """A column as text; `cells` has its total too, and `says` is whether any row has a value."""

    heading: str
    cells: Sequence[str]
    number: bool
    says: bool = True

    @cached_property
    def natural(self) -> int:
        return max((cell_len(line) for cell in self.cells for line in cell.split("\n")), default=0)

    @cached_property
    def word(self) -> int:
        """The longest word of free text; numbers are none, nor are ids, which are texts without a blank or a slash."""
        free = not self.number and any(" " in cell or "/" in cell for cell in self.cells)
        return _longest(" ".join(self.cells)) if free else 0

    def least(self, width: int) -> int:
        """On a screen of this width."""
        word = min(self.word, max(READABLE, width // 2))
        if not word:
            return self.natural
        return min(self.natural, max(READABLE, word)) if self.natural > READABLE else word


@dataclass(frozen=True, slots=True)
class Part:
    """Columns, by their place in the table, that stand side by side, and how wide each is."""

    places: Sequence[int]
    widths: Sequence[int]
    gap: int

    @property
    def total(self) -> int:
        return sum(self.widths) + self.gap * (len(self.widths) - 1) + EDGES


def share(columns: Sequence[Column], width: int) -> list[Part]:
    """The parts of a table on a screen of this width, one where that can be; a column that says nothing goes first."""
    whole = Part(range(len(columns)), [max(each.natural, cell_len(each.heading)) for each in columns], GAPS[0])
    if whole.total <= width:
        return [whole]
    kept = [place for place, each in enumerate(columns) if each.says] or list(whole.places)
    fitting = [part for gap in GAPS if (part := _folded(columns, kept, gap, width)).total <= width]
    flat = [part for part in fitting if all(columns[at].natural <= w for at, w in zip(kept, part.widths, strict=True))]
    return [*flat, *fitting][:1] or _below(columns, kept, width)


def _below(columns: Sequence[Column], kept: Sequence[int], width: int) -> list[Part]:
    """As many columns as fit, then the next ones, each time behind those that tell the rows apart."""
    key, gap = _key(columns, kept, width), GAPS[1]
    parts: list[Part] = []
    now = list(key)
    for place in kept[len(key) :]:
        if len(now) > len(key) and _narrow(columns, [*now, place], gap, width).total > width:
            parts.append(_folded(columns, now, gap, width))
            now = list(key)
        now.append(place)
    return [*parts, _folded(columns, now, gap, width)]


def _key(columns: Sequence[Column], kept: Sequence[int], width: int) -> Sequence[int]:
    """The first columns that tell the rows apart, as far as they leave half of the screen to others; one at least."""
    for count in range(1, len(kept)):
        seen = list(zip(*(columns[place].cells for place in kept[:count]), strict=True))
        wide = _narrow(columns, kept[: count + 1], GAPS[1], width).total > width // 2
        if len(set(seen)) == len(seen) or columns[kept[count]].number or wide:
            return kept[:count]
    return kept


def _folded(columns: Sequence[Column], places: Sequence[int], gap: int, width: int) -> Part:
    """At their least widths, and what is left of the screen shared out: to cells first, then to headings."""
    chosen, narrow = [columns[place] for place in places], _narrow(columns, places, gap, width)
    widths, room = list(narrow.widths), width - narrow.total
    for wanted in ([each.natural for each in chosen], [cell_len(each.heading) for each in chosen]):
        lacks = sorted((want - widths[i], i) for i, want in enumerate(wanted) if want > widths[i])
        for behind, (lack, i) in enumerate(lacks):
            more = max(0, min(lack, room // (len(lacks) - behind)))
            widths[i] += more
            room -= more
    return Part(places, widths, gap)


def _narrow(columns: Sequence[Column], places: Sequence[int], gap: int, width: int) -> Part:
    """At their least widths."""
    return Part(places, [max(columns[at].least(width), _longest(columns[at].heading)) for at in places], gap)


def _longest(text: str) -> int:
    return max((cell_len(word) for word in text.split()), default=0)
