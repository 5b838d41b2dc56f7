"""`make bench`: JSONL to Parquet against an instant upstream; rows/s, CPU, Redis traffic, memory, time to first answer.

The upstream is nginx with one canned completion when nginx is on PATH, else a small asyncio server. Every figure is
printed as one JSON line; docs/benchmarks.md keeps the dated ones.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from tests.support_net import free_port, wait_for_port
from worker.embedded import redis_binary

ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "positive"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 60, "completion_tokens": 2, "total_tokens": 62},
}  # fmt: skip
CONFIG = """
[targets.instant]
lane = "cloud"
kind = "openai"
model = "gpt-4o-mini"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "none"
max_concurrency = {concurrency}
[routes.all]
targets = ["instant"]
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s; default_type application/json;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location = /v1/models {{ return 200 '{{"object":"list","data":[{{"id":"gpt-4o-mini"}}]}}'; }}
    location / {{ return 200 '{answer}'; }} }}
}}
"""


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """An instant server on a free port."""
    port = free_port()
    nginx = shutil.which("nginx")
    if nginx:
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=port, answer=json.dumps(ANSWER)))
        command = [nginx, "-c", str(conf), "-p", str(folder)]
    else:
        command = [sys.executable, "-m", "tests.benchmarks.instant", str(port), json.dumps(ANSWER)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield port
    finally:
        server.terminate()
        server.wait()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Redis as the product starts it: AOF, a sync with every write."""
    socket, fsync = str(folder / "r.sock"), os.environ.get("BENCH_FSYNC", "always")
    logged = ["--appendonly", "no"] if fsync == "memory" else ["--appendonly", "yes", "--appendfsync", fsync]
    command = [
        redis_binary(), "--port", "0", "--unixsocket", socket, "--dir", str(folder), *logged, "--save", "",
        "--maxmemory-policy", "noeviction",
    ]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not Path(socket).exists():
            time.sleep(0.01)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait()


def write_rows(path: Path, rows: int) -> None:
    """Labelling prompts of about 350 bytes, one in twenty a repeat."""
    frame = "Classify the sentiment of this product review as positive, negative or neutral. Answer with one word.\n\nReview: "
    with path.open("w") as out:
        for number in range(rows):
            which = number if number % 20 else number // 2
            text = f"{frame}Order {which}: the parcel came after {which % 9} days, the lid was loose and item {which * 7919 % 100_003} works well."
            out.write(json.dumps({"id": f"r{number}", "prompt": text}) + "\n")


class Sampler:
    """Memory and CPU of a process tree, sampled while it runs."""

    def __init__(self, pids: list[int]) -> None:
        self.roots, self.peak_mb, self.peak_pss_mb, self.by_name = pids, 0.0, 0.0, {}
        self.cpu: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        turns = 0
        while not self._stop.wait(0.1):
            parents: dict[int, int] = {}
            facts: dict[int, tuple[float, float, str]] = {}
            for entry in Path("/proc").iterdir():
                if not entry.name.isdigit():
                    continue
                try:
                    stat = (entry / "stat").read_text()
                    rest = stat.rpartition(")")[2].split()
                    facts[int(entry.name)] = (
                        (int(rest[11]) + int(rest[12])) / tick, int(rest[21]) * 4096 / 2**20, (entry / "cmdline").read_text()
                    )  # fmt: skip
                    parents[int(entry.name)] = int(rest[1])
                except OSError:
                    continue
            mine = [pid for pid in facts if self._is_mine(pid, parents)]
            self.cpu.update({pid: facts[pid][0] for pid in mine})
            turns += 1
            if turns % 5 == 0:
                self.peak_pss_mb = max(self.peak_pss_mb, sum(_pss_mb(pid) for pid in mine))
            total = sum(facts[pid][1] for pid in mine)
            if total > self.peak_mb:
                self.peak_mb = total
                self.by_name = {facts[pid][2].replace("\0", " ")[-60:]: round(facts[pid][1]) for pid in mine}

    def _is_mine(self, pid: int, parents: dict[int, int]) -> bool:
        while pid > 1:
            if pid in self.roots:
                return True
            pid = parents.get(pid, 0)
        return False


def _pss_mb(pid: int) -> float:
    """Memory of a process with shared pages divided among those who share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def measure(folder: Path, port: int, rows: int, dedupe: str, concurrency: int) -> dict[str, Any]:
    """One run of the program; the figures of a line."""
    source = folder / f"rows-{rows}.jsonl"
    if not source.exists():
        write_rows(source, rows)
    config = folder / "spillway.toml"
    config.write_text(CONFIG.format(port=port, concurrency=concurrency))
    home = Path(tempfile.mkdtemp(dir=folder))
    with redis_server(home) as url:
        redis = Redis(unix_socket_path=url.removeprefix("unix://"))
        command = [
            sys.executable, "-m", "producer.cli", "run", str(source), "--config", str(config), "--data", str(home / "data"),
            "--redis", url, "--dedupe", dedupe, "--json",
        ]  # fmt: skip
        started = time.monotonic()
        program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first = threading.Thread(target=_first_answer, args=(redis, started, program, box := {}), daemon=True)
        first.start()
        with Sampler([program.pid, redis.info("server")["process_id"]]) as sampler:
            out, err = program.communicate()
        wall = time.monotonic() - started
        if program.returncode != 0:
            raise SystemExit(f"the run failed ({program.returncode}): {err.decode()[-2000:]}")
        info = redis.info()
    result = json.loads(out)
    shutil.rmtree(home)
    answered = result["ok"] + result["duplicate"]
    return {
        "rows": rows, "dedupe": dedupe, "calls": result["calls"], "wall_s": round(wall, 2),
        "rows_per_s": round(rows / wall), "run_seconds": result["seconds"], "rows_per_s_in_run": round(rows / result["seconds"]),
        "cpu_ms_per_prompt": round(sum(sampler.cpu.values()) * 1000 / rows, 3),
        "redis_commands_per_prompt": round(info["total_commands_processed"] / rows, 2),
        "redis_round_trips_per_prompt": round(info["total_writes_processed"] / rows, 3),
        "peak_rss_mb": round(sampler.peak_mb), "peak_pss_mb": round(sampler.peak_pss_mb), "peak_by_process": sampler.by_name,
        "first_answer_s": round(box.get("first_s", -1), 2), "answered": answered,
    }  # fmt: skip


def _first_answer(redis: Redis, started: float, program: subprocess.Popen[bytes], box: dict[str, float]) -> None:
    """Watches the journals: an outcome in one of them is the first answer."""
    while program.poll() is None:
        for key in redis.scan_iter("spillway:journal:*", count=100):
            if redis.llen(key) > 1:
                box["first_s"] = time.monotonic() - started
                return
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[20_000])
    parser.add_argument("--dedupe", nargs="*", default=["off", "exact", "semantic"])
    parser.add_argument("--concurrency", type=int, default=96)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, upstream(Path(name)) as port:
        for rows in options.rows:
            for dedupe in options.dedupe:
                print(json.dumps(measure(Path(name), port, rows, dedupe, options.concurrency)), flush=True)


if __name__ == "__main__":
    main()
