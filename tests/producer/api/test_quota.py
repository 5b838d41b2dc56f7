"""Quotas as clients of the server meet them: told at once where that can be known, else in the batch."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest

from pipelines import days
from pipelines.errors import QueueError, StoreError
from producer import placed
from producer.api import chat
from producer.api.errors import ApiError
from producer.api.once import Once, digest_of
from producer.api.state import State
from producer.inbox import Inboxes, _Inbox
from producer.placed import Place
from producer.queue import now_ms
from tests.support_program import Program, wait_until
from tests.support_serving import ADMIN, Server, ended, jsonl, line, make, put, serving

GPU = {"gpu": {"kind": "lmstudio", "base_url": "http://127.0.0.1:9/v1", "model": "gpt-4o-mini"}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    clients = {
        "rows": {"quota": {"rows_per_day": 5}},
        "tokens": {"quota": {"tokens_per_day": 100}},
        "hasty": {"quota": {"submissions_per_minute": 2}},
        "steady": {"quota": {"submissions_per_minute": 2}},
        "broke": {"budget": {"daily_usd": 0}},
        "messages": {"quota": {"rows_per_day": 1}},
        "patient": {"quota": {"rows_per_day": 5}},
    }
    program = Program(tmp_path_factory.mktemp("quota"), targets=GPU, clients=clients, api={"admin_key": ADMIN})
    with serving(program) as found:
        yield found


def lines(rows: int) -> bytes:
    return jsonl([line(f"r{number}", "x") for number in range(rows)])


def started(client: openai.OpenAI, rows: int) -> str:
    """The state that a batch of so many lines gets to."""
    batch = make(client, put(client, lines(rows)).id)
    while (batch := client.batches.retrieve(batch.id)).status == "validating":
        pass
    return batch.status


def test_rows_of_a_day(server: Server) -> None:
    with server.openai("rows") as client:
        assert started(client, 3) == "in_progress"
        failed = ended(client, make(client, put(client, lines(3)).id).id)
        assert failed.status == "failed" and failed.errors is not None
        (wrong,) = failed.errors.data or []
        assert (wrong.code, wrong.param) == ("quota_exceeded", "rows_per_day")
        assert "resets at" in (wrong.message or "") and "3 of 5 rows" in (wrong.message or "")
        assert started(client, 2) == "in_progress", "what was refused was not booked"
        with pytest.raises(openai.RateLimitError) as refused:
            make(client, put(client, lines(1)).id)
        assert (refused.value.code, refused.value.param) == ("quota_exceeded", "rows_per_day")
        assert 0 < int(refused.value.response.headers["retry-after"]) <= 86_400


def test_a_batch_whose_run_cannot_be_registered_yet_is_booked_once(server: Server) -> None:
    runs, aside = server.program.data / "runs", server.program.data / "runs.aside"
    runs.mkdir(parents=True, exist_ok=True)
    runs.rename(aside)
    runs.write_text("a file where the folder should be")
    try:
        with server.openai("patient") as client:
            batch = make(client, put(client, lines(3)).id)
            wait_until(lambda: sum(f"{batch.id}: cannot write" in each for each in server.said) >= 2)
    finally:
        runs.unlink()
        aside.rename(runs)
    with server.openai("patient") as client:
        while (batch := client.batches.retrieve(batch.id)).status == "validating":
            time.sleep(0.05)
        assert batch.status == "in_progress", batch.errors


def test_tokens_fail_a_batch_as_openai_does(server: Server) -> None:
    with server.openai("tokens") as client:
        failed = ended(client, make(client, put(client, lines(20)).id).id)
        assert failed.errors is not None
        assert [each.code for each in failed.errors.data or []] == ["token_limit_exceeded"]


def test_submissions_of_a_minute(server: Server) -> None:
    left_s = 60 - time.time() % 60
    time.sleep(left_s if left_s < 15 else 0)  # the turn of a minute would count anew
    with server.openai("hasty") as client:
        file = put(client, lines(1))
        made = [make(client, file.id)]
        while client.batches.retrieve(made[0].id).status == "validating":
            pass
        made.append(make(client, file.id))  # the first one counted once, though its size was booked later
        with pytest.raises(openai.RateLimitError) as refused:
            make(client, file.id)
        assert refused.value.code == "rate_limit_exceeded"
        assert {each.id for each in client.batches.list()} == {each.id for each in made}


def test_a_request_that_is_repeated_with_its_key_is_one_submission(server: Server) -> None:
    left_s = 60 - time.time() % 60
    time.sleep(left_s if left_s < 15 else 0)
    with server.openai("steady") as client, ThreadPoolExecutor(8) as pool:
        file = put(client, lines(1))
        key = {"Idempotency-Key": "once"}
        made = {each.id for each in pool.map(lambda _: make(client, file.id, extra_headers=key), range(8))}
        assert len(made) == 1
        make(client, file.id)
        with pytest.raises(openai.RateLimitError):
            make(client, file.id)


class TestARowOfTheChat:
    """Whether it is in is told by its place, not by its booking."""

    @pytest.fixture
    async def serving(self, here: State) -> AsyncIterator[State]:
        inboxes = Inboxes(here.redis, here.keys, here.records, "channel", 30.0)
        yield here._replace(inboxes=inboxes)
        await inboxes.close()

    async def booked(self, here: State) -> int:
        day = days.day(await now_ms(here.redis), here.settings.spillway.timezone)
        return int(await here.redis.hget(here.keys.quota(f"metered:day:{day}"), "rows") or 0)

    async def once(self, here: State, text: str = "x") -> Place:
        body = f'{{"body":{{"text":"{text}"}}}}'.encode()
        return await chat._once(Once(here, "metered", "/", text, digest_of(body)), body)

    async def test_is_booked_though_its_server_does_not_hear_that_it_is_in(
        self, serving: State, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        append = _Inbox._append

        async def deaf(*args: Any) -> None:
            await append(*args)
            raise OSError("connection lost")

        with monkeypatch.context() as there, pytest.raises(QueueError):
            there.setattr(_Inbox, "_append", deaf)
            await self.once(serving)
        assert await self.booked(serving) == 1
        assert (await self.once(serving)).row == 0, "there it is"
        with pytest.raises(ApiError) as refused:
            await self.once(serving, "another")
        assert refused.value.code == "quota_exceeded", "one row a day, and it is asked"

    async def test_is_booked_once_though_it_was_nowhere(self, serving: State, monkeypatch: pytest.MonkeyPatch) -> None:
        async def deaf(*_: Any) -> None:
            raise OSError("connection lost")

        with monkeypatch.context() as there, pytest.raises(QueueError):
            there.setattr(placed, "note", deaf)
            await self.once(serving)
        assert (await self.once(serving)).row == 0, "its booking is its own"
        assert await self.booked(serving) == 1

    async def test_is_given_back_where_the_disk_is_full(self, serving: State, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise StoreError("no space left")

        with monkeypatch.context() as there, pytest.raises(StoreError):
            there.setattr(_Inbox, "_write", full)
            await self.once(serving)
        assert await self.booked(serving) == 0
        await self.once(serving, "another")


def test_a_budget_that_is_spent(server: Server) -> None:
    with server.openai("broke") as client, pytest.raises(openai.RateLimitError) as refused:
        make(client, put(client, lines(1)).id)
    assert refused.value.param == "usd_per_day"


def test_messages_over_a_quota(server: Server) -> None:
    """Anthropic's batches know no failure as a whole: every request has the reason."""
    params = {"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    requests: list[Any] = [{"custom_id": f"r{number}", "params": params} for number in range(2)]
    with anthropic.Anthropic(base_url=server.url, api_key=server.key("messages"), max_retries=0) as client:
        batches = client.messages.batches
        batch = batches.create(requests=requests)
        while (batch := batches.retrieve(batch.id)).processing_status != "ended":
            time.sleep(0.05)
        assert (batch.request_counts.errored, batch.request_counts.processing) == (2, 0)
        found = {each.custom_id: each.result for each in batches.results(batch.id)}
        assert set(found) == {"r0", "r1"}
        for result in found.values():
            assert result.type == "errored" and "rows_per_day" in result.error.error.message
    with anthropic.Anthropic(base_url=server.url, api_key=server.key("broke"), max_retries=0) as client:
        with pytest.raises(anthropic.RateLimitError) as refused:
            client.messages.batches.create(requests=requests)
        assert refused.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index, call-overload]
