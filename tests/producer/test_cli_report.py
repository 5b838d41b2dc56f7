"""`spillway report` and `doctor` over real Parquet files, without Redis."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines import paths, schemas
from producer.cli import main
from producer.cli.doctor import doctor  # noqa: F401 - importing it must not need Redis
from tests.support_frames import RUN, at, call, duplicate, result
from tests.support_program import CLOUD, GPU
from tests.support_upstream import Upstream
from tests.support_worker import write

OTHER = "20260302-080000-def456"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with two finished runs."""
    monkeypatch.chdir(tmp_path)
    for run, client, day in ((RUN, "default", 0), (OTHER, "acme", 86_400)):
        price, saved = Decimal("0.001"), Decimal("0.002")
        own = {"run_id": run, "client": client, "started_at": at(day), "finished_at": at(day + 1)}
        rows = [
            result(0, **own, avoided_usd=saved),
            result(1, **own, lane="cloud", target="mini", cost_usd=price),
            duplicate(2, 0, **own, avoided_usd=saved, similarity=0.97),
        ]
        calls = [
            call(0, 0, **own, avoided_usd=saved, avoided_cause="local"),
            call(1, 1, **own, lane="cloud", target="mini", cost_usd=price),
        ]
        calls = [{**one, "call_id": f"{run}:{one['call_id']}"} for one in calls]
        write(tmp_path / "data" / paths.results(run), rows, schemas.RESULTS)
        write(tmp_path / "data" / paths.costs_part("2026-03-01", run, "00000001"), calls, schemas.COSTS)
        chunk: list[dict[str, Any]] = [{"row": n, "tags": "{}"} for n in range(3)]
        chunk[2]["link_kind"] = "semantic"
        write(tmp_path / "data" / paths.chunk(run, 0, 0), chunk, schemas.CHUNK)
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def goes_on(root: Path, run: str, client: str) -> None:
    """The run has ended once and was taken up again: old results, a ledger that grows."""
    record = {"run_id": run, "client": client, "status": "in_progress"}
    path = root / "data" / paths.run_record(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    more = [call(9, 1, run_id=run, client=client, call_id="late", cost_usd=Decimal("0.5"), started_at=at(86_400))]
    write(root / "data" / paths.costs_part("2026-03-02", run, "00000002"), more, schemas.COSTS)


def test_savings_leave_out_a_run_that_goes_on_and_say_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goes_on(root, OTHER, "acme")
    code, out, err = ran(capsys, "report", "savings", "--format", "json")
    (row,) = json.loads(out)
    assert (code, row["answered"], row["calls"], row["spent_usd"]) == (0, 3, 2, "0.001000000000")
    assert f"unfinished: {OTHER} (left out until it ends)" in err
    code, out, err = ran(capsys, "report", "cost", "--by", "run", "--format", "json")
    assert {row["run"]: row["cost_usd"] for row in json.loads(out)}[OTHER] == "0.501000000000"
    assert f"unfinished: {OTHER} (its calls so far are counted, its rows when it ends)" in err
    assert OTHER in ran(capsys, "report", "savings", "--run", OTHER)[2]
    for nothing_to_say in (["--run", RUN], ["--client", "default"]):
        assert ran(capsys, "report", "savings", *nothing_to_say)[2] == ""


def test_savings_count_calls_that_belong_to_no_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goes_on(root, OTHER, "acme")
    probe = [call(1, None, run_id=None, call_id="probe", purpose="probe", cost_usd=Decimal("0.25"))]
    write(root / "data/costs/day=2026-03-01/probe.parquet", probe, schemas.COSTS)
    (row,) = json.loads(ran(capsys, "report", "savings", "--format", "json")[1])
    assert row["spent_usd"] == "0.251000000000"


def test_the_list_names_every_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "report", "--list")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} >= {"cost", "daily", "savings", "lanes", "dedupe", "invoice"}


