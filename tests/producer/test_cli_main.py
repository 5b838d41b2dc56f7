"""The program itself: exit codes, one-line errors, cheap start, and the doors to the drain."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines import paths, schemas
from pipelines.errors import ConfigError, StoreError
from producer.cli import _with_optional_values, main
from tests.support_frames import at, call
from tests.support_worker import write

COMMANDS = [
    "run",
    "submit",
    "worker",
    "status",
    "cancel",
    "retry",
    "results",
    "report",
    "plan",
    "targets",
    "simulate",
    "doctor",
    "budget",
]


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "--help")
    assert code == 0
    assert all(f"\n  {command} " in out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, out, _ = ran(capsys, command, "--help")
    assert code == 0
    assert "Usage: spillway" in out


PLACES = [
    (["run", "in.jsonl", "--simulate", "--data", "/proc/x"], 1, "cannot write /proc/x/simulate"),
    (["run", "in.jsonl", "--data", "/proc/x"], 1, "cannot use the data root /proc/x"),
    (["run", "in.jsonl", "--data", "a-file/deeper"], 1, "Not a directory"),
    (["run", "in.jsonl", "--simulate", "--data", "a-file"], 2, "the data root a-file is no folder"),
    (["status", "--data", "a-file"], 2, "the data root a-file is no folder"),
    (["report", "cost", "--data", "a-file"], 2, "the data root a-file is no folder"),
    (["doctor", "--data", "file:///proc/self/status"], 2, "the data root /proc/self/status is no folder"),
    (["run", "in.jsonl", "--data", "nope://x"], 2, "neither a folder nor an object store"),
    (["status", "--data", "s3://"], 2, "neither a folder nor an object store"),
    (["status", "--data", "http://127.0.0.1:9/x"], 2, "neither a folder nor an object store"),
    (["run", "in.jsonl", "--out", "a-file"], 2, "cannot write to --out a-file"),
    (["run", "in.jsonl", "--out", "/proc/x"], 2, "cannot write to --out /proc/x"),
    (["report", "cost", "--format", "json", "--out", "a-folder"], 1, "--out a-folder: Is a directory; it is a folder: name a"),
    (["report", "cost", "--format", "json", "--out", "a-file/x"], 1, "choose another place"),
    (["run", "in.jsonl", "--config", "a-folder"], 2, "a-folder: cannot be read (Is a directory)"),
    (["run", "in.jsonl", "--config", "binary"], 2, "binary:1: is not UTF-8"),
    (["run", "in.jsonl", "--template", "binary"], 2, "--template binary: is not UTF-8"),
    (["run", "in.jsonl", "--template", "a-folder"], 2, "--template a-folder: cannot be read"),
    (["run", "in.jsonl", "--schema", "binary"], 2, "--schema binary: is not UTF-8"),
    (["run", "in.jsonl", "--simulate=a-folder"], 2, "a-folder: cannot be read"),
    (["run", "in.jsonl", "--simulate=binary"], 2, "binary: is not valid TOML"),
    (["simulate", "--config", "binary"], 2, "binary: is not valid TOML"),
    (["run", ""], 2, "is a directory"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "what"), PLACES, ids=lambda value: str(value)[:60])
def test_a_place_that_is_not_what_it_should_be_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, what: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "a-file").write_text("x")
    (tmp_path / "binary").write_bytes(b"\x8a\xff\x00")
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "spillway.toml").write_text(
        '[targets.t]\nkind = "simulator"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    found, out, err = ran(capsys, *arguments)
    assert (found, out) == (code, "")
    assert what in err
    assert len(err.splitlines()) == 1
    assert "internal error" not in err


def test_a_data_root_may_be_a_file_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "doctor", "--data", f"{tmp_path.as_uri()}/a%20b")[0] == 0
    assert (tmp_path / "a b").is_dir()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["frobnicate"], "frobnicate"),
        (["run"], "SOURCE"),
        (["status", "--nonsense"], "--nonsense"),
        (["report", "x"], "report"),
    ],
)
def test_wrong_usage_is_one_line_and_2(capsys: pytest.CaptureFixture[str], arguments: list[str], what: str) -> None:
    code, out, err = ran(capsys, *arguments)
    assert (code, out) == (2, "")
    assert what in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (ConfigError("spillway.toml:3: wrong"), 2, "spillway.toml:3: wrong"),
        (StoreError("cannot write x:\n the disk is full"), 1, "cannot write x: the disk is full"),
        (
            ZeroDivisionError("division by zero"),
            1,
            "internal error: ZeroDivisionError: division by zero; run it again with --debug",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_one_line_and_their_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, what: str
) -> None:
    def broken(_: object) -> None:
        raise error

    monkeypatch.setattr("producer.cli.session.settings_of", broken)
    got, out, err = ran(capsys, "status")
    assert (got, out) == (code, "")
    assert what in err
    assert "Traceback" not in err


def test_simulate_takes_its_value_only_with_an_equals_sign() -> None:
    assert _with_optional_values(["run", "--simulate", "a.jsonl"]) == ["run", "--simulate=demo", "a.jsonl"]
    assert _with_optional_values(["run", "--simulate=x.toml"]) == ["run", "--simulate=x.toml"]
    assert _with_optional_values(["run", "--", "--simulate"]) == ["run", "--", "--simulate"]


def test_a_closed_pipe_is_no_traceback() -> None:
    program = f"{sys.executable} -m producer.cli report --list | true"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_the_program_starts_without_heavy_libraries() -> None:
    code = (
        "import sys; from producer.cli import main; main(['--help']); "
        "print(sorted(m for m in ('polars', 'pyarrow', 'redis', 'rich.live', 'torch', 'faiss', 'arq', 'httpx') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_targets_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("worker.bench.health.find_local", dict)
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n')
    code, _, err = ran(capsys, "run", "in.jsonl")
    assert code == 2
    assert "--simulate" in err
    assert not (tmp_path / "data").exists()


def test_what_is_found_on_this_machine_is_used_and_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {"targets": {"vllm": {"kind": "vllm", "model": "q", "base_url": "http://127.0.0.1:1/v1"}}}
    monkeypatch.setattr("worker.bench.health.find_local", lambda: found)
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n{"prompt": "x"}\n')
    code, out, err = ran(capsys, "plan", "in.jsonl", "--dedupe", "exact", "--json")
    assert code == 0, err
    assert "found vllm" in err
    assert (json.loads(out)["rows"], json.loads(out)["duplicate"]) == (2, 1)


def test_plan_is_a_table_for_people(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "spillway.toml").write_text('[targets.gpu]\nkind = "vllm"\nmodel = "q"\n')
    code, out, _ = ran(capsys, "plan", "in.jsonl", "--dedupe", "off")
    assert code == 0
    for part in ("p50 cost", "p90 time", "local", "route"):
        assert part in out
    assert not (tmp_path / "data").exists()


def test_a_plan_that_cannot_be_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(*options: str) -> dict[str, Any]:
        code, out, err = ran(capsys, "plan", "in.jsonl", "--dedupe", "off", "--json", *options)
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n' * 1000)
    (tmp_path / "spillway.toml").write_text(
        '[targets.gpu]\nkind = "vllm"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "q"\nmax_concurrency = 4\n'
        '[targets.mini]\nkind = "openai"\nlane = "cloud"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\nrpm = 600\n'
        "input_usd_per_mtok = 1\noutput_usd_per_mtok = 10\n"
    )
    roomy = planned("--deadline", "24h", "--budget", "5")
    assert roomy["lacks"] is None and Decimal(roomy["cost_usd_p50"]) == 0
    poor = planned("--deadline", "10m", "--budget", "0.50")["lacks"]
    missing = Decimal(poor["usd"])
    assert missing > 0 and poor["text"].startswith("+$") and " or +" in poor["text"]
    assert planned("--deadline", "10m", "--budget", str(missing + Decimal("0.51")))["lacks"] is None
    later = math.ceil(600 + poor["seconds"])
    assert planned("--deadline", f"{later + 1}s", "--budget", "0.50")["lacks"] is None
    assert planned("--deadline", f"{later - 30}s", "--budget", "0.50")["lacks"] is not None
    late = planned("--deadline", "60s")["lacks"]
    assert late["usd"] is None and late["seconds"] > 0, "600 rows a minute are all that the cloud takes"
    assert ran(capsys, "plan", "in.jsonl", "--dedupe", "off", "--deadline", "60s")[1].count("infeasible: needs +") == 1


def test_a_plan_learns_from_the_ledger_of_earlier_runs_of_its_form(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(*options: str) -> dict[str, Any]:
        code, out, err = ran(capsys, "plan", "in.jsonl", "--dedupe", "off", "--json", *options)
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def settled(run: str, options: dict[str, Any], tokens: int) -> None:
        calls = [call(n, n, run_id=run, route="default", output_tokens=tokens, finished_at=at(4)) for n in range(50)]
        write(tmp_path / "data" / paths.costs_part("2026-03-01", run, "00000001"), calls, schemas.COSTS)
        record = tmp_path / "data" / paths.run_record(run)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"run_id": run, "options": options, "status": "completed"}))

    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text('{"prompt": "x"}\n' * 100)
    (tmp_path / "spillway.toml").write_text(
        '[targets.gpu]\nkind = "vllm"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "q"\nmax_concurrency = 4\n'
    )
    (route,) = planned()["routes"]
    assert (route["output_tokens"], route["output_from"]) == (20_000, "assumed")
    settled("20260301-000000-aaaaaa", {}, 30)
    settled("20260301-000000-bbbbbb", {"labels": ["yes", "no"]}, 2)
    (tmp_path / "data/costs/day=2026-03-01/20260301-000000-cccccc.00000001.parquet").write_bytes(b"damaged")
    plain = planned()
    assert (plain["routes"][0]["output_tokens"], plain["routes"][0]["output_from"]) == (3_000, "measured")
    assert "lengths of 50 earlier answers" in plain["assumption"]
    local = next(lane for lane in plain["lanes"] if lane["lane"] == "local")
    assert local["seconds_p50"] == 100.0, "100 rows of 4 s each, 4 at once"
    assert planned("--labels", "yes,no")["routes"][0]["output_tokens"] == 200
    (tmp_path / "schema.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    assert planned("--schema", "schema.json")["routes"][0]["output_from"] == "schema"


def test_targets_are_listed_with_health_and_price(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spillway.toml").write_text(
        '[targets.gpu]\nkind = "vllm"\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "q"\n'
        "input_usd_per_mtok = 0.15\noutput_usd_per_mtok = 0.60\n"
    )
    code, out, err = ran(capsys, "targets")
    assert code == 0, err
    assert "down" in out
    assert "$0.15/0.6 per Mtok" in out
    assert json.loads(ran(capsys, "targets", "--json")[1])[0]["up"] is False
    assert ran(capsys, "targets", "check", "none")[0] == 2
    assert ran(capsys, "targets", "chekc", "gpu")[0] == 2


def test_roles_are_checked_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spillway.toml").write_text('[targets.gpu]\nkind = "vllm"\nmodel = "q"\n')
    code, _, err = ran(capsys, "worker", "--roles", "dance")
    assert code == 2
    assert "prepare" in err
