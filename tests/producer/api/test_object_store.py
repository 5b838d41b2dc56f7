"""The whole API with its data root on an object store: files, batches, runs, small submissions and message batches."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow.fs as pafs
import pytest
from anthropic import Anthropic

from pipelines.settings import parse_settings, state_folder
from producer.cli import session
from tests import support_bucket
from tests.producer.api.conftest import REFUSED, ROUTE
from tests.producer.api.test_messages import asked, results
from tests.producer.api.test_messages import ended as messages_ended
from tests.producer.api.test_runs import ended as run_ended
from tests.producer.api.test_runs import fresh
from tests.producer.api.test_runs import lines as run_lines
from tests.support_program import CLOUD, GPU, Program
from tests.support_redis import redis_server
from tests.support_serving import ADMIN, Server, ended, jsonl, line, lines_of, make, put, serving
from tests.support_upstream import Upstream
from worker.embedded import Embedded

pytestmark = support_bucket.needs_store


@pytest.fixture(scope="module")
def root() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as environment, support_bucket.bucket(environment) as url:
        yield url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, root: str) -> Iterator[Server]:
    servers = {"gpu": {**GPU, "faults": [REFUSED]}, "cloud": {**CLOUD, "faults": [REFUSED]}}
    with Upstream({"servers": servers}) as upstream, redis_server() as redis_url:
        api = {"admin_key": ADMIN, "inbox_open": "5s"}
        program = Program(tmp_path_factory.mktemp("s3"), upstream, routes={"small": ROUTE}, api=api)
        program.root = root
        with serving(program, "--workers", redis_url=redis_url) as found:
            yield found


def names(root: str, folder: str) -> list[str]:
    store, where = pafs.FileSystem.from_uri(root)
    return [
        each.base_name for each in store.get_file_info(pafs.FileSelector(f"{where}/{folder}", allow_not_found=True))
    ]


def test_a_batch_from_its_file_to_its_output(server: Server, root: str) -> None:
    lines = [*(line(f"r{n}", prompt) for n, prompt in enumerate(fresh(20))), line("bad", "REFUSE this")]
    with server.openai() as client:
        file = put(client, jsonl(lines))
        assert client.files.content(file.id).content == jsonl(lines)
        assert f"{file.id}.jsonl" in names(root, "files"), "in the bucket, and nowhere else"
        done = ended(client, make(client, file.id).id)
        assert done.status == "completed", done
        out, wrong = lines_of(client, done.output_file_id), lines_of(client, done.error_file_id)
        assert {each["custom_id"] for each in out} == {f"r{n}" for n in range(20)} and [
            each["custom_id"] for each in wrong
        ] == ["bad"]
        for each in (file.id, done.output_file_id or "", done.error_file_id or ""):
            assert client.files.delete(each).deleted and f"{each}.jsonl" not in names(root, "files")


def test_what_is_refused_leaves_no_object(server: Server, root: str) -> None:
    before = set(names(root, "files"))
    with server.http() as http:
        head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n{}\n'
        for content in (head, head + b"\r\n--b--\r\n", head.replace(b"{}", b"no") + b"\r\n--b--\r\n"):
            reply = http.post("/v1/files", content=content, headers={"content-type": "multipart/form-data; boundary=b"})
            assert reply.status_code == 400
    assert set(names(root, "files")) == before


def test_runs_and_their_results(server: Server, root: str) -> None:
    with server.http() as http, server.openai() as client:
        uploaded = put(client, jsonl([{"prompt": prompt} for prompt in fresh(3)]))
        runs = [http.post("/v1/runs", json=body).json() for body in ({"prompts": fresh(3)}, {"file_id": uploaded.id})]
        assert client.files.delete(uploaded.id).deleted, "a run has its own copy"
        for run in runs:
            done = run_ended(http, run["id"])
            assert (done["status"], done["ok"]) == ("completed", 3), done
            assert [row["status"] for row in run_lines(http, run["id"])] == ["ok"] * 3
            table = http.get(f"/v1/runs/{run['id']}/results", params={"format": "parquet"}).content
            assert pl.read_parquet(io.BytesIO(table)).height == 3
        form = {
            "files": {"file": ("rows.csv", b"prompt\n" + "\n".join(fresh(2)).encode())},
            "data": {"options": json.dumps({"deadline": "1h"})},
        }
        assert run_ended(http, http.post("/v1/runs", **form).json()["id"])["ok"] == 2  # type: ignore[arg-type]


def test_small_submissions_are_segments_in_the_bucket(server: Server, root: str) -> None:
    with server.openai() as client:
        answer = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": fresh(1)[0]}]
        )
        where = answer.spillway  # type: ignore[attr-defined]
        assert answer.choices[0].message.content and names(root, f"inbox/{where['run']}")
        assert client.chat.completions.retrieve(where["id"]).choices == answer.choices


def test_message_batches(server: Server) -> None:
    with Anthropic(base_url=server.url, api_key=server.key(), max_retries=0) as client:
        requests = [asked(f"r{n}", prompt) for n, prompt in enumerate(fresh(3))]
        batch = messages_ended(client, client.messages.batches.create(requests=requests).id)
        assert batch.request_counts.succeeded == 3
        assert all(each.message.content for each in results(client, batch.id).values())


def test_workers_write_their_log_where_files_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In process: a bucket's URL taken for a path would leave a folder `s3:` wherever the command was given."""
    monkeypatch.chdir(tmp_path)
    engine = Embedded(parse_settings({"spillway": {"data": "s3://bucket/data"}}), "redis://127.0.0.1:9")
    log = engine._log_path
    assert tmp_path not in log.parents and log.parent.is_dir()
    log.parent.rmdir()


async def test_a_private_redis_keeps_its_file_where_files_can_be(
    tmp_path: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of this user, found again by whoever names the same bucket."""
    here, home = tmp_path / "here", tmp_path / "state"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    settings = parse_settings({"spillway": {"data": root}})
    async with Embedded(settings, workers=False) as engine:
        assert session.private_url(settings) == engine.redis_url
        assert session.private_url(parse_settings({"spillway": {"data": f"{root}/"}})) == engine.redis_url
        assert session.private_url(parse_settings({"spillway": {"data": f"{root}/other"}})) is None
        (folder,) = home.glob("spillway/*/redis")
        assert (folder / "users.lock").exists()
    assert session.private_url(settings) is None and list(here.iterdir()) == []


def test_without_a_state_folder_of_its_own_a_user_has_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert str(state_folder("s3://bucket/data")).startswith("/home/somebody/.local/state/spillway/")
    assert state_folder("data") == Path("data").resolve()
