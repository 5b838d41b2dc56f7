"""An upstream that answers what its prompt asks for: endless bodies, wrong types, escapes, formulas, our own key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m red \u202etxt.exe"
FORMULA = '=cmd|" /C calc"!A0'
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def said(text: Any, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": USAGE,
        **more,
    }


TYPES: list[Any] = [
    [], 7, "text", None, {"choices": {"0": "x"}}, {"choices": [[]]}, said({"a": 1}), said("x", usage=[1, 2]),
    said("x", usage={"prompt_tokens": 1e400, "completion_tokens": {"n": 1}}), said("x", model={"m": 1}),
    said("half \ud800", model="m\ud800"), {"error": {"message": "half \ud800", "code": "c\ud800"}},
    {"choices": [{"message": {"content": "x"}, "finish_reason": "s\ud800"}], "model": "m", "usage": USAGE},
    {"choices": [{"message": "x", "finish_reason": 7}]}, {"error": {"message": ["x"], "code": {"a": 1}}},
]  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._json(200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        word, _, rest = body["messages"][-1]["content"].partition(" ")
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        match word:
            case "endless":
                self._endless()
            case "types":
                self._json(200, TYPES[int(rest) % len(TYPES)])
            case "escape":
                self._json(200, said(ESCAPE))
            case "badly":
                self._json(400, {"error": {"message": f"no {ESCAPE} {key}", "code": ESCAPE, "type": "x"}})
            case "headers":
                busy, self.server.heard = not getattr(self.server, "heard", False), True  # type: ignore[attr-defined]
                self._json(503, {"error": {"message": "busy"}}, "\xff") if busy else self._json(200, said("heard"))
            case "echo":
                self._json(200, said(f"you are {key}", model=key, system_fingerprint=key))
            case "code":
                self._json(400, {"error": {"message": key, "code": key, "type": key}})
            case "page":
                self._json(200, f"<html>{key}</html>")
            case "formula":
                self._json(200, said(FORMULA))
            case _:
                self._json(200, said(f"answer to {rest}"))

    def _json(self, status: int, value: Any, retry_after: str = "") -> None:
        raw = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        if retry_after:
            self.send_header("retry-after", retry_after)
        self.end_headers()
        self.wfile.write(raw)

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        block = b" " * 65_536
        try:
            while True:
                self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        except OSError:
            self.close_connection = True


@contextmanager
def hostile() -> Iterator[str]:
    """The base URL of the server while the block lives."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
