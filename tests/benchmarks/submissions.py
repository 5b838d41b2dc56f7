"""Small submissions by the second against a real `spillway serve` with real workers, Redis and stand-in upstreams.

`python -m tests.benchmarks.submissions`: an open loop, so that a slow server is not asked less. Every second submission only
wants to be accepted (its latency is that of the acceptance), the others wait for their answer. One JSON line of figures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from redis import Redis

from tests.benchmarks.end_to_end import redis_server
from tests.support_program import CLOUD, GPU, Program
from tests.support_serving import ADMIN, Server, serving
from tests.support_upstream import Upstream

ROUTE = {"targets": ["gpu", "cloud"], "models": ["gpt-4o-mini"]}
PATIENCE_S = 60.0


class Client:
    """Keep-alive connections, as many as are waited at; HTTP/1.1 by hand, for the load generator shares the machine."""

    def __init__(self, server: Server) -> None:
        self._host, _, port = server.url.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self._head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key()}\r\n"
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, prompt: str, *, wait: bool) -> tuple[int, dict[str, Any], float]:
        """Status, body and seconds."""
        body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]})
        more = "" if wait else "x-spillway-wait-s: 0\r\n"
        since = time.perf_counter()
        reader, writer = (
            self._free.pop() if self._free else await asyncio.open_connection(self._host, self._port, limit=1 << 20)
        )
        writer.write(f"{self._head}{more}content-length: {len(body)}\r\n\r\n{body}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.split("content-length:")[1].split("\r\n")[0])
        answer = json.loads(await reader.readexactly(size))
        took = time.perf_counter() - since
        self._free.append((reader, writer))
        return int(head.split()[1]), answer, took


async def load(server: Server, rate: int, seconds: float) -> dict[str, Any]:
    """Figures of an open loop."""
    client = Client(server)
    for _ in range(4):  # connections, imports and the first run are not what is measured
        await client.ask(f"warm up {time.time_ns()}", wait=True)
    since, tasks, late_ms = time.perf_counter(), [], 0.0
    for number in range(round(rate * seconds)):
        due = since + number / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        late_ms = max(late_ms, (time.perf_counter() - due) * 1000)
        prompt = f"Say which day of the year comes {number} days after the shortest one."
        tasks.append(asyncio.create_task(client.ask(prompt, wait=bool(number % 2))))
    sent_s = time.perf_counter() - since
    done = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE_S)
    accepted = [took for status, _, took in done if status == 202]
    answered = [took for status, _, took in done if status == 200]
    return {
        "per_s": round(len(tasks) / sent_s), "submissions": len(tasks), "accepted": len(accepted), "answered": len(answered),
        "acceptance_ms": quantiles(accepted), "answer_ms": quantiles(answered), "generator_late_ms": round(late_ms),
    }  # fmt: skip


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000, 1) for name, q in at.items()}


def scripts_of_server(redis: Redis) -> int:
    """What a submission costs Redis: the server alone sends scripts as text, and hardly anything else."""
    return int(redis.info("commandstats").get("cmdstat_eval", {"calls": 0})["calls"])


def cpu_ms(server: Server, redis: Redis, upstream: Upstream) -> dict[str, float]:
    """What the server, the workers that it started, Redis and the stand-ins have used by now."""
    assert upstream.process is not None
    tick = os.sysconf("SC_CLK_TCK")
    names = {server.process.pid: "api", redis.info("server")["process_id"]: "redis", upstream.process.pid: "upstream"}
    used = dict.fromkeys(("api", "workers", "redis", "upstream"), 0.0)
    parents, spent = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(stat[1])
                spent[int(entry.name)] = (int(stat[11]) + int(stat[12])) * 1000 / tick
    for pid, ms in spent.items():
        above = pid
        while above > 1 and above not in names:
            above = parents.get(above, 0)
        if above in names:
            used[names[above] if above == pid or names[above] != "api" else "workers"] += ms
    return used


def measure(folder: Path, rate: int, seconds: float, dedupe: str) -> dict[str, Any]:
    servers = {"gpu": {**GPU, "slots": 16}, "cloud": CLOUD}
    with Upstream({"servers": servers}) as upstream, redis_server(folder) as url:
        routes = {"small": {**ROUTE, "dedupe": dedupe}}
        api = {"admin_key": ADMIN, "requests_per_minute": 0}
        program = Program(folder, upstream, routes=routes, api=api)
        redis = Redis(unix_socket_path=url.removeprefix("unix://"))
        with serving(program, "--workers", redis_url=url) as server:
            server.key()
            before, cpu_before_ms = scripts_of_server(redis), cpu_ms(server, redis, upstream)
            figures = asyncio.run(load(server, rate, seconds))
            scripts = scripts_of_server(redis) - before
            cpu = cpu_ms(server, redis, upstream)
            figures["cpu_ms_per_submission"] = {
                name: round((cpu[name] - cpu_before_ms[name]) / figures["submissions"], 2) for name in cpu
            }
            figures["api_peak_mb"] = round(server.peak_bytes() / 2**20)
            figures["redis_scripts_per_submission"] = round(scripts / figures["submissions"], 2)
    return {"dedupe": dedupe, **figures, "load_average": round(os.getloadavg()[0], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--dedupe", nargs="*", default=["exact"])
    options = parser.parse_args()
    for dedupe in options.dedupe:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            print(json.dumps(measure(Path(name), options.rate, options.seconds, dedupe)), flush=True)


if __name__ == "__main__":
    main()
