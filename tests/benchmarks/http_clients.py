"""Measures HTTP clients as the engine of the hot call, by hand: python -m tests.benchmarks.http_clients

One process and one core per side: nginx with a canned completion (or a bare asyncio server when nginx is missing) against
each client in turn; requests/s and CPU milliseconds per request of the client's whole process, threads included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.support_net import free_port, wait_for_port

ANSWER = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "positive"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 60, "completion_tokens": 2, "total_tokens": 62},
})  # fmt: skip
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 500}]}).encode()
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-none"}
NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; default_type application/json;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 '{answer}'; }} }} }}
"""

Call = Callable[[], Awaitable[int]]


class Instant(asyncio.Protocol):
    """Answers every request at once; enough HTTP for requests whose body comes in one piece."""

    reply = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(ANSWER)}\r\n\r\n{ANSWER}"
    ).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, end, body = self.seen.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            self.seen = b""
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.write(self.reply)


async def serve_instantly(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


@contextmanager
def upstream() -> Iterator[str]:
    """An instant server on the second core, where there is one."""
    port, pin = free_port(), ["taskset", "-c", "1"] if shutil.which("taskset") and (os.cpu_count() or 1) > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.http_clients", "--serve", str(port)]
        if shutil.which("nginx"):
            Path(folder, "conf").write_text(NGINX.format(folder=folder, port=port, answer=ANSWER))
            command = ["nginx", "-c", f"{folder}/conf", "-p", folder]
        process = subprocess.Popen([*pin, *command], stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            process.terminate()
            process.wait()


@asynccontextmanager
async def ours(url: str, flying: int) -> AsyncIterator[Call]:
    """`Hot`: pyreqwest as the product uses it."""
    from worker.backends.exchange import Response
    from worker.backends.hot import Hot

    hot = Hot(flying)

    async def call() -> int:
        response = await hot.post(url, HEADERS, BODY, 60.0)
        return len(response.body) if isinstance(response, Response) else 0

    yield call
    await hot.close()


@asynccontextmanager
async def pyreqwest(url: str, flying: int) -> AsyncIterator[Call]:
    """pyreqwest alone."""
    from pyreqwest.client import ClientBuilder

    async with ClientBuilder().no_proxy().pool_max_idle_per_host(flying).build() as client:

        async def call() -> int:
            response = await client.post(url).headers(HEADERS).body_bytes(BODY).build().send()
            return len(await response.bytes())

        yield call


@asynccontextmanager
async def aiohttp(url: str, flying: int) -> AsyncIterator[Call]:
    from aiohttp import ClientSession, TCPConnector

    async with ClientSession(connector=TCPConnector(limit=flying)) as session:

        async def call() -> int:
            async with session.post(url, data=BODY, headers=HEADERS) as response:
                return len(await response.read())

        yield call


@asynccontextmanager
async def httpx(url: str, flying: int) -> AsyncIterator[Call]:
    from httpx import AsyncClient, Limits

    limits = Limits(max_connections=flying, max_keepalive_connections=flying)
    async with AsyncClient(limits=limits, trust_env=False, timeout=60.0) as client:

        async def call() -> int:
            return len((await client.post(url, content=BODY, headers=HEADERS)).content)

        yield call


CLIENTS = {"hot": ours, "pyreqwest": pyreqwest, "aiohttp": aiohttp, "httpx": httpx}


async def measure(name: str, url: str, flying: int, seconds: float) -> tuple[float, float]:
    """Requests/s and CPU milliseconds per request."""

    async def loop(call: Call, until: float) -> int:
        done = 0
        while time.perf_counter() < until:
            assert await call() == len(ANSWER)
            done += 1
        return done

    async with CLIENTS[name](url, flying) as call:
        until = time.perf_counter() + 0.5
        await asyncio.gather(*(loop(call, until) for _ in range(flying)))
        began, cpu = time.perf_counter(), time.process_time()
        done = sum(await asyncio.gather(*(loop(call, began + seconds) for _ in range(flying))))
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return done / took, cpu / done * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve_instantly(given.serve))
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {0})
    import uvloop

    run = uvloop.run if given.loop == "uvloop" else asyncio.run
    with upstream() as url:
        for name in given.clients.split(","):
            if name != "hot" and find_spec(name) is None:
                print(f"{name} is not installed: left out", file=sys.stderr)
                continue
            for flying in (64, 128):
                rate, cpu_ms = run(measure(name, url, flying, given.seconds))
                found = {"client": name, "loop": given.loop, "in_flight": flying}
                print(json.dumps({**found, "requests_per_s": round(rate), "cpu_ms": round(cpu_ms, 4)}), flush=True)


if __name__ == "__main__":
    main()
