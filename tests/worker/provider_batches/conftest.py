"""Time for every test of the lane."""

from __future__ import annotations

import pytest

from worker.provider_batches import lane, tending


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours as fractions of a second."""
    monkeypatch.setattr(lane, "REST_S", 0.01)
    monkeypatch.setattr(lane, "QUIET_S", 0.0)
    monkeypatch.setattr(tending, "LOOK_LEAST_S", 0.02)
    monkeypatch.setattr(tending, "GRACE_S", 0.5)
    monkeypatch.setattr(tending, "MISSING_S", 2.0)
    monkeypatch.setattr(tending, "PATIENCE_S", 8.0)
