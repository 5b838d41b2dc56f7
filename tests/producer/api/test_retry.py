"""Failed lines of a batch are asked again: paid once, booked once, whoever is killed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest

from pipelines import days, paths
from pipelines.types import Options
from producer import batches, intake, quotas, runs, uploads
from producer.api.auth import Identity
from producer.api.batches import retry
from producer.api.errors import ApiError
from producer.api.quota import admitted
from producer.api.state import State
from producer.batches import Batch
from producer.queue import now_ms
from producer.quotas import Taken, ticket_of
from producer.sources import inspect
from producer.uploads import Upload
from tests.support_serving import CHAT, Server, ended, fresh, jsonl, line, lines_of, make, put
from tests.support_upstream import Upstream


def test_failed_lines_are_asked_again_and_the_files_made_anew(server: Server, upstream: Upstream) -> None:
    upstream.control("*", faults=[{"kind": "400", "match": "thing"}])
    with server.openai() as client, server.http() as http:
        batch = ended(client, make(client, put(client, jsonl(fresh(3))).id).id)
        assert batch.output_file_id is None and len(lines_of(client, batch.error_file_id)) == 3
        upstream.control("*", faults=[{"kind": "400", "match": "REFUSE"}])
        again = http.post(f"/v1/batches/{batch.id}/retry").json()
        assert again["status"] == "in_progress" and again["error_file_id"] is None
        done = ended(client, batch.id)
        assert done.error_file_id is None and len(lines_of(client, done.output_file_id)) == 3
        with pytest.raises(openai.NotFoundError):
            client.files.retrieve(batch.error_file_id or "")
        assert http.post(f"/v1/batches/{batch.id}/retry").status_code == 409


def test_a_retry_is_within_the_quota_or_not_at_all(server: Server) -> None:
    with server.openai("metered") as client, server.http("metered") as http:
        batch = ended(client, make(client, put(client, jsonl([line("a", "REFUSE this")])).id).id)
        assert batch.request_counts is not None and batch.request_counts.failed == 1
        refused = http.post(f"/v1/batches/{batch.id}/retry")
        assert refused.status_code == 429 and refused.json()["error"]["param"] == "rows_per_day"
        assert client.batches.retrieve(batch.id).status == batch.status


async def ended_batch(here: State, client: str, status: str, failed: int, run_failed: int) -> Batch:
    """In process: a batch with so many lines in its error file, and its run."""
    redis, keys, at_ms = here.redis, here.keys, await now_ms(here.redis)
    file = Upload(uploads.new_id(at_ms), client, "a.jsonl", "batch", "jsonl", 3, at_ms // 1000)
    with here.store.create(file.name) as out:
        out.write(b"{}\n")
    await uploads.keep(redis, keys, file)
    run_id, sources = intake.private_run_id(at_ms), (inspect(here.store.path(file.name)),)
    await intake.register_as(
        redis, keys, here.records, run_id, client=client, sources=sources, options=Options(), now_ms=at_ms, origin="batch"
    )  # fmt: skip
    await redis.hset(keys.run(run_id), mapping={"status": status, "failed": run_failed, "finished_ms": at_ms})
    with here.store.create(paths.results(run_id)) as out:
        out.write(b"some")
    batch = Batch(
        id=batches.new_id(at_ms), client=client, run_id=run_id, status=status, endpoint=CHAT, failed=failed,
        input_file_id=file.id, completion_window="24h", window_s=86_400, created_at=1, expires_at=2,
    )  # fmt: skip
    await batches.create(redis, keys, batch)
    return batch


@pytest.mark.parametrize("client", ["acme", "metered"])
@pytest.mark.parametrize("meanwhile", [{}, {"status": "completed"}, {"status": "completed", "failed": 1}])
async def test_a_retry_that_was_cut_off_is_taken_up_by_the_next_one(
    here: State, client: str, meanwhile: dict[str, Any]
) -> None:
    """The server is killed when it has reopened the run, for which the quota is spent, and not yet the batch. The next one may
    come after the run has ended: its answers are the batch's, and nothing is asked or booked again for them."""
    batch = await ended_batch(here, client, "completed", failed=1, run_failed=1)
    async with admitted(here, client, 1, 0):
        await intake.retry(here.redis, here.keys, here.records, batch.run_id, await now_ms(here.redis))
    if meanwhile:
        await here.redis.hset(here.keys.run(batch.run_id), mapping=meanwhile)
    assert (await retry(batch.id, here, Identity(client)))["status"] == "in_progress"
    held_by = await here.redis.smembers(here.keys.api_held(batch.input_file_id))
    assert held_by == {batch.id}, "its file stays as long as it is under way"
    run = await runs.get(here.redis, here.keys, batch.run_id)
    assert (run.generation, run.ended) == (1, bool(meanwhile)), "asked again once"
    [(now, _)] = await batches.read(here.redis, here.keys, [batch.id])
    assert (now.generation, now.output_file_id) == (1, None), "its files are made anew, under names of their own"
    assert batch.id in await here.redis.smembers(here.keys.api_open)


