"""Ollama through its OpenAI-compatible address."""

from __future__ import annotations

from worker.backends.compatible import Compatible

ADAPTER = Compatible("ollama", refuses={"n": (1, None), "logit_bias": ({}, None), "tool_choice": ("auto", None)})
