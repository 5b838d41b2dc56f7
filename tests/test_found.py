"""What reviewers found once and must not come back; each on real processes."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from tests.support_net import free_port
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_upstream import Upstream
from tests.test_flow import prompts


@contextmanager
def server(body: bytes, status: str = "200 OK") -> Iterator[str]:
    """An OpenAI-compatible server whose every completion has this body; its model list is fine."""
    port, loop = free_port(), asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), 0)
                await reader.readexactly(length)
                models = head.startswith(b"GET")
                said = b'{"object":"list","data":[{"id":"m"}]}' if models else body
                line = "200 OK" if models else status
                writer.write(
                    f"HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {len(said)}\r\n\r\n".encode()
                )
                writer.write(said)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    started = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", port))
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        asyncio.run_coroutine_threadsafe(close(started), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
        loop.close()


async def close(server: asyncio.Server) -> None:
    """The server, and the connections that clients left open."""
    server.close()
    mine = asyncio.current_task()
    others = [task for task in asyncio.all_tasks() if task is not mine]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def program(folder: Path, url: str) -> Program:
    target = {"lane": "local", "kind": "openai", "model": "m", "base_url": url, "max_concurrency": 4}
    return Program(folder, targets={"t": target}, routes={"r": {"targets": ["t"]}})


def test_half_an_emoji_does_not_stop_a_run(tmp_path: Path) -> None:
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "X lone"}, "finish_reason": "length"}],
        "model": "m",
    }
    body = json.dumps({**answer, "usage": {"prompt_tokens": 3, "completion_tokens": 2}}).replace("X", "\\ud83d")
    with server(body.encode()) as url:
        one = program(tmp_path, url)
        out = one.json("run", str(one.rows(prompts(12))), "--dedupe", "exact", timeout_s=60)
    assert out["ok"] == 12
    assert set(one.results()["output"]) == {"? lone"}


def test_a_server_that_only_errs_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    with server(b'{"error": {"message": "broken on purpose"}}', "500 Internal Server Error") as url:
        one = program(tmp_path, url)
        one.environment = {"SPILLWAY_TEST_LEASE_S": "2"}  # a target is silent for three of them
        done = one.run("run", str(one.rows(prompts(12))), "--dedupe", "exact", code=None, timeout_s=90)
    assert done.returncode in (3, 4)
    assert "broken on purpose" in done.stderr or set(one.results()["error_message"]) != {None}


def test_back_to_back_runs_do_not_wait_for_slots_and_leave_no_redis(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        one = Program(tmp_path, upstream)
        source = str(one.rows(prompts(40)))
        seconds = [one.json("run", source, "--dedupe", "exact", "--fresh")["seconds"] for _ in range(2)]
        assert seconds[1] < 6, "the slots of workers that ended are free"
        assert not redis_of(one)
        process = one.start("run", str(one.rows(prompts(400), "more.jsonl")), "--dedupe", "exact")
        before = upstream.bill("gpu")["calls"]
        wait_until(lambda: upstream.bill("gpu")["calls"] > before + 20, 30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        until = time.monotonic() + 5
        while redis_of(one) and time.monotonic() < until:
            time.sleep(0.1)
        assert not redis_of(one), "an interrupted command stops its Redis too"


def test_a_row_without_an_id_is_named_by_its_number(tmp_path: Path) -> None:
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        one = Program(tmp_path, upstream)
        one.json("run", str(one.rows([{"prompt": "a"}, {"prompt": "b", "id": "x"}])), "--dedupe", "exact")
    assert one.results()["custom_id"].to_list() == ["0", "x"]
    assert sorted(one.costs()["custom_id"].to_list()) == ["0", "x"]


def redis_of(one: Program) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "redis-server" in line and str(one.data) in line]


def test_what_the_cloud_failed_does_not_wait_for_a_local_server_that_is_gone(tmp_path: Path) -> None:
    cloud = {**CLOUD, "fault_rates": {"502": 1.0}}
    with Upstream({"servers": {"gpu": GPU, "cloud": cloud}}) as upstream:
        upstream.control("gpu", down=True)
        one = Program(tmp_path, upstream)
        out = one.json("run", str(one.rows(prompts(3))), "--dedupe", "exact", code=3)
    assert (out["failed"], out["unanswered"]) == (3, 0)
    assert set(one.results()["error_code"]) == {"server_error"}, "the reason is what the cloud said"
