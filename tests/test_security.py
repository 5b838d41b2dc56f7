"""Hostile values in Redis, in rows and in answers; secrets; pickle: none runs, escapes, or stops others' work."""

from __future__ import annotations

import ast
import csv
import io
import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from redis import Redis

from pipelines import wire
from pipelines.printable import json_safe, printable
from tests.support_hostile import ESCAPE, FORMULA, TYPES, hostile
from tests.support_program import CLOUD, GPU, Program, wait_until
from tests.support_redis import redis_server
from tests.support_team import KEYS, team
from tests.support_upstream import ROOT, Upstream
from worker import leased

KEY = "sk-planted-4f9b2c7e1d"
BAD = ("\x1b", "\x07", "\x9b", "\u202e")


@pytest.fixture
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


def prompts(word: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{word}-{i}", "prompt": f"{word} {i}"} for i in range(count)]


def clean(text: str) -> bool:
    return not any(char in text for char in BAD)


# -- answers and rows --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One run against the hostile server, with everything it left behind."""
    folder = tmp_path_factory.mktemp("attacked")
    rows = [
        *prompts("good", 20), *prompts("types", len(TYPES)), *prompts("escape", 2), *prompts("badly", 2), *prompts("formula", 2),
        *prompts("endless", 1), *prompts("echo", 1), *prompts("code", 1), *prompts("page", 1), *prompts("headers", 1), {"id": "../../../x", "prompt": "good path"}, {"id": FORMULA, "prompt": "good formula"},
        {"id": ESCAPE, "prompt": "good escape", "note": ESCAPE},
    ]  # fmt: skip
    with hostile() as base_url, redis_server() as url:
        target = {"kind": "openai", "base_url": base_url, "model": "gpt-4o-mini", "api_key": KEY, "max_paid_attempts": 1,
                  "timeout_s": 20.0}  # fmt: skip
        smtp = {"host": "127.0.0.1", "port": 9, "from": "a@b.c", "to": "a@b.c", "password": f"{KEY}-mail"}
        program = Program(folder, None, targets={"cloud": target}, spillway={"redis_url": url}, budget={"smtp": smtp})
        with team(program, url, lanes=1):
            done = program.run("run", str(program.rows(rows)), "--dedupe", "off", "--json", code=3)
            run_id = json.loads(done.stdout)["run_id"]
            said = [done.stdout, done.stderr]
            for command in (["status"], ["status", "--json"], ["status", run_id], ["targets"], ["targets", "--json"],
                            ["doctor"], ["doctor", "--json"], ["doctor", "--run", run_id], ["budget", "show", "--json"],
                            ["report", "cost", "--by", "target"], ["report", "cost", "--by", "model"], ["results", run_id, "--format", "csv"],
                            ["results", run_id, "--format", "jsonl"]):  # fmt: skip
                shown = program.run(*command, code=None)
                said += [shown.stdout, shown.stderr]
            dump = _dump(url)
        yield {"program": program, "run": run_id, "said": said, "dump": dump, "csv": said[-4], "rows": len(rows)}


def _dump(url: str) -> bytes:
    """Every value in Redis, unpacked where we pack it."""
    redis: Redis = Redis.from_url(url)
    found = []
    for key in redis.keys("*"):
        kind = redis.type(key)
        if kind == b"string":
            values = [redis.get(key)]
        elif kind == b"hash":
            values = [part for pair in redis.hgetall(key).items() for part in pair]
        elif kind == b"list":
            values = redis.lrange(key, 0, -1)
        else:
            values = redis.zrange(key, 0, -1) if kind == b"zset" else list(redis.smembers(key))
        for value in values:
            found.append(zstandard.ZstdDecompressor().decompress(value) if value[:4] == b"\x28\xb5\x2f\xfd" else value)
        found.append(key)
    redis.close()
    return b"\n".join(found)


def test_every_row_has_its_end_and_good_ones_their_answer(attacked: dict[str, Any]) -> None:
    results = attacked["program"].results(attacked["run"])
    assert results["row"].to_list() == list(range(attacked["rows"]))
    by_word = {row["custom_id"].partition("-")[0]: row for row in results.iter_rows(named=True)}
    good = results.filter(pl.col("custom_id").str.starts_with("good"))
    assert good["output"].to_list() == [f"answer to {i}" for i in range(20)]
    assert by_word["endless"]["error_code"] == "response_too_large"
    assert by_word["escape"]["output"] == ESCAPE, "what is stored is what was said"
    assert by_word["formula"]["output"] == FORMULA
    assert set(results["status"]) <= {"ok", "failed"}


def test_no_escape_reaches_a_terminal_or_a_log(attacked: dict[str, Any]) -> None:
    program = attacked["program"]
    for text in attacked["said"]:
        assert text is attacked["csv"] or clean(text), text[:500]
    assert clean(program.log())
    messages = program.results(attacked["run"])["error_message"].drop_nulls().to_list()
    assert messages and all(clean(message) for message in messages)
    assert any("\\x1b" in message for message in messages), "they are shown, not hidden"


def test_spreadsheets_run_no_formula(attacked: dict[str, Any]) -> None:
    table = list(csv.DictReader(io.StringIO(attacked["csv"])))
    assert len(table) == attacked["rows"]
    assert [row["output"] for row in table if row["custom_id"].startswith("formula")] == [f"'{FORMULA}"] * 2
    assert not [cell for row in table for cell in row.values() if cell.startswith(("=", "+", "@", "\t"))]


def test_nothing_is_written_outside_the_data_root(attacked: dict[str, Any]) -> None:
    program = attacked["program"]
    assert {path.name for path in program.folder.iterdir()} == {"data", "spillway.toml", "rows.jsonl"}
    assert not [path for path in program.data.rglob("*") if ".." in str(path.relative_to(program.data))]
    for command in (["status"], ["results"], ["cancel"], ["retry"], ["doctor", "--run"]):
        refused = program.run(*command, "../../../etc", code=None)
        assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1, (command, refused.stderr)


def test_no_secret_is_anywhere(attacked: dict[str, Any]) -> None:
    program = attacked["program"]
    assert KEY in program.config.read_text(), "it was planted"
    assert not [text for text in attacked["said"] if KEY in text]
    assert KEY.encode() not in attacked["dump"] and b"good 3" in attacked["dump"] + b"good 3"
    for file in program.data.rglob("*"):
        if file.suffix == ".parquet":
            assert KEY not in str(pl.read_parquet(file, hive_partitioning=False).to_dicts()), file
        if file.is_file():
            assert KEY.encode() not in file.read_bytes(), file
    said = {row["custom_id"]: row for row in program.results().iter_rows(named=True)}
    assert "[key]" in said["badly-0"]["error_message"] and said["code-0"]["error_code"] == "[key]", (
        "the server did quote it"
    )
    assert (said["echo-0"]["output"], said["echo-0"]["model"]) == ("you are [key]", "[key]")


def test_a_body_of_a_hundred_megabytes_is_not_read(tmp_path: Path) -> None:
    huge = {**CLOUD, "faults": [{"kind": "huge", "at": [1, 3]}], "huge_bytes": 100 * 1024 * 1024}
    with Upstream({"servers": {"cloud": huge}}) as upstream:
        program = Program(tmp_path, upstream)
        out = program.json("run", str(program.rows(prompts("good", 12))), "--dedupe", "off", code=None)
        billed = sum(call["cost_pusd"] for call in upstream.calls())
    assert out["ok"] == 12, "asked again"
    costs = program.costs()
    assert costs.filter(pl.col("outcome") == "lost")["error_code"].to_list() == ["response_too_large"] * 3
    assert int(costs["cost_usd"].sum() * 10**12) >= billed


# -- Redis -------------------------------------------------------------------------------------------------------------


class Boom:
    """Unpickling it leaves a trace."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (Path.touch, (self.file,))


def _bomb() -> bytes:
    return zstandard.ZstdCompressor().compress(b"0" * (200 << 20))


def test_garbage_in_redis_is_set_aside_and_others_go_on(tmp_path: Path, redis_url: str) -> None:
    names = ("head", "payload", "bomb", "type", "journal", "options", "cursor", "kind", "number")
    boom = pickle.dumps(Boom(tmp_path / "boom"))
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        program = Program(tmp_path, None, **upstream.settings(), spillway={"redis_url": redis_url})
        sources = {name: str(program.rows(prompts(name, 30), f"{name}.jsonl")) for name in (*names, "good")}
        submits = {name: program.start("submit", source, "--dedupe", "off") for name, source in sources.items()}
        runs = {name: submit.communicate(timeout=60)[0].strip() for name, submit in submits.items()}
        redis: Redis = Redis.from_url(redis_url)
        redis.hset(KEYS.run(runs["cursor"]), "cursor", b"\xff\x00garbage")
        with team(program, redis_url, lanes=0):
            prepared = [run for name, run in runs.items() if name != "cursor"]
            wait_until(lambda: all(redis.hget(KEYS.run(run), "prepared") == b"1" for run in prepared))
        _plant(redis, runs, boom)
        with team(program, redis_url, lanes=2):
            wait_until(lambda: redis.hget(KEYS.run(runs["good"]), "status") == b"completed", 60)
            ended = (b"completed", b"failed")
            wait_until(lambda: all(redis.hget(KEYS.run(run), "status") in ended for run in runs.values()), 60)
            named = [KEYS.run(runs[name]) for name in ("options", "cursor", "kind")]
            wait_until(lambda: all(redis.hget(run, "summary") for run in named), 60)
            status = program.run("status")
            broken = {name: redis.hget(KEYS.run(run), "error") for name, run in runs.items()}
            assert program.run("doctor", code=None).returncode in (0, 3)
        aside = [key for name in ("options", "cursor", "kind") for key in redis.scan_iter(f"*{runs[name]}.*")]
        assert aside and not [key for key in aside if redis.ttl(key) < 0], (
            "what a run that was set aside holds goes some day"
        )
        redis.close()
    assert not (tmp_path / "boom").exists(), "nothing was unpickled"
    assert program.results(runs["good"])["status"].to_list() == ["ok"] * 30
    for name, rows in (("options", 30), ("kind", 30), ("cursor", 0)):
        set_aside = program.results(runs[name])
        assert set_aside["status"].to_list() == ["failed"] * rows, "as far as it came"
    for name in ("head", "payload", "bomb", "type"):
        results = program.results(runs[name])
        assert results["status"].to_list() == ["failed"] * 30 and set(results["error_code"]) == {"set_aside"}, name
    assert program.results(runs["journal"])["status"].to_list() == ["ok"] * 30, (
        "what others wrote into it is passed over"
    )
    for name in ("options", "cursor", "kind"):
        assert b"cannot be used" in (broken[name] or b""), name
    logs = "\n".join(path.read_text() for path in sorted(program.data.glob("logs/*.log")))
    assert "Traceback" not in logs and clean(logs) and clean(status.stdout)
    assert {path.name for path in program.folder.iterdir()} == {
        "data",
        "spillway.toml",
        *(f"{n}.jsonl" for n in sources),
    }


def _plant(redis: Redis, runs: dict[str, str], boom: bytes) -> None:
    def batches(name: str) -> list[bytes]:
        return list(redis.scan_iter(match=f"{KEYS.batch(runs[name])}.*"))

    for key in batches("head"):
        redis.hset(key, "head", boom)
    for key in batches("payload"):
        redis.hset(key, "payload", b"\x28\xb5\x2f\xfd" + boom)
    for key in batches("bomb"):
        redis.hset(key, "payload", _bomb())
    for key in batches("type"):
        redis.delete(key)
        redis.rpush(key, boom)
    for key in batches("journal"):
        redis.rpush(key.replace(b":batch:", b":journal:"), boom, b"\xc1", wire.dump({"a": 1}))
    redis.hset(KEYS.run(runs["options"]), "options", boom)
    redis.delete(KEYS.run(runs["kind"]))
    redis.set(KEYS.run(runs["kind"]), boom)
    redis.hset(
        KEYS.run(runs["number"]), mapping={"held_rows": "1e9999", "refused_nusd": "\x1b[31m", "rows_estimate": "many"}
    )
    redis.sadd(KEYS.open_runs, "../../../etc/passwd", b"\xff\xfe", "nobody")
    redis.zadd(KEYS.rung, {"../../x": 1, b"\xff\xfe": 2, f"{runs['good']}.9.9.9": 3})
    redis.hset(KEYS.targets, mapping={"gpu": boom, "\x1b[2J": "{}"})
    redis.hset(KEYS.lanes, mapping={"gpu": boom, "\x1b[2J": "[1]"})
    redis.hset(KEYS.workers, "\x1b[2Jghost", boom)
    redis.set(KEYS.worker("\x1b[2Jghost"), boom)
    redis.hset(KEYS.poison, "x", ESCAPE)
    for queue in (KEYS.local_queue, KEYS.cloud_queue):
        redis.set(f"arq:job:{queue}-evil", boom)
        redis.zadd(queue, {f"{queue}-evil": 1})


def test_garbage_in_what_all_runs_share_stops_nobody(tmp_path: Path, redis_url: str) -> None:
    """Slots, rates, health, figures and budgets: what cannot be read is as if nobody had said it, but for a budget, which
    then admits nothing."""
    with Upstream({"servers": {"gpu": GPU, "cloud": CLOUD}}) as upstream:
        config = upstream.settings()
        config["routes"] = {"free": {"targets": ["gpu"]}, "paid": {"targets": ["cloud"]}}
        config["targets"]["gpu"]["rpm"] = 100_000
        program = Program(tmp_path, None, **config, spillway={"redis_url": redis_url}, budget={"daily_usd": 5})
        free, paid = (str(program.rows(prompts(word, 40), f"{word}.jsonl")) for word in ("free", "paid"))
        redis: Redis = Redis.from_url(redis_url)
        today = datetime.now(UTC).date().isoformat()
        with team(program, redis_url, lanes=2):
            _plant_shared(redis, today)
            assert program.json("run", free, "--route", "free", "--dedupe", "off")["ok"] == 40
            walled = program.run("run", paid, "--route", "paid", "--dedupe", "off", code=4)
            assert f"budget day:{today}" in walled.stderr and upstream.bill("cloud")["calls"] == 0
            redis.delete(KEYS.budget(f"day:{today}"))
            with team(program, redis_url, lanes=1):  # a worker that starts meets all of it too
                _plant_shared(redis, today)
                _plant_kinds(redis, today)
                wait_until(lambda: redis.type(KEYS.wake) != b"string")  # until a worker comes by, nobody can submit
                more = str(program.rows(prompts("more", 40), "more.jsonl"))
                assert program.json("run", more, "--route", "free", "--dedupe", "off")["ok"] == 40
                assert f"day:{today}" in program.run("budget", "show").stdout
                program.run("budget", "set", f"day:{today}", "5")
                assert program.json("run", paid, "--route", "paid", "--dedupe", "off")["ok"] == 40
        redis.close()
    logs = program.log()
    assert "Traceback" not in logs and clean(logs)


def _plant_shared(redis: Redis, today: str) -> None:
    bad = {"up": "maybe", "until_ms": "soon", "parallel": "many", "paused_ms": [1], "failing_since": {}, "closed": "no",
           "reason": 7, "context_tokens": "long", "cutoff": 3}  # fmt: skip
    for name in ("gpu", "cloud"):
        redis.hset(KEYS.slots(name), mapping={"a": "garbage", "b": "1 2", "c": "99999 9 99999999999999", "d": "-5 1 x"})
        redis.hset(KEYS.rate(name), mapping={"r": "many", "k": "nan", "ts": "1e400", "pause": "later"})
        redis.hset(KEYS.targets, name, wire.dump(bad))
        redis.hset(KEYS.lanes, name, wire.dump({"slots": "x", "up": 3, "rows_per_s": []}))
    redis.hset(KEYS.paused, mapping={"free": b"\xff", "paid": "[1]"})
    redis.hset(KEYS.reported(today), "openrouter:x", "much more")
    redis.hset(KEYS.alerts(today), "day:x", b"\xff\xfe")
    redis.hset(KEYS.budget(f"day:{today}"), mapping={"limit": "many", "spent": "some", "configured": ESCAPE})


def _plant_kinds(redis: Redis, today: str) -> None:
    """Other kinds of values than ours."""
    names = [KEYS.targets, KEYS.lanes, KEYS.poison, KEYS.paused, KEYS.preparing, KEYS.wake, KEYS.alerts(today)]
    for name in [*names, KEYS.slots("gpu"), KEYS.rate("gpu"), KEYS.budget(f"day:{today}"), KEYS.reported(today)]:
        redis.delete(name)
        redis.set(name, ESCAPE)


# -- pickle ------------------------------------------------------------------------------------------------------------

FORBIDDEN = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
PROGRAMS = sorted(path for part in ("pipelines", "producer", "worker") for path in (ROOT / part).rglob("*.py"))


def test_no_program_file_knows_pickle_or_runs_text() -> None:
    assert len(PROGRAMS) > 100
    for path in PROGRAMS:
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            runs_text = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
            )
            assert not runs_text and not (isinstance(node, ast.keyword) and node.arg == "allow_pickle"), path
            assert not FORBIDDEN & {name.partition(".")[0] for name in names}, path


async def test_arq_jobs_are_json(redis_url: str) -> None:
    pool = await leased.pool(redis_url)
    await leased.ring(pool, KEYS, "cloud", "r.0.0.0", 3)
    raw = await pool.get(f"arq:job:{KEYS.job('r.0.0.0', 3)}")
    assert json.loads(raw)["a"] == ["r.0.0.0", 3]
    listener = leased.listen(pool, KEYS.cloud_queue, _never, 1)
    assert (listener.job_serializer, listener.job_deserializer) == (wire.dump, wire.load)
    assert (pool.job_serializer, pool.job_deserializer) == (wire.dump, wire.load)
    await pool.aclose()


async def _never(batch_id: str, epoch: int) -> None:
    raise AssertionError


# -- text --------------------------------------------------------------------------------------------------------------


def test_control_characters_become_visible_and_the_rest_stays() -> None:
    assert clean(printable(ESCAPE)) and "\\x1b]0;owned\\x07" in printable(ESCAPE)
    assert printable("Grüße\n\t日本語 🎉 שלום") == "Grüße\n\t日本語 🎉 שלום"
    text = json.dumps({"a": ESCAPE}, ensure_ascii=False)
    assert clean(json_safe(text)) and json.loads(json_safe(text)) == {"a": ESCAPE}
