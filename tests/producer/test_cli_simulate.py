"""The whole program with nothing faked: `--simulate` starts servers, Redis and workers, and touches nothing real."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipelines import schemas
from producer.cli import main
from tests.support_warm import Warm
from tests.test_audit import stream

SCENARIO = """
[servers.gpu]
personality = "lmstudio"
model = "qwen"
slots = 8
latency_ms = {latency_ms}
answer = "hash"
[servers.cloud]
personality = "openai"
model = "gpt-4o-mini"
usd_per_mtok_in = 0.15
usd_per_mtok_out = 0.60
answer = "hash"
[routes.small]
targets = ["gpu", "cloud"]
[routes.large]
targets = ["cloud"]
min_complexity = 0.99
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "in.jsonl").open("w") as file:
        for number in range(120):
            row = {"prompt": f"Question {number % 100}", "id": f"q{number}", "model": "large" if number == 7 else None}
            file.write(json.dumps(row) + "\n")
        file.write("not json\n")
    return tmp_path


def scenario(folder: Path, latency_ms: int) -> str:
    (folder / "scenario.toml").write_text(SCENARIO.format(latency_ms=latency_ms))
    return f"--simulate={folder / 'scenario.toml'}"


def started(here: Path, *arguments: str) -> subprocess.Popen[str]:
    return Warm(
        [sys.executable, "-m", "producer.cli", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=here,
    )  # fmt: skip


def ran(here: Path, *arguments: str) -> tuple[int, str, str]:
    process = started(here, *arguments)
    out, err = process.communicate(timeout=110)
    return process.returncode, out, err


def test_a_rehearsal_end_to_end(here: Path) -> None:
    command = ["run", "in.jsonl", scenario(here, 20), "--dedupe", "exact", "--out", "out", "--json"]
    code, out, err = ran(here, *command)
    assert code == 3, err  # one row is no JSON
    said = json.loads(out)
    assert (said["rows"], said["ok"], said["duplicate"], said["invalid"]) == (121, 101, 19, 1)
    assert (said["local_calls"], said["cloud_calls"]) == (100, 1)
    results = pl.read_parquet("out/results.parquet")
    assert results["row"].to_list() == list(range(121))
    assert set(results["client"]) == {"simulate"}
    assert pl.read_parquet("out/costs.parquet")["cost_usd"].sum() == results["cost_usd"].sum() > 0
    for name, schema in (("results", schemas.RESULTS), ("costs", schemas.COSTS)):
        files = [Path(f"out/{name}.parquet"), *Path(f"data/simulate/{name}").glob("*/*.parquet")]
        assert len(files) > 1
        assert all(pq.read_schema(file).equals(schema) for file in files), "columns that are never empty say so"
    assert sorted(path.name for path in (here / "data").iterdir()) == ["simulate"]
    assert ran(here, "doctor", "--data", "data/simulate", "--run", said["run_id"])[0] == 0
    assert "avoided local" in ran(here, "report", "savings", "--data", "data/simulate")[1]
    code, out, err = ran(here, *command)
    assert code == 3
    assert "has finished already" in err
    assert json.loads(out) == said


def test_a_rehearsal_audits_nothing_unless_its_scenario_wants_it(here: Path) -> None:
    """The stand-ins answer by the letters of a prompt: each audit would disagree, and reuse pause for the next rehearsals."""
    (here / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in stream("a", 40)))
    for share, audits in (("", 0), ("audit_share = 1.0\n", 80)):
        told = scenario(here, 20)
        file = here / "scenario.toml"
        file.write_text(file.read_text().replace("[routes.small]\n", f'[routes.small]\ntask = "open"\n{share}'))
        code, out, err = ran(here, "run", "in.jsonl", told, "--fresh", "--json")
        assert code == 0, err
        said = json.loads(out)
        assert (said["ok"], said["duplicate"], said["calls"]) == (40, 40, 40 + audits)
        assert ("reuse by proof is paused" in err) == bool(audits)