def test_json_keeps_money_exact_and_filters_apply(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def spent(*options: str) -> str:
        code, out, err = ran(capsys, "report", "savings", "--format", "json", *options)
        assert code == 0, err
        (row,) = json.loads(out)
        return str(row["spent_usd"])

    assert spent() == "0.002000000000"
    assert spent("--client", "acme") == "0.001000000000"
    assert spent("--run", RUN) == "0.001000000000"
    assert spent("--since", "2026-03-02") == "0.001000000000"
    assert spent("--until", "2026-03-01T08:00:01+00:00") == "0.001000000000"
    assert spent("--until", "2026-03-01T09:30:00+01:30") == "0.000000000000"
    assert spent("--since", "1h", "--client", "acme") == "0.000000000000"


def test_by_takes_commas_and_repeats(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "report", "cost", "--by", "client,lane", "--by", "day", "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0])[:3] == ["client", "lane", "day"]
    assert len(rows) == 4
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal("0.002")


def test_a_table_has_totals(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "report", "cost")
    assert code == 0
    assert "2026-03-02" in out
    assert "$0.00200" in out.splitlines()[-1] or "$0.00200" in out.splitlines()[-2]


@pytest.mark.parametrize("name", ["cost", "daily", "savings", "lanes", "dedupe"])
def test_every_report_in_every_form(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    for form in ("table", "parquet", "csv", "json", "html"):
        code, _, err = ran(capsys, "report", name, "--format", form, "--out", f"out/{name}.{form}")
        assert code == 0, err
        assert (root / f"out/{name}.{form}").stat().st_size > 20
    assert pl.read_parquet(root / f"out/{name}.parquet").height >= 1
    page = (root / f"out/{name}.html").read_text()
    assert page.startswith("<!doctype html>")
    assert ("<svg" in page) == (name in ("savings", "lanes"))


INVOICE = ["invoice", "--client", "acme", "--month", "2026-03"]


def test_an_invoice_in_every_form(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "spillway.toml").write_text("[clients.acme]\nmarkup = 0.2\n")
    _, out, _ = ran(capsys, "report", *INVOICE, "--format", "json")
    lines = json.loads(out)
    assert [(line["item"], line["amount_usd"]) for line in lines] == [
        ("usage", "0.001000000000"), ("usage", "0.000000000000"), ("1 answers reused", "0.000000000000"),
        ("markup 20 %", "0.000200000000"), ("total", "0.001200000000"),
    ]  # fmt: skip
    _, out, _ = ran(capsys, "report", *INVOICE, "--format", "csv")
    assert list(csv.DictReader(io.StringIO(out)))[-1]["amount_usd"] == "0.001200000000"
    _, out, _ = ran(capsys, "report", *INVOICE)
    assert "cost plus 20 %" in out and "$0.00" in out and "half-even to the cent" in out
    code, _, err = ran(capsys, "report", *INVOICE, "--format", "html", "--out", "acme.html")
    page = (root / "acme.html").read_text()
    assert code == 0, err
    assert "<title>Spillway: invoice of acme, 2026-03</title>" in page and "@media print" in page
    assert "cost plus 20 %" in page and "http" not in page
    _, out, err = ran(capsys, "report", *INVOICE[:-1], "2026-04", "--format", "json")
    assert "client acme made no call in 2026-04" in err
    assert [line["item"] for line in json.loads(out)] == ["markup 20 %", "total"] and json.loads(out)[-1][
        "cost_usd"
    ] == "0.000000000000"


def test_a_client_without_a_plan_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "report", *INVOICE, "--format", "json")
    assert code == 0 and "no [clients.acme] in spillway.toml" in err
    assert json.loads(out)[-1]["amount_usd"] == "0.001000000000"


def test_months_and_days_are_those_of_the_configured_zone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def days(zone: str, *options: str) -> list[str]:
        (root / "spillway.toml").write_text(f'[spillway]\ntimezone = "{zone}"\n')
        _, out, _ = ran(capsys, "report", "cost", "--by", "day", "--format", "json", *options)
        return [row["day"] for row in json.loads(out)]

    assert days("UTC") == ["2026-03-01", "2026-03-02"]  # calls of 08:00 UTC
    assert days("Pacific/Pago_Pago") == ["2026-02-28", "2026-03-01"]
    assert days("Pacific/Pago_Pago", "--month", "2026-02") == ["2026-02-28"]
    assert days("Pacific/Pago_Pago", "--since", "2026-03-01") == ["2026-03-01"]
    assert days("UTC", "--month", "2026-03") == ["2026-03-01", "2026-03-02"]


def test_dedupe_knows_the_kinds_of_the_chunk_parts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ran(capsys, "report", "dedupe", "--by", "kind", "--format", "json")
    assert [(row["kind"], row["links"]) for row in json.loads(out)] == [("semantic", 2)]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["costs"], "did you mean cost"),
        (["cost", "--by", "colour"], "cannot go by 'colour'"),
        (["cost", "--since", "yesterday"], "is no time"),
        (["cost", "--format", "xml"], "table, parquet, csv, json, html"),
        (["cost", "--run", "../.."], "not a run id"),
        (["cost", "--month", "2026-13"], "should be a month such as 2026-03"),
        (["cost", "--month", "2026-03", "--since", "2026-03-02"], "leave --since and --until out"),
        (["invoice", "--client", "acme"], "--month YYYY-MM"),
        (["invoice", "--month", "2026-03"], "--client NAME"),
        (["invoice", "--client", "acme", "--month", "2026-03", "--run", RUN], "no --run"),
    ],
)
def test_nonsense_is_2(root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], what: str) -> None:
    code, _, err = ran(capsys, "report", *arguments)
    assert code == 2
    assert what in err


