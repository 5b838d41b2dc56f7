"""Small submissions become segments of one run: accepted when they are on the disk and in Redis, whatever happens between."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from pipelines import paths, wire
from pipelines.errors import QueueError, StoreError
from pipelines.types import Options
from producer import inbox, placed, runs
from producer.inbox import Inboxes
from producer.placed import Place
from producer.queue import Redis
from producer.records import Records

KEYS = wire.Keys("test-inbox")


def line(number: int) -> bytes:
    return json.dumps({"body": {"messages": [{"role": "user", "content": str(number)}]}}).encode()


async def rows_of(redis: Redis, run_id: str) -> list[bytes]:
    """The rows of a run, as prepare reads them."""
    view = await runs.get(redis, KEYS, run_id)
    contents = [Path(source.url).read_bytes() for source in view.sources]
    assert [len(each) for each in contents] == [source.size_bytes for source in view.sources]
    return b"".join(contents).splitlines()


async def submitted(redis: Redis, inboxes: Inboxes, numbers: range) -> list[Place]:
    places = list(await asyncio.gather(*(inboxes.submit("acme", [line(n)]) for n in numbers)))
    for number, place in zip(numbers, places, strict=True):
        assert (await rows_of(redis, place.run_id))[place.row] == line(number), "it is where its submitter was told"
    return places


async def test_what_comes_together_is_one_segment_and_a_fraction_of_a_command_each(
    redis: Redis, inboxes: Inboxes
) -> None:
    await inboxes.submit("acme", [line(0)])
    before = (await redis.info())["total_commands_processed"]
    places = await asyncio.gather(*(inboxes.submit("acme", [line(n)]) for n in range(1, 201)))
    commands = (await redis.info())["total_commands_processed"] - before
    assert commands < 40
    assert sorted(place.row for place in places) == list(range(1, 201))
    [run_id] = {place.run_id for place in places}
    assert len(await rows_of(redis, run_id)) == 201
    fields = await redis.hgetall(KEYS.run(run_id))
    assert (fields["rows_estimate"], fields["tell"], fields["prepared"]) == ("201", "channel", "0")
    assert int(fields["inbox"]) > int(fields["created_ms"])
    assert await redis.smembers(KEYS.open_runs) == {run_id}


async def test_clients_and_terms_have_runs_of_their_own(redis: Redis, inboxes: Inboxes) -> None:
    one = await inboxes.submit("acme", [line(1), line(2)])
    two = await inboxes.submit("other", [line(1)])
    three = await inboxes.submit("acme", [line(3)], Options(labels=("a", "b")))
    assert len({one.run_id, two.run_id, three.run_id}) == 3
    assert (await inboxes.submit("acme", [line(4)])) == Place(one.run_id, 2), "after both rows of the first"
    assert (await runs.get(redis, KEYS, two.run_id)).client == "other"


@pytest.mark.parametrize("said", [{"inbox": "closing"}, {"inbox": "1"}, {"inbox": "sealed"}, {"cancel": "1"}])
async def test_what_a_run_refuses_goes_into_the_next_and_nowhere_else(
    redis: Redis, inboxes: Inboxes, records: Records, said: dict[str, str]
) -> None:
    [first] = await submitted(redis, inboxes, range(1))
    await redis.hset(KEYS.run(first.run_id), mapping=said)
    [second] = await submitted(redis, inboxes, range(1, 2))
    assert second.run_id != first.run_id
    assert records.store.names(paths.inbox_dir(first.run_id)) == ["000000.jsonl"]
    cut_at = await redis.hget(KEYS.run(first.run_id), "cut_at")
    assert cut_at == (None if said == {"inbox": "sealed"} else "1"), "its end must not find what is about to be deleted"


async def test_what_the_end_of_a_run_has_taken_in_is_not_asked_again(
    redis: Redis, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The segment was on the disk when the run's segments were counted, and its server had not said so yet."""
    [first] = await submitted(redis, inboxes, range(1))
    append = inbox._Inbox._append

    async def sealed(self: inbox._Inbox, run: inbox._Run) -> bool:
        said = {"inbox": "sealed", "segments": 2, "sources": wire.pack_sources(tuple(each for each, _ in run.sources))}
        await redis.hset(KEYS.run(first.run_id), mapping=said)
        return await append(self, run)

    monkeypatch.setattr(inbox._Inbox, "_append", sealed)
    assert await submitted(redis, inboxes, range(1, 2)) == [Place(first.run_id, 1)]


