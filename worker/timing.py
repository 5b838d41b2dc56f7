"""How long a worker that says nothing still counts as there; one number, which the crash tests make short."""

from __future__ import annotations

import os

LEASE_S = float(os.environ.get("SPILLWAY_TEST_LEASE_S") or 10.0)
"""Named leases (scheduler, preparer, settler), and how long a rung batch may wait to be taken."""
LEASE_MS = round(LEASE_S * 1000)
ALIVE_MS = round(LEASE_S * 1500)
"""A heartbeat's key lives this long."""
JOB_LEASE_S = 3 * LEASE_S
"""ARQ rings a job again after this long without renewal."""
GONE_MS = 2 * LEASE_MS
"""A lane whose targets are down for so long is no way out for prompts that the other lane has failed."""
SILENT_MS = 3 * LEASE_MS
"""A target that looks well and has answered nothing for this long need not be waited for."""
