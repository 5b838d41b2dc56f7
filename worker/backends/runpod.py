"""RunPod's serverless vLLM; a worker's error comes inside a 200."""

from __future__ import annotations

from worker.backends.compatible import Compatible

ADAPTER = Compatible("runpod")