def test_an_interrupted_rehearsal_resumes_and_pays_nothing_twice(here: Path) -> None:
    command = ["run", "in.jsonl", scenario(here, 300), "--dedupe", "exact", "--json"]
    process = started(here, *command)
    deadline = time.monotonic() + 60
    while not list((here / "data/simulate").glob("results/*/chunks/*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    first, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command resumes" in err
    assert json.loads(first)["unanswered"] > 0
    code, out, err = ran(here, *command)
    assert code == 3, err
    said = json.loads(out)
    assert said["run_id"] == json.loads(first)["run_id"]
    assert (said["ok"], said["calls"]) == (101, 101)
    assert ran(here, "doctor", "--data", "data/simulate", "--run", said["run_id"])[0] == 0


def test_a_broken_scenario_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, what in (("[servers", "not valid toml"), ('[servers.x]\npersonality = "nobody"\n', "nobody")):
        (here / "bad.toml").write_text(text)
        assert main(["run", "in.jsonl", "--simulate=bad.toml"]) == 2
        err = capsys.readouterr().err
        assert what in err
        assert len(err.strip().splitlines()) == 1
    assert main(["run", "in.jsonl", "--simulate=none.toml"]) == 2
    assert main(["submit", "in.jsonl", "--simulate"]) == 2


def test_a_running_rehearsal_is_seen_and_stopped_and_its_failed_rows_are_asked_again(here: Path) -> None:
    (here / "in.jsonl").write_text("".join(json.dumps({"prompt": f"Question {n}"}) + "\n" for n in range(2000)))
    root = ["--data", "data/simulate"]
    process = started(
        here, "run", "in.jsonl", scenario(here, 100), "--dedupe", "exact", "--labels", "yes,no", "--quiet"
    )
    try:
        deadline = time.monotonic() + 60
        seen: dict[str, Any] = {}
        while not seen.get("failed"):  # no answer is one of the labels
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(1)
            seen = next(iter(json.loads(ran(here, "status", "--json", *root)[1])), {})
        assert seen["status"] == "in_progress"
        scopes = [scope["scope"] for scope in json.loads(ran(here, "budget", "show", "--json", *root)[1])]
        assert f"run:{seen['run_id']}" in scopes
        assert ran(here, "status")[1] == "", "real runs are elsewhere"
        assert ran(here, "cancel", seen["run_id"], *root)[0] == 0
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 4
    was = json.loads(ran(here, "status", seen["run_id"], "--json", *root)[1])
    assert was["status"] == "cancelled"
    assert 0 < was["failed"] < 2000
    code, out, err = ran(here, "retry", seen["run_id"], "--json", *root)  # brings the scenario's servers back
    assert code == 4, err  # the cancelled rows are the run command's matter
    again = json.loads(out)
    assert again["calls"] == was["calls"] + 4 * was["failed"], "each was asked twice more at each target"
    assert ran(here, "doctor", "--run", seen["run_id"], *root)[0] == 0


def test_an_interrupted_rehearsal_is_cancelled_without_its_command(here: Path) -> None:
    process = started(here, "run", "in.jsonl", scenario(here, 400), "--dedupe", "exact", "--json")
    deadline = time.monotonic() + 60
    while not list((here / "data/simulate").glob("results/*/chunks/*.parquet")):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    run_id = json.loads(process.communicate(timeout=60)[0])["run_id"]
    code, out, err = ran(here, "cancel", run_id, "--json", "--data", "data/simulate")
    assert code == 0, err
    assert json.loads(out)["status"] == "cancelled"


def test_rehearsals_and_real_runs_keep_to_their_own_data_roots(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["plan", "in.jsonl", "--simulate"]) == 0
    assert main(["plan", "in.jsonl", "--simulate", "--data", "data/simulate"]) == 0
    assert not (here / "data/simulate/simulate").exists(), "the root of rehearsals is its own"
    capsys.readouterr()
    (here / "spillway.toml").write_text(
        '[targets.t]\nkind = "simulator"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    for command in ("run", "plan", "submit"):
        assert main([command, "in.jsonl", "--data", "data/simulate"]) == 2
        assert "holds rehearsals, no real target works there" in capsys.readouterr().err
    assert main(["worker", "--data", "data/simulate"]) == 2
    assert not (here / "data/simulate/redis").exists(), "nothing was started"

    monkeypatch.setenv("SPILLWAY_PREFIX", "spillway-sim")
    assert main(["status", "--data", "real"]) == 2
    assert "is kept for rehearsals" in capsys.readouterr().err
    monkeypatch.delenv("SPILLWAY_PREFIX")

    runs = here / "other/simulate/runs"  # somebody's real runs in a folder of that name
    runs.mkdir(parents=True)
    (runs / "20260101-000000-aaaaaa.json").write_text('{"run_id": "20260101-000000-aaaaaa", "client": "default"}')
    assert main(["run", "in.jsonl", "--simulate", "--data", "other"]) == 2
    assert "holds real runs" in capsys.readouterr().err
    assert main(["status", "20260101-000000-aaaaaa", "--data", "other/simulate"]) == 0, "it stays a real one"
