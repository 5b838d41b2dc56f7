"""A web server that hears webhooks: it checks each signature and counts how often each batch was told of."""

from __future__ import annotations

import base64
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()


class Receiver:
    """`heard` counts by the id of what was told of; while `holds` is set, notices are heard, and their senders wait for an answer."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: Counter[str] = Counter()
        self.holds = threading.Event()

    def told(self, ids: set[str]) -> set[str]:
        return ids & set(self.heard)


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            said = Webhook(SECRET).verify(body, dict(self.headers))
            found.heard[said["data"]["id"]] += 1
            if found.holds.is_set():
                while found.holds.is_set():
                    time.sleep(0.05)
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    try:
        yield found
    finally:
        found.holds.clear()
        server.shutdown()
        thread.join()
        server.server_close()