async def test_a_retry_books_what_it_asks(here: State) -> None:
    """Invalid and expired lines are in the error file and in its count too, and are not asked again."""
    batch = await ended_batch(here, "metered", "expired", failed=3, run_failed=1)
    assert (await retry(batch.id, here, Identity("metered")))["status"] == "in_progress", "one row a day"
    day = days.day(await now_ms(here.redis), here.settings.spillway.timezone)
    assert await here.redis.hget(here.keys.quota(f"metered:day:{day}"), "rows") == "1"


async def test_a_retry_of_what_changed_meanwhile_says_so_and_keeps_nothing(here: State) -> None:
    batch = await ended_batch(here, "metered", "completed", failed=1, run_failed=1)
    run = await runs.get(here.redis, here.keys, batch.run_id)
    Path(run.sources[0].url).write_bytes(b'{"other": 1}\n')
    for _ in range(2):  # again: what was booked is given back
        with pytest.raises(ApiError) as refused:
            await retry(batch.id, here, Identity("metered"))
        assert refused.value.status_code == 409 and "its source changed since it began" in refused.value.detail
        assert run.sources[0].url not in refused.value.detail, "where it lies is nobody's business"
    assert not await here.redis.exists(here.keys.api_held(batch.input_file_id)), "its file is not kept for it"
    day = days.day(await now_ms(here.redis), here.settings.spillway.timezone)
    assert await here.redis.hget(here.keys.quota(f"metered:day:{day}"), "rows") == "0"


async def test_the_answers_of_a_retry_that_was_cut_off_are_there_though_its_input_is_not(here: State) -> None:
    batch = await ended_batch(here, "acme", "completed", failed=1, run_failed=1)
    await intake.retry(here.redis, here.keys, here.records, batch.run_id, await now_ms(here.redis))
    await here.redis.hset(here.keys.run(batch.run_id), "status", "completed")
    await here.redis.delete(here.keys.api_file(batch.input_file_id))
    assert (await retry(batch.id, here, Identity("acme")))["status"] == "in_progress"


async def test_a_retry_of_a_batch_whose_results_are_gone_says_so(here: State) -> None:
    batch = await ended_batch(here, "acme", "completed", failed=1, run_failed=1)
    here.store.delete(paths.results(batch.run_id))
    with pytest.raises(ApiError) as refused:
        await retry(batch.id, here, Identity("acme"))
    assert refused.value.status_code == 409 and f"has lost {paths.results(batch.run_id)}" in str(refused.value.detail)
    assert (await here.redis.hget(here.keys.run(batch.run_id), "status")) == "completed"


async def test_a_retry_that_was_killed_when_it_was_booked_is_booked_once(here: State) -> None:
    batch = await ended_batch(here, "metered", "completed", failed=1, run_failed=1)
    terms, ticket = here.settings.clients["metered"], ticket_of(batch.run_id, 1)
    assert isinstance(await quotas.take(here.redis, here.keys, terms, "metered", rows=1, ticket=ticket), Taken)
    assert (await retry(batch.id, here, Identity("metered")))["status"] == "in_progress", (
        "one row a day, and it was its"
    )


@pytest.mark.parametrize(
    ("status", "failed", "told"),
    [
        ("completed", 0, "none of its requests failed"), ("completed", 2, "the 2 requests of its error file were not answered"),
        ("cancelled", 2, "not answered when it was cancelled; send them in a new batch"),
        ("expired", 2, "not answered when it was expired; send them in a new batch"),
    ],
)  # fmt: skip
async def test_a_retry_of_what_was_never_asked_says_what_to_do(
    here: State, status: str, failed: int, told: str
) -> None:
    batch = await ended_batch(here, "acme", status, failed=failed, run_failed=0)
    with pytest.raises(ApiError) as refused:
        await retry(batch.id, here, Identity("acme"))
    assert refused.value.status_code == 409 and told in refused.value.detail
    assert not await here.redis.exists(here.keys.api_held(batch.input_file_id)), "its file is not kept for it"
