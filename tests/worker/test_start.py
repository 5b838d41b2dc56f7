"""What a worker process imports before it can begin: a first answer waits for all of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("httpx", "faiss", "pyarrow", "polars", "jinja2", "tiktoken", "torch", "sentence_transformers", "genai_prices")
NEEDED = {
    "local,cloud": set(),
    "prepare,schedule,settle": {"faiss", "pyarrow", "jinja2", "tiktoken"},
}


@pytest.mark.parametrize("roles", NEEDED)
def test_a_worker_imports_what_its_roles_need_and_no_more(roles: str) -> None:
    code = (
        "import sys; from worker.tasks import load; load(tuple(sys.argv[1].split(',')))\n"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, roles], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= NEEDED[roles]
