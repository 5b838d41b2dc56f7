"""What results call a row whose caller gave it no id: its number, unless another row was given that name."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from worker.store import Store

MARK = "row-"
_OURS = re.compile(rf"((?:{MARK}){{0,7}})(0|[1-9][0-9]{{0,17}})")
"""The names that a row without an id can get: `7`, where that is taken `row-7`, where that is taken too `row-row-7` …"""


class Names:
    """Given ids win: a file in which only some rows have ids still gets a name for each row that no other has."""

    def __init__(self, store: Store, chunks: list[str], rows: int, unnamed: int) -> None:
        """`unnamed` of the rows in these chunk parts have no id."""
        self._taken: NDArray[np.uint8] | None = None
        if not 0 < unnamed < rows:  # all rows have ids, or none has
            return
        self._taken = np.zeros(rows, np.uint8)
        for name in chunks:
            given = store.read_table(name, columns=["custom_id"])["custom_id"]
            for text in given.filter(pc.match_substring_regex(given, f"^(?:{_OURS.pattern})$")).to_pylist():
                found = _OURS.fullmatch(text)
                if found is not None and int(found[2]) < rows:
                    self._taken[int(found[2])] |= 1 << (len(found[1]) // len(MARK))

    def of(self, rows: pa.ChunkedArray) -> pa.Array:
        """The names of these rows if they were given none."""
        numbers = rows.to_numpy()
        names = [str(number) for number in numbers.tolist()]
        if self._taken is not None:
            taken = self._taken[numbers].tolist()
            names = [_free(name, bits) if bits else name for name, bits in zip(names, taken, strict=True)]
        return pa.array(names, pa.string())


def _free(name: str, taken: int) -> str:
    """The shortest that nobody has; bit n of `taken` stands for the name with n marks."""
    while taken & 1:
        name, taken = MARK + name, taken >> 1
    return name
