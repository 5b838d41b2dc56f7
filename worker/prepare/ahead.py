"""How much is prepared and not answered yet, of all runs together."""

from __future__ import annotations

HIGH_WATER_ROWS, HIGH_WATER_BYTES = 24_576, 48 << 20
LOW_WATER_ROWS = 2_048
"""Prepared ahead while no rate is known, so that batches get their size from the lanes' real speed."""
AHEAD_S = 20.0
"""Of the lanes' work, where no run has a deadline. Where one has, all that fits: what is bought of it is chosen from what is prepared."""


def ahead_rows(rows_per_s: float, timed: bool) -> int:
    """Rows that should be prepared and not answered, of all runs, when more of one is: `timed` if it has a deadline."""
    if timed and rows_per_s:
        return HIGH_WATER_ROWS
    return min(HIGH_WATER_ROWS, max(LOW_WATER_ROWS, round(rows_per_s * AHEAD_S)))
