"""Cerebras: OpenAI's shape; its limiter charges the output limit up front, so every call carries one."""

from __future__ import annotations

from worker.backends.compatible import Compatible

ADAPTER = Compatible("cerebras", cap="max_completion_tokens")
