"""`status`, `cancel`, `retry`, `results` and `budget` against a real Redis and real files."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openai.types.chat import ChatCompletion
from redis import Redis

from pipelines import paths, schemas, wire
from pipelines.dialects.openai_lines import line_of
from pipelines.pauses import pause
from producer.cli import main
from producer.exports import csv_cell
from tests.support_frames import RUN, at, result
from tests.support_worker import Step, answer_all, working, write

BODY = {"id": "x", "object": "chat.completion", "choices": [], "created": 1, "model": "m"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"prompt": "one"}\n')
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def submitted(capsys: pytest.CaptureFixture[str], url: str) -> str:
    code, out, err = ran(capsys, "submit", "in.jsonl", "--redis", url)
    assert code == 0, err
    return out.strip()


def finished(capsys: pytest.CaptureFixture[str], url: str, here: Path, *steps: Step) -> str:
    """A run that a worker has ended."""
    run_id = submitted(capsys, url)
    with working(url, here / "data", *steps or (answer_all(4),)) as worker:
        while worker.get(run_id)["status"] == "in_progress":
            pass
    return run_id


def with_rows(*rows: dict[str, Any]) -> Step:
    def step(worker: Any, run_id: str) -> None:
        worker.files(run_id, list(rows), [])
        worker.end(run_id, "completed", rows=len(rows))

    return step


# -- status --------------------------------------------------------------------------------------------------------


def test_status_without_runs_says_how_to_start(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "status", "--redis", url)
    assert (code, out) == (0, "")
    assert "spillway run SOURCE" in err
    assert json.loads(ran(capsys, "status", "--redis", url, "--json")[1]) == []


def test_status_shows_how_far_a_run_is(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = submitted(capsys, url)
    with Redis.from_url(url) as redis:
        fields = {
            "ok": 3,
            "rows": 10,
            "rows_local": 2,
            "rows_cloud": 1,
            "blocked": "budget is closed",
            "cost_pusd": 5 * 10**9,
        }
        redis.hset(wire.Keys().run(run_id), mapping=fields)
        lane = {"lane": "local", "up": False, "reason": "refused", "slots": 4}
        redis.hset(wire.Keys().lanes, "gpu", json.dumps(lane))
    code, out, _ = ran(capsys, "status", run_id, "--redis", url)
    assert code == 0
    for text in (run_id, "in_progress", "$0.00500", "waiting: budget is closed", "down: refused"):
        assert text in out
    said = json.loads(ran(capsys, "status", run_id, "--redis", url, "--json")[1])
    assert (said["ok"], said["rows"], said["unanswered"], said["blocked"]) == (3, 10, 7, "budget is closed")
    assert Decimal(said["cost_usd"]) == Decimal("0.005")


def test_status_tells_of_pauses_that_hold(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    submitted(capsys, url)
    Path("spillway.toml").write_text(
        '[targets.gpu]\nkind = "vllm"\nmodel = "q"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[routes.a]\ntargets = ["gpu"]\n[routes.b]\ntargets = ["gpu"]\nmax_false_reuse = 0.5\n'
    )
    now_ms = int(time.time() * 1000)
    told = {
        "a": pause(now_ms + 60_000, 0.2, "a holds \x1b[31m"), "b": pause(now_ms + 60_000, 0.2, "its limit was raised"),
        "a canonical": pause(now_ms - 60_000, 0.2, "it is over"), "odd": b"[1]",
    }  # fmt: skip
    with Redis.from_url(url) as redis:
        redis.hset(wire.Keys().paused, mapping=told)
    code, out, _ = ran(capsys, "status", "--redis", url)
    assert code == 0 and "a holds" in out and "\x1b" not in out
    assert "it is over" not in out and "its limit was raised" not in out


def test_without_redis_and_configuration_the_audits_tell_a_pause(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after any run of the README's first minutes: its private Redis is down, its routes are those that were found."""
    now = datetime.now(UTC)
    rows = [
        {"route": "gpu", "link_kind": "edit", "part": part, "agrees": part == "baseline", "row": row, "at": now}
        for part in ("reuse", "baseline")
        for row in range(30)
    ]
    write(here / "data" / paths.audits(now.date().isoformat(), RUN), rows, schemas.AUDITS)
    code, out, _ = ran(capsys, "status")
    assert code == 0 and "route gpu: reuse by proof is paused until" in out
    limit = '[routes.gpu]\ntargets = ["gpu"]\nmax_false_reuse = 1.0\n'
    target = '[targets.gpu]\nkind = "vllm"\nmodel = "q"\nbase_url = "http://127.0.0.1:9/v1"\n'
    Path("spillway.toml").write_text(target + limit)
    assert "is paused" not in ran(capsys, "status")[1], "a limit that was raised since"


