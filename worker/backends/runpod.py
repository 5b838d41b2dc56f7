"""RunPod's serverless vLLM; a worker's error comes inside a 200."""

from __future__ import annotations

from worker.backends.compatible import CARRIED, Compatible
from worker.backends.vllm import OWN

ADAPTER = Compatible("runpod", carries=CARRIED | OWN)
