"""A server that is killed between any two steps of taking a request in: who sends it again pays once, and it is booked once."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from redis import Redis

from tests.crash.stage import dying
from tests.support_program import GPU, Program, wait_until
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, Server, jsonl, line, serving
from tests.support_team import team
from tests.support_upstream import Upstream

ENDPOINTS = ("/v1/responses", "/v1/chat/completions")
QUOTA = {"quota": {"rows_per_day": 100, "rows_in_queue": 100}}


class Dying(Program):
    """The program that kills itself where the file `armed` says."""

    def command(self, *arguments: str) -> list[str]:
        return dying(self, super().command(*arguments))

    def arm(self, point: str) -> None:
        (self.folder / "died").unlink(missing_ok=True)
        (self.folder / "armed").write_text(point)

    def died(self, server: Server) -> None:
        """There it killed itself; it is started again."""
        wait_until(lambda: (self.folder / "died").exists())
        server.kill()
        server.start()


def booked(url: str, what: str) -> int:
    """What acme's counter of the month says."""
    with Redis.from_url(url, decode_responses=True) as redis:
        [month] = redis.scan_iter("spillway:quota:acme:month:*")
        return int(redis.hget(month, what) or 0)  # type: ignore[arg-type]


SUBMISSION = (
    "producer.quotas:take after", "producer.placed:note after", "producer.inbox:_Inbox._write after",
    "producer.inbox:_Inbox._append after",
)  # fmt: skip


def test_a_submission_that_is_repeated_with_its_key_is_paid_once(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU}}) as upstream, redis_server() as url:
        program = Dying(tmp_path, upstream, api={"admin_key": ADMIN, "inbox_open": "120s"}, clients={"acme": QUOTA})
        with team(program, url, lanes=1), serving(program, redis_url=url) as server:
            server.key()
            made, tokens = [], 0
            for number, point in enumerate(SUBMISSION):
                path, asked = ENDPOINTS[number % 2], {"model": "qwen", "temperature": 1.0}
                asked |= {"messages": [{"role": "user", "content": "Throw."}]} if number % 2 else {"input": "Throw."}
                tokens += len(json.dumps({"url": path, "body": asked}, separators=(",", ":"))) // 4
                key = {"Idempotency-Key": f"once {number}"}
                program.arm(point)
                with server.http() as http, pytest.raises(httpx.TransportError):
                    http.post(path, json=asked, headers=key)
                program.died(server)
                with server.http() as http:
                    answers = [http.post(path, json=asked, headers=key) for _ in range(2)]
                assert [each.status_code for each in answers] == [200, 200], (point, [each.text for each in answers])
                assert len({each.json()["id"] for each in answers}) == 1, point
                made.append(answers[0].json()["id"])
        assert len(set(made)) == upstream.bill("gpu")["calls"] == len(SUBMISSION)
        assert (booked(url, "rows"), booked(url, "tokens")) == (len(SUBMISSION), tokens)


REGISTRATION = ("producer.quotas:take after", "producer.intake:register_as before", "producer.intake:register_as after")


def test_what_is_registered_again_is_booked_once(tmp_path: Path) -> None:
    """A run by who repeats his request, a batch by the server itself, once the lease of the dead one has lapsed."""
    lines = jsonl([line(f"r{number}", f"Name {number}.") for number in range(5)])
    gpu = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o-mini"}}
    with redis_server() as url:
        program = Dying(tmp_path, targets=gpu, api={"admin_key": ADMIN}, clients={"acme": QUOTA})
        with serving(program, redis_url=url) as server:
            with server.http() as http:
                form = {"file": ("a.jsonl", lines), "purpose": (None, "batch")}
                file_id = http.post("/v1/files", files=form).json()["id"]
            for point in REGISTRATION:
                key = {"Idempotency-Key": point}
                program.arm(point)
                with server.http() as http, pytest.raises(httpx.TransportError):
                    http.post("/v1/runs", json={"file_id": file_id}, headers=key)
                program.died(server)
                with server.http() as http:
                    assert http.post("/v1/runs", json={"file_id": file_id}, headers=key).status_code == 200
            assert booked(url, "rows") == 15
            asked = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
            program.arm(REGISTRATION[1])
            with server.http() as http:
                batch_id = http.post("/v1/batches", json=asked).json()["id"]
            program.died(server)
            with server.http() as http:
                wait_until(lambda: http.get(f"/v1/batches/{batch_id}").json()["status"] == "in_progress")
                over = http.post("/v1/runs", json={"prompts": ["x"] * 81})
        assert booked(url, "rows") == 20
        assert over.status_code == 429 and over.json()["error"]["message"].startswith("rows_per_day: 20 of 100 rows")
