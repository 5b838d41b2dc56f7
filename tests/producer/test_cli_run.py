"""`spillway run` and `submit` against a real Redis: register, follow, deliver, end with the contract's exit code."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redis import Redis

from pipelines import schemas, wire
from producer.cli import main
from tests.support_frames import call, result
from tests.support_worker import ScriptedWorker, Step, answer_all, working

CONTRACT = [
    "run_id", "status", "rows", "ok", "duplicate", "invalid", "failed", "refused", "unanswered", "cost_usd",
    "avoided_usd", "calls", "local_calls", "cloud_calls", "seconds", "results", "costs",
]  # fmt: skip
CONFIG = """
[targets.gpu]
kind = "lmstudio"
model = "qwen"
[targets.mini]
kind = "openai"
base_url = "http://127.0.0.1:1/v1"
model = "gpt-4o-mini"
[routes.small]
targets = ["gpu", "mini"]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a source and a configuration, and nothing of ours in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SPILLWAY_"):
            monkeypatch.delenv(name)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"prompt": f"question {n}"}) + "\n" for n in range(4)))
    (tmp_path / "spillway.toml").write_text(CONFIG)
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def finish(*rows: dict[str, Any], status: str = "completed", calls: tuple[dict[str, Any], ...] = ()) -> Step:
    def step(worker: ScriptedWorker, run_id: str) -> None:
        worker.files(run_id, list(rows), list(calls))
        worker.end(run_id, status, rows=len(rows))

    return step


# -- the whole way ---------------------------------------------------------------------------------------------------


