"""Our own stand-in servers, spoken to as any OpenAI-compatible one."""

from __future__ import annotations

from worker.backends.compatible import Compatible

ADAPTER = Compatible("simulator", developer=True)
