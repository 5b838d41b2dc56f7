"""`spillway` as users start it, for tests: a folder with its configuration, sources and data root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from tests.support_upstream import ROOT, Upstream
from tests.support_warm import Warm

GPU: dict[str, Any] = {
    "personality": "lmstudio", "model": "qwen", "slots": 8, "latency_ms": 20, "answer": "hash",
    "output_tokens_median": 10, "output_tokens_sigma": 0.1,
}  # fmt: skip
CLOUD: dict[str, Any] = {
    "personality": "openai", "model": "gpt-4o-mini", "latency_ms": 20, "answer": "hash", "usd_per_mtok_in": 0.15,
    "usd_per_mtok_out": 0.6, "output_tokens_median": 10, "output_tokens_sigma": 0.1,
}  # fmt: skip


class Program:
    """One folder; every call of `run` is a process of its own."""

    def __init__(self, folder: Path, upstream: Upstream | None = None, **config: Any) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.root = str(self.data)  # or an object store's URL
        self.config = folder / "spillway.toml"
        self.environment: dict[str, str] = {}
        self.warm = True
        """False where a test is about what a start itself does, or how large it is."""
        if upstream is not None:
            config = {**upstream.settings(), **config}
        self.config.write_text(_toml(config))

    def rows(self, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
        path = self.folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def command(self, *arguments: str) -> list[str]:
        options = ["--config", str(self.config), "--data", self.root]
        return [sys.executable, "-m", "producer.cli", arguments[0], *arguments[1:], *options]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("SPILLWAY_")}
        start = Warm if self.warm else subprocess.Popen
        return start(
            self.command(*arguments),
            cwd=ROOT,
            env={**env, **self.environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str, code: int | None = 0, timeout_s: float = 100) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=40)
            raise AssertionError(f"{arguments} took over {timeout_s} s: {err[-1500:]}\n{self.log()}") from None
        assert "Traceback" not in err, err
        if code is not None:
            assert process.returncode == code, f"exit {process.returncode}: {err[-1500:]}\n{self.log()}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: str, code: int | None = 0, timeout_s: float = 100) -> dict[str, Any]:
        done = self.run(*arguments, "--json", code=code, timeout_s=timeout_s)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def results(self, run_id: str = "*") -> pl.DataFrame:
        return pl.read_parquet(self.data / f"results/run={run_id}/results.parquet", hive_partitioning=False)

    def costs(self) -> pl.DataFrame:
        return pl.read_parquet(self.data / "costs/**/*.parquet", hive_partitioning=False)

    def log(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.data.glob("logs/*.log")))

    def workers(self) -> list[int]:
        """Process ids of the workers of this data root."""
        found = []
        for pid in processes("-m worker"):
            with suppress(OSError):
                if Path(f"/proc/{pid}/fd/1").readlink().is_relative_to(self.data):
                    found.append(pid)
        return found

    def redis(self) -> list[int]:
        """Process ids of the private Redis of this data root."""
        return processes("redis-server", str(self.data / "redis/redis.sock"))


def processes(*words: str) -> list[int]:
    """Those whose command line holds all of these words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(entry.name))
    return found


def _toml(value: Mapping[str, Any], at: tuple[str, ...] = ()) -> str:
    """Enough TOML for configurations: tables, then values."""
    plain = {name: each for name, each in value.items() if not isinstance(each, Mapping)}
    lines = [f"[{'.'.join(json.dumps(part) for part in at)}]"] if at and plain else []
    lines += [f"{json.dumps(name)} = {_value(each)}" for name, each in plain.items()]
    tables = [_toml(each, (*at, name)) for name, each in value.items() if isinstance(each, Mapping)]
    return "\n".join([*lines, *tables]) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value))


def wait_until(true: Any, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)
