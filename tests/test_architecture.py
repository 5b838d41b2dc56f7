"""The rooms stay apart: who may import whom, one owner per outward library, and how long a file may get."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("pipelines", "producer", "worker") for path in (ROOT / room).rglob("*.py"))

COMPUTES = {"numpy", "polars", "pyarrow", "pydantic", "pydantic_core", "msgspec", "zstandard"}
OWNERS = {
    "redis": ("worker/queue.py", "producer/queue.py"),
    "arq": ("worker/queue.py", "worker/leased.py", "worker/schedule/scheduler.py"),
    "httpx": ("worker/backends/http.py",),
    "pyreqwest": ("worker/backends/hot.py",),
    "faiss": ("worker/dedupe/index.py", "worker/dedupe/vectors.py"),
    "torch": ("worker/dedupe/encode.py",),
    "sentence_transformers": ("worker/dedupe/encode.py",),
    "croniter": ("pipelines/cron.py",),
    "tiktoken": ("pipelines/tokens.py",),
    "genai_prices": ("pipelines/prices.py",),
    "jsonschema_rs": ("pipelines/quality.py",),
    "jinja2": ("pipelines/rendering.py",),
    "pydantic_settings": ("pipelines/settings.py",),
    "fastapi": ("producer/api/",),
    "starlette": ("producer/api/",),
    "uvicorn": ("producer/api/server.py", "producer/api/connections.py"),
    "jwt": ("producer/api/auth.py",),
    "prometheus_client": ("producer/api/meter.py", "producer/api/metrics.py"),
    "python_multipart": ("producer/api/upload.py",),
    "ijson": ("producer/api/messages.py",),
}
NEVER = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
BRIDGES = {
    "producer/cli/bench.py",
    "producer/cli/__init__.py",
    "producer/cli/session.py",
    "producer/cli/rehearse.py",
    "producer/cli/doctor.py",
    "producer/cli/installation.py",
    "producer/cli/plan.py",
    "producer/cli/targets.py",
    "producer/cli/worker.py",
    "producer/cli/options.py",
    "producer/cli/serve.py",
}
"""The commands that may start worker code in their own process; nothing else of `producer` knows `worker`."""
IMPURE = {"asyncio", "socket", "subprocess", "threading", "http", "requests", "redis", "arq", "httpx", "faiss", "torch"}
MOST_LINES = 300


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path, *, runtime: bool = True) -> frozenset[str]:
    """Modules that a file imports anywhere; with `runtime`, not those for type checkers alone."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(child)
        for node in ast.walk(tree)
        if runtime and isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
    return frozenset(found)


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_rooms(path: Path) -> None:
    tops = {module.split(".")[0] for module in imports(path)}
    file = name(path)
    room = file.split("/")[0]
    assert not tops & NEVER, "a writable Redis must not mean code execution"
    if room == "pipelines":
        assert not tops & ({"producer", "worker"} | IMPURE), "pipelines is pure"
    if room == "worker":
        assert "producer" not in tops
    if room == "producer" and file not in BRIDGES:
        assert "worker" not in tops
    for library, owners in OWNERS.items():
        at_home = any(file == home or (home.endswith("/") and file.startswith(home)) for home in owners)
        assert library not in tops or at_home, f"{library} belongs to {', '.join(owners)}"


@pytest.mark.parametrize(("house", "least"), [("worker", 7), ("pipelines", 5)])
def test_no_two_rooms_of_a_house_import_each_other(house: str, least: int) -> None:
    """Not by way of a third one either: what both need stands beside them, at the top of the house."""
    rooms = {path.parent.name for path in (ROOT / house).glob("*/__init__.py")}
    needs: dict[str, set[str]] = {room: set() for room in rooms}
    for path in (ROOT / house).glob("*/**/*.py"):
        room = path.relative_to(ROOT / house).parts[0]
        needs[room] |= {
            other
            for other in rooms - {room}
            for module in imports(path)
            if f"{module}.".startswith(f"{house}.{other}.")
        }
    assert len(list(TopologicalSorter(needs).static_order())) == len(rooms) >= least  # CycleError names them


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_length(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES, "two concerns share a room?"


def test_the_readme_names_what_exists() -> None:
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1]
    for word in tree.split():
        if word.endswith(".py"):
            assert list(ROOT.glob(f"*/{word}")), f"README names {word}, which does not exist"


def test_the_readme_explains_every_room() -> None:
    """Every file of the three rooms' ground floor and every folder below the root stands in the tree."""
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1]
    words = set(tree.replace(",", " ").replace(";", " ").split())
    files = {path.name for room in ("pipelines", "producer", "worker") for path in (ROOT / room).glob("*.py")}
    folders = {
        f"{path.name}/"
        for room in ("pipelines", "producer", "worker", "docs")
        for path in (ROOT / room).iterdir()
        if path.is_dir() and any(each.is_file() for each in path.iterdir()) and path.name != "__pycache__"
    }
    assert (files | folders) - words <= {"__init__.py", "__main__.py"}


@pytest.mark.parametrize(
    ("roles", "unwanted"),
    [
        ("'prepare', 'schedule', 'settle'", "httpx pyreqwest jinja2 torch sentence_transformers polars fastapi typer"),
        ("'local', 'cloud'", "httpx jinja2 torch pyarrow numpy polars fastapi typer"),
    ],
)
def test_a_worker_starts_without_what_it_may_never_need(roles: str, unwanted: str) -> None:
    """The first answer waits for these imports, and memory keeps them."""
    code = f"import sys; from worker.tasks import load; load(({roles})); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not set(unwanted.split()) & set(loaded.split())
