"""How long orders of a batch API take, by those that came back and by those that were taken back before; it measures nothing."""

from __future__ import annotations

from collections.abc import Sequence


def latency(seconds: Sequence[float], usual_p50_s: float, usual_p90_s: float) -> tuple[float, float]:
    """What half and nine in ten of the last orders took, with more room the fewer they are; what is usual where there were none. One
    that was taken back (below zero) says only that it would have taken longer: where no other is known, than is usual."""
    if not seconds:
        return usual_p50_s, usual_p90_s
    half, late = _share(seconds, 0.5), _share(seconds, 0.9) * (1 + 2 / len(seconds))
    if max(seconds) < 0:
        half, late = max(half, usual_p50_s), max(late, usual_p90_s)
    return half, late


def _share(seconds: Sequence[float], share: float) -> float:
    """In how many seconds more than so large a share has come back; as long as any took, where that is unknown (Kaplan and
    Meier's estimate: who was taken back counts until then, and no longer)."""
    out = 1.0
    for number, each in enumerate(in_order := sorted(seconds, key=lambda each: (abs(each), each < 0))):
        if each > 0:
            out *= 1 - 1 / (len(seconds) - number)
        if out < 1 - share - 1e-9:
            return each
    return abs(in_order[-1])
