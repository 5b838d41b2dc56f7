"""Hugging Face's router; the model's name pins the provider (`org/name:provider`), and errors come from there."""

from __future__ import annotations

from worker.backends.compatible import Compatible

ADAPTER = Compatible("huggingface")
