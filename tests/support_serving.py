"""`spillway serve` as a real process for tests, beside stand-in upstreams; clients by the official library."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI, DefaultHttpxClient, OpenAI
from openai.types import Batch, FileObject

from tests.support_net import CERTIFICATES
from tests.support_program import Program

CHAT = "/v1/chat/completions"
ADMIN = "the admin's own key"

_numbers = count()
"""What every server here has as its `[api] admin_key`."""


class Server:
    """One running server; `key(name)` makes a client on first use."""

    def __init__(self, program: Program, *arguments: str, redis_url: str | None = None) -> None:
        self.program = program
        self._redis = ["--redis", redis_url] if redis_url else []
        self._arguments = arguments
        self.keys: dict[str, str] = {}
        self._clients: list[httpx.Client] = []
        self.start()

    def start(self) -> None:
        arguments = ["serve", "--port", "0", *self._redis, *self._arguments]
        self.process = self.program.start(*arguments)
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line.startswith("spillway serves "), self.process.stderr.read()
        self.url = line.split()[-1]
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def _listen(self, stream: Any) -> None:
        self.said.extend(stream)

    def stop(self, patience_s: float = 60) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=patience_s)
        self._close()
        return code

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        self._reader.join(timeout=10)
        print("".join(self.said))  # pytest shows it when a test fails
        for each in (self.process.stdout, self.process.stderr, *self._clients):
            if each is not None:
                each.close()
        self._clients.clear()

    def key(self, name: str = "acme", *, admin: bool = False) -> str:
        if name not in self.keys:
            asked, boss = {"name": name, "admin": admin}, {"x-api-key": ADMIN}
            made = httpx.post(
                f"{self.url}/v1/clients", json=asked, headers=boss, trust_env=False, verify=CERTIFICATES, timeout=60
            )
            self.keys[name] = made.json()["key"]
        return self.keys[name]

    def openai(self, name: str = "acme", **options: Any) -> OpenAI:
        plain = DefaultHttpxClient(verify=CERTIFICATES)  # unlike the library's own it does not close itself
        self._clients.append(plain)
        given: dict[str, Any] = {"max_retries": 0, "http_client": plain, **options}
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.key(name), **given)

    def async_openai(self, name: str = "acme", **options: Any) -> AsyncOpenAI:
        given: dict[str, Any] = {"max_retries": 0, **options}
        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.key(name), **given)

    def http(self, name: str | None = "acme") -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key(name)}"} if name else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False, verify=CERTIFICATES)

    def peak_bytes(self) -> int:
        """The most memory that the process ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


@contextmanager
def serving(program: Program, *arguments: str, redis_url: str | None = None) -> Iterator[Server]:
    server = Server(program, *arguments, redis_url=redis_url)
    try:
        yield server
    finally:
        try:
            assert server.stop() == 0, "SIGTERM is how a server ends"
        except subprocess.TimeoutExpired:
            server.kill()
            raise


def put(client: OpenAI, content: bytes, **more: Any) -> FileObject:
    return client.files.create(file=("input.jsonl", content), purpose="batch", **more)


def make(client: OpenAI, file_id: str, **more: Any) -> Batch:
    asked: Any = {"endpoint": CHAT, "completion_window": "24h", **more}
    return client.batches.create(input_file_id=file_id, **asked)


def ended(client: OpenAI, batch_id: str, seconds: float = 90) -> Batch:
    until = time.monotonic() + seconds
    while (batch := client.batches.retrieve(batch_id)).status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < until, batch
        time.sleep(0.05)
    return batch


def lines_of(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    return [json.loads(each) for each in client.files.content(file_id).text.splitlines()] if file_id else []


def line(custom_id: str, prompt: str, **more: Any) -> dict[str, Any]:
    """One line of a batch."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}], **more.pop("body", {})}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body, **more}


def fresh(rows: int, words: str = "Name a colour for") -> list[dict[str, Any]]:
    """Lines that nobody has asked before."""
    return [line(f"r{i}", f"{words} thing {next(_numbers)}.") for i in range(rows)]


def jsonl(lines: list[Any]) -> bytes:
    """Lines as a file; texts stand for themselves."""
    return b"".join((one if isinstance(one, str) else json.dumps(one)).encode() + b"\n" for one in lines)
