"""Append-only storage for an index: numpy columns that grow, and bytes on scratch disk that cost no memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """A numpy column that grows by a half at a time."""

    def __init__(self, dtype: Any) -> None:
        self._data = np.zeros(256, dtype=dtype)
        self.size = 0

    @classmethod
    def of(cls, values: NDArray[Any]) -> Growing:
        """A column that starts with these values."""
        column = cls(values.dtype)
        column.extend(values)
        return column

    @property
    def array(self) -> NDArray[Any]:
        """What has been put in, to be read or changed in place."""
        return self._data[: self.size]

    def extend(self, values: NDArray[Any]) -> None:
        """Put more values at the end."""
        needed = self.size + len(values)
        if needed > len(self._data):
            grown = np.zeros(max(needed, len(self._data) * 3 // 2), dtype=self._data.dtype)
            grown[: self.size] = self.array
            self._data = grown
        self._data[self.size : needed] = values
        self.size = needed


class Scratch:
    """Append-only bytes in an unlinked temporary file: costs disk and page cache, not memory."""

    def __init__(self) -> None:
        self._file = -1
        self._end = 0

    def append(self, data: bytes) -> int:
        """Where the bytes begin."""
        if self._file < 0:
            self._file, name = tempfile.mkstemp(prefix="spillway-index-")
            Path(name).unlink()
            weakref.finalize(self, os.close, self._file)
        start, view = self._end, memoryview(data)
        while view:
            written = os.pwrite(self._file, view, self._end)
            self._end += written
            view = view[written:]
        return start

    def read(self, start: int, size: int) -> bytes:
        """What was appended there."""
        return os.pread(self._file, size, start) if size else b""

    def gather(self, starts: Iterable[int], size: int) -> bytes:
        """Pieces of one size, one behind the other."""
        file = self._file
        return b"".join([os.pread(file, size, start) for start in starts])