async def test_a_redis_that_forgot_its_last_seconds_is_told_again(redis: Redis, inboxes: Inboxes) -> None:
    [first] = await submitted(redis, inboxes, range(1))
    was = await redis.hgetall(KEYS.run(first.run_id))
    await submitted(redis, inboxes, range(1, 3))
    await submitted(redis, inboxes, range(3, 4))
    await redis.delete(KEYS.run(first.run_id))
    await redis.hset(KEYS.run(first.run_id), mapping=was)
    [last] = await submitted(redis, inboxes, range(4, 5))
    assert last == Place(first.run_id, 4)
    assert await rows_of(redis, first.run_id) == [line(n) for n in range(5)]


async def test_what_may_come_in_with_a_run_that_redis_forgot_goes_nowhere_else(
    redis: Redis, inboxes: Inboxes, records: Records
) -> None:
    """A worker registers the run again with every segment that it sees on the disk, at any moment: in the next run too, the rows
    would be asked twice; and gone from the disk, the run could not be read to its end."""
    [first] = await submitted(redis, inboxes, range(1))
    was = await redis.hgetall(KEYS.run(first.run_id))
    await redis.delete(KEYS.run(first.run_id))
    with pytest.raises(QueueError, match="forgotten"):
        await inboxes.submit("acme", [line(1)], name="place")
    assert records.store.names(paths.inbox_dir(first.run_id)) == ["000000.jsonl", "000001.jsonl"]
    await redis.hset(KEYS.run(first.run_id), mapping=was)
    assert await placed.find(redis, KEYS, records.store, "place") == Place(first.run_id, 1)
    assert await redis.hget(KEYS.run(first.run_id), "inbox") == "closing", "its end brings the row in"
    [other] = await submitted(redis, inboxes, range(2, 3))
    assert other.run_id != first.run_id


async def test_saying_it_again_is_saying_it_once(redis: Redis, inboxes: Inboxes) -> None:
    [first] = await submitted(redis, inboxes, range(1))
    names = [KEYS.run(first.run_id), KEYS.wake, KEYS.arrived]
    for _ in range(2):  # an answer that was lost on its way
        assert await redis.eval(inbox._APPEND, 3, *names, "1", '{"url":"b"}', "1", "9", "1") == 1
    fields = await redis.hgetall(KEYS.run(first.run_id))
    assert (fields["segments"], fields["rows_estimate"]) == ("2", "2")
    assert len(json.loads(fields["sources"])) == 2


async def test_a_disk_that_cannot_be_written_accepts_nothing(redis: Redis, inboxes: Inboxes, records: Records) -> None:
    [first] = await submitted(redis, inboxes, range(1))
    folder = Path(records.path("inbox"))
    folder.rename(folder.with_name("aside"))
    folder.write_text("in the way")
    with pytest.raises(StoreError):
        await inboxes.submit("acme", [line(1)])
    folder.unlink()
    folder.with_name("aside").rename(folder)
    assert len(await rows_of(redis, first.run_id)) == 1
    await submitted(redis, inboxes, range(2, 3))


async def test_a_run_closes_when_its_time_is_over_or_its_server_stops(redis: Redis, records: Records) -> None:
    short = Inboxes(redis, KEYS, records, "channel", 0.3)
    first = await short.submit("acme", [line(1)])
    async with asyncio.timeout(10):
        while await redis.hget(KEYS.run(first.run_id), "inbox") != "closing":
            await asyncio.sleep(0.05)
    second = await short.submit("acme", [line(2)])
    assert second.run_id != first.run_id
    await short.close()
    assert await redis.hget(KEYS.run(second.run_id), "inbox") == "closing"


async def test_a_full_run_is_followed_by_another(
    redis: Redis, inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_ROWS", 5)
    monkeypatch.setattr(inbox, "SEGMENT_ROWS", 2)
    places = await submitted(redis, inboxes, range(13))
    assert len({place.run_id for place in places}) == 3
    assert len(set(places)) == 13