def test_json_is_the_contracts_object_and_nothing_else(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with working(url, here / "data", answer_all(4)):
        code, out, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--out", "out", "--json")
    assert code == 0, err
    said = json.loads(out)
    assert list(said) == CONTRACT
    assert (said["status"], said["rows"], said["ok"], said["duplicate"], said["unanswered"]) == (
        "completed",
        4,
        3,
        1,
        0,
    )
    assert Decimal(said["cost_usd"]) == Decimal("0.001")
    assert Decimal(said["avoided_usd"]) == Decimal("0.006")
    assert (said["calls"], said["local_calls"], said["cloud_calls"]) == (3, 2, 1)
    assert pl.read_parquet(said["results"]).height == 4
    assert pl.read_parquet(said["costs"])["cost_usd"].sum() == Decimal("0.001")
    assert json.loads((here / "out/summary.json").read_text()) == said
    assert pl.read_parquet_schema(here / "out/costs.parquet") == pl.from_arrow(schemas.COSTS.empty_table()).schema  # type: ignore[union-attr]


def test_people_get_the_savings_and_where_the_files_are(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with working(url, here / "data", answer_all(4)):
        code, out, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--out", "out")
    assert code == 0, err
    assert "4 of 4 rows answered (1 by duplicates)" in out
    assert "spent $0.00100" in out
    assert "avoided local" in out
    assert "out/results.parquet" in out
    assert "completed: 4/4 rows" in err


def test_the_same_command_again_says_finished_and_fresh_runs_anew(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", "in.jsonl", "--redis", url, "--json")
    with working(url, here / "data", answer_all(4)):
        first = json.loads(ran(capsys, *command)[1])
    with working(url, here / "data"):  # nobody would answer
        code, out, err = ran(capsys, *command)
    again = json.loads(out)
    assert code == 0
    assert "has finished already" in err
    assert again["run_id"] == first["run_id"]
    assert again == first
    with working(url, here / "data", answer_all(4)):
        fresh = json.loads(ran(capsys, *command, "--fresh")[1])
    assert fresh["run_id"] != first["run_id"]


def test_a_finished_run_whose_files_are_gone_says_so(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("run", "in.jsonl", "--redis", url, "--json")
    with working(url, here / "data", answer_all(4)):
        said = json.loads(ran(capsys, *command)[1])
    Path(said["results"]).unlink()
    with working(url, here / "data"):
        code, out, err = ran(capsys, *command)
    assert (code, out) == (1, "")
    assert "--fresh" in err


@pytest.mark.parametrize(
    ("rows", "status", "code"),
    [
        ([result(0), result(1, status="invalid")], "completed", 3),
        ([result(0), result(1, status="failed")], "completed", 3),
        ([result(0), result(1, status="refused")], "completed", 3),
        ([result(0), result(1, status="expired")], "expired", 4),
        ([result(0, status="failed"), result(1, status="cancelled")], "cancelled", 4),
        ([result(0), result(1)], "expired", 0),
        ([], "completed", 0),
    ],
)
def test_exit_codes_come_in_the_contracts_order(
    here: Path, url: str, capsys: pytest.CaptureFixture[str], rows: list[dict[str, Any]], status: str, code: int
) -> None:
    with working(url, here / "data", finish(*rows, status=status)):
        got, out, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--json")
    assert got == code, err
    assert json.loads(out)["status"] == status
    if code == 4:
        assert "the same command resumes" in err


def test_a_source_that_breaks_off_ends_with_2_and_what_was_answered(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(worker: ScriptedWorker, run_id: str) -> None:
        worker.files(run_id, [result(0)], [])
        worker.end(run_id, "failed", error="in.jsonl: truncated at row 3")

    with working(url, here / "data", fail):
        code, out, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--json", "--quiet")
    assert code == 2
    assert (json.loads(out)["status"], json.loads(out)["ok"]) == ("failed", 1)
    assert "truncated at row 3" in err
    assert "Traceback" not in err


def test_a_blocked_run_ends_with_4_and_its_reason(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def block(worker: ScriptedWorker, run_id: str) -> None:
        worker.set(run_id, ok=1, rows=4, prepared="1", blocked="budget: the next call does not fit")

    with working(url, here / "data", block):
        code, out, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--json")
    said = json.loads(out)
    assert code == 4
    assert (said["status"], said["ok"], said["unanswered"], said["results"]) == ("in_progress", 1, 3, None)
    assert "budget: the next call does not fit" in err
    assert "resumes" in err


def test_a_reason_with_calls_in_flight_is_not_the_end(
    here: Path, url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.cli.run.BLOCKED_S", 0.3)

    def slow(worker: ScriptedWorker, run_id: str) -> None:
        worker.lanes(3, gpu={"lane": "local", "up": True, "slots": 16, "rows_per_s": 2.0})
        worker.set(run_id, blocked="no target is up")
        time.sleep(1.0)

    with working(url, here / "data", slow, answer_all(4)):
        assert ran(capsys, "run", "in.jsonl", "--redis", url, "--json")[0] == 0


def test_an_interrupt_leaves_a_resumable_run(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(worker: ScriptedWorker, run_id: str) -> None:
        worker.set(run_id, ok=2, rows=4, prepared="1")
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    command = ("run", "in.jsonl", "--redis", url, "--json")
    with working(url, here / "data", interrupt):
        code, out, err = ran(capsys, *command)
    assert code == 130, err
    assert json.loads(out)["unanswered"] == 2
    assert "the same command resumes" in err

    def await_the_command(worker: ScriptedWorker, run_id: str) -> None:
        began = worker.get(run_id)["started_ms"]
        while worker.get(run_id)["started_ms"] == began:
            time.sleep(0.01)

    with working(url, here / "data", await_the_command, answer_all(4)):
        code, again, err = ran(capsys, *command)
    assert code == 0
    assert "resuming run" in err
    assert json.loads(again)["run_id"] == json.loads(out)["run_id"]


def test_a_run_that_is_being_cancelled_resumes_when_that_is_done(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "submit", "in.jsonl", "--redis", url)[0] == 0
    redis = Redis.from_url(url, decode_responses=True)
    run_id = next(iter(redis.smembers("spillway:runs:open")))  # type: ignore[arg-type]
    assert "is cancelling" in ran(capsys, "cancel", run_id, "--redis", url)[1]

    def cancelled(worker: ScriptedWorker, run_id: str) -> None:
        time.sleep(0.5)
        worker.end(run_id, "cancelled")
        while not worker.get(run_id)["redo"]:
            time.sleep(0.01)

    with working(url, here / "data", cancelled, answer_all(4)):
        code, out, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--json")
    assert code == 0, err
    assert "is being stopped" in err
    assert json.loads(out)["run_id"] == run_id


# -- what is wrong is told before anything starts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["missing.jsonl"], "missing.jsonl"),
        (["in.jsonl", "--deadline", "soon"], "should be a duration"),
        (["in.jsonl", "--deadline", "5"], "should be a duration"),
        (["in.jsonl", "--budget", "much"], "not an amount in US dollars"),
        (["in.jsonl", "--budget=-1"], "not an amount in US dollars"),
        (["in.jsonl", "--budget", "nan"], "not an amount in US dollars"),
        (["in.jsonl", "--dedupe", "maybe"], "off, exact, semantic"),
        (["in.jsonl", "--route", "big"], "spillway.toml has"),
        (["in.jsonl", "--client", "a/b"], "not a name"),
        (["in.jsonl", "--labels", "one"], "fewer than two labels"),
        (["in.jsonl", "--schema", "none.json"], "cannot be read"),
        (["in.jsonl", "--template", "none.j2"], "cannot be read"),
        (["in.jsonl", "--schema", "bad.json"], "--schema bad.json"),
        (["in.jsonl", "--template", "bad.j2"], "--template bad.j2"),
        (["in.jsonl", "--labels", "a,b", "--schema", "good.json"], "exclude each other"),
        (["in.jsonl", "--config", "other.toml"], "other.toml"),
        (["in.jsonl", "--config", "broken.toml"], "broken.toml:2"),
        (["in.jsonl", "--nonsense"], "--nonsense"),
        ([], "SOURCE"),
    ],
)
def test_a_wrong_command_is_one_line_and_2_and_enqueues_nothing(
    here: Path, url: str, capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    (here / "bad.json").write_text('{"type": 7}')
    (here / "good.json").write_text('{"type": "object"}')
    (here / "bad.j2").write_text("{{ broken")
    (here / "broken.toml").write_text("[spillway]\ndata = ")
    code, out, err = ran(capsys, "run", *arguments, "--redis", url)
    assert code == 2, err
    assert what in err
    assert out == ""
    assert len(err.strip().split("\n")) == 1, err
    with Redis.from_url(url) as redis:
        assert redis.keys("*") == []
    assert not (here / "data").exists()


def test_an_out_folder_that_cannot_be_is_told_before_anything_is_paid(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "out").write_text("a file")
    code, _, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--out", "out")
    assert code == 2
    assert "cannot write to --out out" in err
    with Redis.from_url(url) as redis:
        assert redis.keys("*") == []


def test_a_changed_source_of_an_unfinished_run_is_refused_by_name(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "submit", "in.jsonl", "--redis", url)[0] == 0
    (here / "in.jsonl").write_text('{"prompt": "another"}\n')
    code, _, err = ran(capsys, "submit", "in.jsonl", "--redis", url)
    assert code == 2
    assert "in.jsonl changed" in err


def test_an_unreachable_redis_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "submit", "in.jsonl", "--redis", f"unix://{here}/none.sock")
    assert code == 2
    assert "cannot reach Redis" in err
    assert len(err.strip().split("\n")) == 1


def test_debug_shows_where(here: Path) -> None:
    with pytest.raises(Exception, match="missing"):
        main(["run", "missing.jsonl", "--debug"])


# -- submit ------------------------------------------------------------------------------------------------------------


def test_submit_prints_the_run_and_its_options_are_stored(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "t.j2").write_text("Say {{ word }}")
    command = ["submit", "in.jsonl", "--redis", url, "--client", "acme", "--labels", "a, b", "--deadline", "2h"]
    code, out, _ = ran(
        capsys, *command, "--budget", "5.00", "--template", "t.j2", "--dedupe", "exact", "--route", "small"
    )
    assert code == 0
    with Redis.from_url(url, decode_responses=True) as redis:
        fields = redis.hgetall(wire.Keys().run(out.strip()))
    options = wire.unpack_options(fields["options"].encode())  # type: ignore[index]
    assert (options.labels, options.deadline_s, options.budget_nusd) == (("a", "b"), 7200.0, 5_000_000_000)
    assert (options.template, options.dedupe, options.route) == ("Say {{ word }}", "exact", "small")
    assert (fields["client"], fields["rows_estimate"]) == ("acme", "4")  # type: ignore[index]
    code, out, err = ran(capsys, *command, "--json")
    said = json.loads(out)
    assert said["state"] == "new"
    foreseen = said["foreseen"]  # null when it took too long
    assert err.count("foreseen: ") == (foreseen is not None) and (not foreseen or foreseen["deadline_s"] == 7200)


def test_submit_needs_a_redis_that_stays(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "submit", "in.jsonl")
    assert code == 2
    assert "spillway worker" in err


def test_two_commands_at_once_are_one_run(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "submit", "in.jsonl", "--redis", url)[0] == 0

    def later(worker: ScriptedWorker, run_id: str) -> None:
        time.sleep(0.6)
        answer_all(4)(worker, run_id)

    with working(url, here / "data", later):
        code, _, err = ran(capsys, "run", "in.jsonl", "--redis", url, "--json")
    assert code == 0
    assert "resuming run" in err
    assert threading.active_count() < 20


def test_a_saving_without_cause_is_found_by_the_doctor(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, calls = [result(0, avoided_usd=Decimal(1))], (call(0, 0, avoided_usd=Decimal(1)),)

    def prepared(worker: ScriptedWorker, run_id: str) -> None:
        worker.set(run_id, rows=1)

    with working(url, here / "data", prepared, finish(*rows, calls=calls)):
        run_id = json.loads(ran(capsys, "run", "in.jsonl", "--redis", url, "--json")[1])["run_id"]
    code, out, _ = ran(capsys, "doctor", "--run", run_id, "--redis", url)
    assert code == 3
    assert f"row 0 call {calls[0]['call_id']} avoided money without a known cause" in out
