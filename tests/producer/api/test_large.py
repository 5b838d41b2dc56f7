"""200 MB in one upload: the server's memory stays flat, and the whole file is looked at."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support_program import Program
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, CHAT, serving

ROWS, SIZE_BYTES = 50_000, 200_000_000
SERVER_MAX_BYTES = 200 << 20
GPU = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o-mini"}}


def _line(number: int) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "word " * 770}]}
    return json.dumps({"custom_id": f"row-{number}", "method": "POST", "url": CHAT, "body": body}).encode() + b"\n"


def _form(boundary: str, rows: int) -> Iterator[bytes]:
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{boundary}\r\n'
    yield (head + 'content-disposition: form-data; name="file"; filename="big.jsonl"\r\n\r\n').encode()
    for number in range(rows):
        yield _line(number)
    yield f"\r\n--{boundary}--\r\n".encode()


def test_200_mb_go_in_with_flat_memory(tmp_path: Path) -> None:
    program = Program(tmp_path, targets=GPU, api={"admin_key": ADMIN, "max_batch_rows": ROWS})
    program.warm = False
    with (
        redis_server() as redis_url,
        serving(program, redis_url=redis_url) as server,
        server.http() as http,
    ):
        kind = {"content-type": "multipart/form-data; boundary=b"}
        for rows, status in ((ROWS, "in_progress"), (ROWS + 1, "failed")):
            file = http.post("/v1/files", content=_form("b", rows), headers=kind).json()
            assert file["bytes"] > SIZE_BYTES
            asked = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
            batch = http.post("/v1/batches", json=asked).json()
            slowest_s, until = 0.0, time.monotonic() + 60
            while batch["status"] == "validating":
                assert time.monotonic() < until
                began = time.monotonic()
                batch = http.get(f"/v1/batches/{batch['id']}").json()
                slowest_s = max(slowest_s, time.monotonic() - began)
                time.sleep(0.02)
            assert batch["status"] == status, batch["errors"]
            assert slowest_s < 5, "others are answered while a file is looked at"
        assert batch["errors"]["data"][0]["code"] == "too_many_requests"
        assert http.get("/v1/batches?limit=2").json()["data"][1]["request_counts"]["total"] == ROWS
        assert server.peak_bytes() < SERVER_MAX_BYTES, f"{server.peak_bytes() >> 20} MiB"
