"""`schedules list|run` as programs: by hand, when due, with several at once and kill -9 at any time."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from pipelines import wire
from producer.cli import main
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_upstream import Upstream

KEYS = wire.Keys()
LINE = '{"prompt": "one"}\n'
ROUNDS = 3


@pytest.fixture
def redis(url: str) -> Iterator[Redis]:
    with Redis.from_url(url, decode_responses=True) as client:
        yield client


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jsonl").write_text(LINE)
    times = '[schedules.nightly]\ncron = "0 2 * * *"\nsource = "in/*.jsonl"\n'
    (tmp_path / "spillway.toml").write_text(times + '[spillway]\ntimezone = "Europe/Berlin"\n')
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_run_fires_now_and_list_tells(here: Path, url: str, redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "schedules", "run", "nightly", "--redis", url)
    assert code == 0, err
    run_id = out.strip()
    assert redis.smembers(KEYS.open_runs) == {run_id}
    code, _, err = ran(capsys, "schedules", "run", "nightly", "--redis", url)
    assert code == 2 and f"{run_id} has not ended" in err
    redis.hset(KEYS.run(run_id), "status", "completed")
    code, out, err = ran(capsys, "schedules", "run", "nightly", "--redis", url)
    assert (code, out) == (0, "") and "nothing new" in err
    code, out, _ = ran(capsys, "schedules", "list", "--redis", url, "--json")
    (said,) = json.loads(out)
    assert said["next_at"].split("T")[1] in ("02:00:00+01:00", "02:00:00+02:00"), "the clock of the zone"
    assert (said["schedule"], said["state"], said["last"]["message"]) == ("nightly", None, "nothing new")
    code, out, _ = ran(capsys, "schedules", "list", "nightly", "--redis", url, "--json")
    assert [(one["run"], one["files"], one["by"]) for one in json.loads(out)] == [
        (None, 0, "hand"),
        (run_id, 1, "hand"),
    ]
    code, out, _ = ran(capsys, "schedules", "list", "--redis", url)
    assert code == 0 and "nightly" in out and "nothing new" in out


@pytest.mark.parametrize("arguments", [["run", "night"], ["list", "night"]])
def test_an_unknown_schedule_is_2(
    here: Path, url: str, redis: Redis, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, _, err = ran(capsys, "schedules", *arguments, "--redis", url)
    assert code == 2 and "spillway.toml has nightly" in err


def test_what_cannot_be_fired_says_why(here: Path, url: str, redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "spillway.toml").write_text('[schedules.x]\ncron = "0 2 * * *"\nsource = "in/a.jsonl"\ntemplate = "t.j2"\n')
    code, _, err = ran(capsys, "schedules", "run", "x", "--redis", url)
    assert code == 2 and "template t.j2: cannot be read" in err and len(err.strip().splitlines()) == 1


def test_no_schedules_no_redis(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 2 * * *" in ran(capsys, "schedules", "list")[1], "the configuration is enough to say when"
    (here / "spillway.toml").write_text("")
    assert "add [schedules.NAME]" in ran(capsys, "schedules", "list")[2]
    assert ran(capsys, "schedules", "run")[0] == 2


def test_killed_and_started_again_each_file_is_in_one_run(tmp_path: Path, url: str, redis: Redis) -> None:
    """Two keepers; one of them dies by SIGKILL at some moment of a firing, every time."""
    chance = random.Random(7)
    (tmp_path / "in").mkdir()
    nightly = {"cron": "0 2 * * *", "source": f"{tmp_path}/in/*.jsonl"}
    program = Program(tmp_path, None, spillway={"redis_url": url}, schedules={"nightly": nightly})
    program.run("schedules", "run", "nightly")  # nothing there yet: it is known from now on
    keepers = [program.start("schedules", "run") for _ in range(2)]
    try:
        for number in range(ROUNDS):
            (tmp_path / f"in/{number}.jsonl").write_text(LINE * (number + 1))
            redis.hset(KEYS.schedule("nightly"), "since_ms", 0)  # due now
            wait_until(lambda: redis.hget(KEYS.schedule("nightly"), "firing") or redis.scard(KEYS.open_runs), 60)
            time.sleep(chance.random() * 0.01)
            keepers[0].send_signal(signal.SIGKILL)
            keepers[0].communicate()
            keepers = [keepers[1], program.start("schedules", "run")]
            wait_until(lambda: redis.scard(KEYS.open_runs) == 1, 60)
            wait_until(lambda: redis.hget(KEYS.schedule("nightly"), "firing") == "", 60)
            (run_id,) = redis.smembers(KEYS.open_runs)  # type: ignore[misc]
            redis.hset(KEYS.run(run_id), "status", "completed")
            redis.srem(KEYS.open_runs, run_id)
            time.sleep(1.0)  # a run's id tells two firings that were due at one time apart by the second
    finally:
        for keeper in keepers:
            keeper.send_signal(signal.SIGINT)
        ends = [(keeper.communicate(timeout=30)[1], keeper.returncode) for keeper in keepers]
    made: list[dict[str, Any]] = [redis.hgetall(KEYS.run(one)) for one in redis.zrange(KEYS.all_runs, 0, -1)]  # type: ignore[misc,union-attr]
    files = [Path(source["url"]).name for run in made for source in json.loads(run["sources"])]
    assert sorted(files) == [f"{number}.jsonl" for number in range(ROUNDS)], "each file in one run"
    assert len(made) == ROUNDS
    assert ends[0][1] == 130 and "Traceback" not in ends[0][0], "the other one was perhaps only starting"


def test_on_one_machine_it_answers_as_run_does(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rows = "".join(json.dumps({"prompt": f"Name a colour that begins with letter {n}."}) + "\n" for n in range(5))
    (tmp_path / "in/a.jsonl").write_text(rows)
    with Upstream({"servers": {"gpu": GPU, "cloud": CLOUD}}) as upstream:
        nightly = {"cron": "0 2 * * *", "source": f"{tmp_path}/in/*.jsonl"}
        program = Program(tmp_path, upstream, schedules={"nightly": nightly})
        done = program.json("schedules", "run", "nightly")
        assert (done["status"], done["ok"]) == ("completed", 5)
        (said,) = json.loads(program.run("schedules", "list", "--json").stdout)
        assert (said["last"]["run"], said["state"]) == (done["run_id"], "completed"), "by the records alone"
        again = program.json("schedules", "run", "nightly")
        assert (again["run_id"], again["message"]) == (None, "nothing new"), "the private Redis remembers"