def test_an_empty_data_root_is_no_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "report", "cost", "--data", "nothing")
    assert code == 0
    assert "nothing to report" in err


def test_a_damaged_file_is_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "data" / paths.results(RUN)).write_bytes(b"PAR1 but not really PAR1")
    code, _, err = ran(capsys, "report", "savings")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "cannot read" in err


# -- doctor ----------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_in_a_good_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ran(capsys, "doctor", "--run", RUN)
    assert code == 0, out
    assert "3 rows, every invariant holds" in out
    assert json.loads(ran(capsys, "doctor", "--run", RUN, "--json")[1])["violations"] == []


def test_doctor_names_what_is_wrong(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root / "data" / paths.results(RUN), [result(0), result(2, cost_usd=Decimal(1))], schemas.RESULTS)
    code, out, _ = ran(capsys, "doctor", "--run", RUN)
    assert code == 3
    assert "3 rows in, 2 rows out" in out
    assert "row 2 costs 1.000000000000 by the results, 0.000000000000 by the ledger" in out
    assert "row 1 call" in out


@pytest.mark.parametrize("run", ["20260101-000000-aaaaaa", "../.."])
def test_doctor_of_an_unknown_run_is_2(root: Path, capsys: pytest.CaptureFixture[str], run: str) -> None:
    assert ran(capsys, "doctor", "--run", run)[0] == 2


def test_doctor_looks_at_the_installation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Upstream({"servers": {"gpu": GPU, "cloud": CLOUD}}) as upstream:
        urls = {name: upstream.settings()["targets"][name]["base_url"] for name in ("gpu", "cloud")}
        (root / "spillway.toml").write_text(
            f'[targets.gpu]\nkind = "lmstudio"\nmodel = "qwen"\nbase_url = "{urls["gpu"]}"\n'
            '[targets.off]\nkind = "vllm"\nmodel = "q"\nbase_url = "http://127.0.0.1:9/v1"\n'
            f'[targets.odd]\nkind = "openai"\nmodel = "no-such-model"\nbase_url = "{urls["cloud"]}"\n'
        )
        code, out, _ = ran(capsys, "doctor", "--json")
    found = {one["what"]: one for one in json.loads(out)}
    assert code == 3
    assert found["data root"]["state"] == "ok"
    assert (found["target gpu"]["state"], found["target gpu"]["detail"]) == ("ok", "answers: local, qwen")
    assert found["target off"]["state"] == "warning", "nobody is there, and only asking tells"
    assert "127.0.0.1:9 cannot be reached" in found["target off"]["detail"]
    assert found["target odd"]["state"] == "problem"
    assert "[prices]" in found["target odd"]["detail"]
    assert found["redis"]["state"] == "ok"
    assert list((root / "data").glob("runs/*")) == []


def test_doctor_says_when_the_data_root_is_a_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "file").write_text("")
    code, out, err = ran(capsys, "doctor", "--data", "file")
    assert (code, out) == (2, "")
    assert "choose another --data" in err


def test_doctor_warns_of_a_redis_that_forgets(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.support_redis import redis_server

    with redis_server("--maxmemory-policy", "allkeys-lru") as url:
        code, out, _ = ran(capsys, "doctor", "--redis", url, "--json")
    found = {one["what"]: one["state"] for one in json.loads(out)}
    assert code == 3
    assert (found["redis"], found["redis persistence"], found["redis eviction"]) == ("ok", "warning", "problem")


def test_dedupe_goes_on_below_its_table_also_with_runs_of_an_older_version(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = root / "data" / paths.chunk(OTHER, 0, 0)
    pl.read_parquet(old).drop("miss_row", "miss_run", "miss_cosine", "miss_guard").write_parquet(old)
    missed = {"row": 1, "custom_id": "near", "miss_row": 0, "miss_cosine": 0.97, "miss_guard": "negation", "tags": "{}"}
    write(root / "data" / paths.chunk(RUN, 0, 0), [missed], schemas.CHUNK)
    code, out, _ = ran(capsys, "report", "dedupe")
    assert code == 0 and "nearest misses" in out and "negation" in out
    code, out, _ = ran(capsys, "report", "dedupe", "--format", "html", "--run", OTHER)
    assert code == 0 and "negation" not in out
    code, out, _ = ran(capsys, "report", "dedupe", "--format", "csv")
    assert code == 0 and "negation" not in out, "machines get the table alone"
