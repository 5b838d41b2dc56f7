"""What a client's webhook hears of its batches and runs, from a real server and real workers to a real web server."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.producer.api.conftest import ROUTE
from tests.support_program import Program
from tests.support_serving import ADMIN, ended, jsonl, line, make, put, serving
from tests.support_upstream import Upstream

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes, ok").decode()


class Hook(BaseHTTPRequestHandler):
    """Refuses the first try of everything."""

    heard: list[Any]
    refused: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        told = Webhook(SECRET).verify(body, dict(self.headers))
        first = told["id"] not in self.refused
        self.refused.add(told["id"])
        if not first:
            self.heard.append(told)
        self.send_response(503 if first else 204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[type[Hook]]:
    Hook.heard, Hook.refused = [], set()
    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Hook.url = f"http://127.0.0.1:{server.server_port}/hook"  # type: ignore[attr-defined]
    yield Hook
    server.shutdown()
    thread.join()
    server.server_close()


def test_batches_and_runs_tell_their_end(tmp_path: Path, upstream: Upstream, hook: Any) -> None:
    acme = {"webhook": hook.url, "webhook_secret": SECRET}
    program = Program(tmp_path, upstream, routes={"small": ROUTE}, api={"admin_key": ADMIN}, clients={"acme": acme})
    with serving(program, "--workers") as server:
        with server.openai() as client, server.openai("other") as other:
            good = make(client, put(client, jsonl([line("a", "told")])).id)
            bad = make(client, put(client, jsonl([{"custom_id": "a"}])).id)
            silent = make(other, put(other, jsonl([line("a", "not told")])).id)
            assert [ended(client, each.id).status for each in (good, bad)] == ["completed", "failed"]
            ended(other, silent.id)
        run = program.json("run", str(program.rows([{"prompt": "by the program"}])), "--client", "acme")
        until = time.monotonic() + 60
        while len(hook.heard) < 3:
            assert time.monotonic() < until, hook.heard
            time.sleep(0.05)
        time.sleep(0.5)  # long enough for a fourth that should not come
    said = {(told["type"], told["data"]["id"]) for told in hook.heard}
    assert said == {("batch.completed", good.id), ("batch.failed", bad.id), ("run.completed", run["run_id"])}
    [of_run] = [told["data"] for told in hook.heard if told["type"] == "run.completed"]
    assert (of_run["rows"], of_run["ok"]) == (1, 1) and json.dumps(of_run).find(str(tmp_path)) < 0
