"""Gives memory that was freed back to the system; glibc keeps it otherwise, a chunk's peak for ever."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library: it has its own ways
        return lambda _: 0


def give_back() -> None:
    """A few milliseconds; call it from a thread, after something large is done."""
    _trim()(0)
