"""What every test shares: a clean environment and the versions in the header."""

from __future__ import annotations

import os
import signal
from importlib.metadata import version

import hypothesis
import pytest

hypothesis.settings.register_profile("gate", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))
"""Whether a commit may land must not hang on luck; `HYPOTHESIS_PROFILE=search` looks further, at new examples each time."""


def pytest_report_header() -> str:
    names = ("arq", "redis", "polars", "pyarrow", "faiss-cpu", "sentence-transformers", "pyreqwest")
    return "spillway with " + ", ".join(f"{name} {version(name)}" for name in names)


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts() -> None:
    """Whoever started us, or ran before, may have left it ignored; the program then ignores it too."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, setting or proxy of the machine reaches a test."""
    for name in list(os.environ):
        if name.startswith("SPILLWAY_") or name.endswith(("_API_KEY", "_PROXY", "_proxy")) or name == "HF_TOKEN":
            monkeypatch.delenv(name)
