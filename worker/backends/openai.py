"""OpenAI itself, and any server that only claims to be compatible with it."""

from __future__ import annotations

from urllib.parse import urlsplit

from pipelines.sections import Target
from worker.backends.compatible import Compatible


def _cap(target: Target) -> str:
    """OpenAI's reasoning models refuse `max_tokens`; many compatible servers know nothing else."""
    return "max_completion_tokens" if urlsplit(target.base_url or "").hostname == "api.openai.com" else "max_tokens"


ADAPTER = Compatible("openai", cap=_cap)