def test_status_and_targets_say_which_targets_are_closed(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = submitted(capsys, url)
    told = {"mini": b'{"up":false,"closed":true,"reason":"HTTP 402: no \\u001b[31mcredit"}', "odd": b"[1]"}
    with Redis.from_url(url) as redis:
        redis.hset("spillway:targets", mapping=told)
    code, out, _ = ran(capsys, "status", "--redis", url)
    assert code == 0 and "target mini is closed: HTTP 402: no" in out and "\x1b" not in out
    (one,) = json.loads(ran(capsys, "status", "--redis", url, "--json")[1])
    assert one["run_id"] == run_id and list(one["closed_targets"]) == ["mini"]
    Path("spillway.toml").write_text(
        '[targets.mini]\nkind = "openai"\nmodel = "gpt-4o-mini"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    (row,) = json.loads(ran(capsys, "targets", "--redis", url, "--json")[1])
    assert row["workers_say"].startswith("closed: HTTP 402") and not row["up"]
    shown = ran(capsys, "targets", "--redis", url)[1]
    assert "closed: HTTP 402" in shown and "\x1b" not in shown


def test_status_works_from_the_records_when_no_redis_runs(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = finished(capsys, url, here)
    said = json.loads(ran(capsys, "status", "--json")[1])  # the private Redis has never run here
    assert [(one["run_id"], one["status"], one["rows"], one["ok"]) for one in said] == [(run_id, "completed", 4, 3)]
    assert run_id in ran(capsys, "status", run_id)[1]


def test_status_watch_ends_with_the_run(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = submitted(capsys, url)
    with working(url, here / "data", answer_all(4)):
        code, out, _ = ran(capsys, "status", run_id, "--watch", "--redis", url)
    assert code == 0
    assert "completed" in out
    with Redis.from_url(url) as redis:
        redis.flushdb()
    code, out, _ = ran(capsys, "status", run_id, "--watch", "--redis", url)  # only its record is left
    assert code == 0
    assert "completed" in out


@pytest.mark.parametrize("command", ["status", "cancel", "retry", "results"])
@pytest.mark.parametrize("private", [True, False])
def test_an_unknown_run_is_2(
    here: Path, url: str, capsys: pytest.CaptureFixture[str], command: str, private: bool
) -> None:
    code, out, err = ran(capsys, command, "20260101-000000-abcdef", *([] if private else ["--redis", url]))
    assert (code, out) == (2, "")
    assert "spillway status" in err


# -- cancel, retry -------------------------------------------------------------------------------------------------


def test_cancel_asks_the_workers(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = submitted(capsys, url)
    assert ran(capsys, "cancel", run_id, "--redis", url)[1] == f"run {run_id} is cancelling\n"
    assert json.loads(ran(capsys, "cancel", run_id, "--redis", url, "--json")[1])["status"] == "cancelling"


def test_retry_opens_a_run_with_failed_rows(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = finished(capsys, url, here)
    code, _, err = ran(capsys, "retry", run_id, "--redis", url)
    assert code == 2
    assert "no failed rows" in err
    with Redis.from_url(url) as redis:
        redis.hset(wire.Keys().run(run_id), mapping={"summary": '{"failed": 1}'})
    code, out, _ = ran(capsys, "retry", run_id, "--redis", url)
    assert code == 0
    assert "in_progress" in out


# -- results -------------------------------------------------------------------------------------------------------


def test_results_of_a_run_that_goes_on_are_refused(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "results", submitted(capsys, url))
    assert code == 2
    assert "has not ended" in err


def test_results_as_parquet_are_the_file(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = finished(capsys, url, here)
    assert ran(capsys, "results", run_id, "--format", "parquet", "--out", "o/r.parquet")[0] == 0
    own = here / f"data/results/run={run_id}/results.parquet"
    assert (here / "o/r.parquet").read_bytes() == own.read_bytes()
    assert [path.name for path in (here / "o").iterdir()] == ["r.parquet"]


def test_results_as_jsonl_embed_json_and_keep_money_exact(
    here: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = (
        result(
            0, parsed='{"a": [1]}', tags='{"k": "v"}', response=json.dumps(BODY), cost_usd=Decimal("0.000000000001")
        ),
        result(1, status="failed", response="<html>no", output=None),
    )
    run_id = finished(capsys, url, here, with_rows(*rows))
    code, out, err = ran(capsys, "results", run_id)
    assert code == 0, err
    first, second = [json.loads(line) for line in out.splitlines()]
    assert (first["parsed"], first["tags"], first["response"]) == ({"a": [1]}, {"k": "v"}, BODY)
    assert first["cost_usd"] == "0.000000000001"
    assert second["response"] == "<html>no"
    assert first["started_at"].startswith("2026-03-01T08:00:00")


def test_results_as_csv_cannot_run_formulas(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = ["=1+1", "+1", "-1", "@x", "a=b", 'quo"te, and\nline', "\tx"]
    run_id = finished(capsys, url, here, with_rows(*(result(n, output=text) for n, text in enumerate(outputs))))
    code, _, err = ran(capsys, "results", run_id, "--format", "csv", "--out", "r.csv")
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO((here / "r.csv").read_bytes().decode(), newline="")))
    assert [row["output"] for row in rows] == ["'=1+1", "'+1", "'-1", "'@x", "a=b", 'quo"te, and\nline', "'\tx"]
    assert rows[0]["cost_usd"] == "0.000000000000"
    assert pl.read_csv(here / "r.csv").height == len(outputs)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-5, -5),
        (-0.5, -0.5),
        (None, None),
        (Decimal("-1.5"), "-1.5"),
        ("-5", "'-5"),
        ("", ""),
        (at(0), "2026-03-01T08:00:00+00:00"),
    ],
)
def test_csv_numbers_stay_numbers(value: Any, cell: Any) -> None:
    assert csv_cell(value) == cell


def test_results_in_openais_form(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (
        result(0, custom_id="a", response=json.dumps(BODY)),
        result(1, output="text", model="m", finish_reason="stop", input_tokens=3, output_tokens=2),
        result(2, status="invalid", error_code="not_json", error_message="row 2 is not JSON", finished_at=None),
        result(3, status="failed", error_code="overload", error_message="busy", http_status=503),
        result(4, status="expired"),
        result(5, status="cancelled"),
    )
    run_id = finished(capsys, url, here, with_rows(*rows))
    _, out, _ = ran(capsys, "results", run_id, "--format", "openai")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["custom_id"] for line in lines] == ["a", "1", "2", "3", "4", "5"]
    assert all(line["id"].startswith("batch_req_") for line in lines)
    assert lines[0]["response"]["body"] == BODY
    made = ChatCompletion.model_validate(lines[1]["response"]["body"])
    assert (made.choices[0].message.content, made.usage.total_tokens if made.usage else 0) == ("text", 5)
    assert [line["response"]["status_code"] for line in lines[:4]] == [200, 200, 400, 503]
    assert lines[2]["response"]["body"]["error"]["code"] == "not_json"
    assert [line["error"]["code"] for line in lines[4:]] == ["batch_expired", "batch_cancelled"]
    assert lines[4]["response"] is None


def test_every_status_has_a_line_in_openais_form() -> None:
    row: dict[str, Any] = dict.fromkeys(schemas.RESULTS.names)
    for status in ("ok", "duplicate", "invalid", "failed", "refused", "expired", "cancelled"):
        line = line_of({**row, "run_id": "r", "row": 1, "status": status})
        assert (line["response"] is None) != (line["error"] is None), status


def test_results_refuse_what_they_cannot_write(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = finished(capsys, url, here)
    code, _, err = ran(capsys, "results", run_id, "--format", "xml")
    assert code == 2
    assert "parquet, jsonl, csv, openai" in err
    (here / "file").write_text("")
    code, _, err = ran(capsys, "results", run_id, "--out", "file/x.jsonl")
    assert code == 1
    assert "cannot write" in err


# -- budget --------------------------------------------------------------------------------------------------------


def test_budget_is_shown_and_set_while_workers_run(here: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    keys = wire.Keys()
    with Redis.from_url(url, decode_responses=True) as redis:
        redis.hset(
            keys.budget("day:2026-03-01"), mapping={"limit": "10000000000", "spent": "2500000000", "reserved": "1"}
        )
        redis.hset(keys.budget("run:x"), mapping={"limit": "unlimited"})
        rows = {row["scope"]: row for row in json.loads(ran(capsys, "budget", "show", "--redis", url, "--json")[1])}
        assert rows["day:2026-03-01"]["left_usd"] == "7.499999999"
        assert rows["run:x"]["limit_usd"] is None
        assert ran(capsys, "budget", "set", "day:2026-03-01", "12.50", "--redis", url)[0] == 0
        assert redis.hget(keys.budget("day:2026-03-01"), "limit") == "12500000000"
        assert redis.llen(keys.wake) == 1
        assert ran(capsys, "budget", "set", "day:2026-03-01", "unlimited", "--redis", url)[0] == 0
        assert redis.hget(keys.budget("day:2026-03-01"), "limit") == "unlimited"
        assert 0 < redis.ttl(keys.budget("day:2026-03-01")) <= 40 * 86_400
        gone = "run:20260301-000000-abcdef"
        assert ran(capsys, "budget", "set", gone, "1", "--redis", url)[0] == 2
        assert redis.exists(keys.run(gone), keys.budget(gone)) == 0
    assert "day:2026-03-01" in ran(capsys, "budget", "show", "--redis", url)[1]


@pytest.mark.parametrize(
    ("scope", "usd"),
    [("today", "5"), ("day:2026-03-01", "five"), ("day:2026-03-01", "-1"), ("day:2026-03", "1"), ("day:20260301", "1"),
     ("month:2026-03-01", "1"), ("client:nobody:day:2026-03-01", "1"), ("run:../../x", "1"), ("cutoff:", "1")],
)  # fmt: skip
def test_budget_set_refuses_nonsense(
    here: Path, url: str, capsys: pytest.CaptureFixture[str], scope: str, usd: str
) -> None:
    assert ran(capsys, "budget", "set", "--redis", url, "--", scope, usd)[0] == 2
