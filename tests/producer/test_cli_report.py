"""`spillway report` and `doctor` over real Parquet files, without Redis."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from redis import Redis

from pipelines import beside, paths, schemas
from producer.cli import main
from producer.cli.doctor import doctor  # noqa: F401 - importing it must not need Redis
from tests.support_frames import RUN, at, call, duplicate, result
from tests.support_net import free_port
from tests.support_program import GPU, Program
from tests.support_redis import redis_server
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
        calls = [{**one, "call_id": one["call_id"].replace(RUN, run)} for one in calls]
        write(tmp_path / "data" / paths.results(run), rows, schemas.RESULTS)
        write(tmp_path / "data" / paths.costs_part("2026-03-01", run, "00000001"), calls, schemas.COSTS)
        chunk: list[dict[str, Any]] = [{"row": n, "tags": "{}", "kind": "asked", "route": "small"} for n in range(3)]
        chunk[2] |= {"link_kind": "semantic", "kind": "link", "similarity": 0.97}
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


def test_a_table_below_a_report_can_be_had_alone(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither JSON, CSV nor Parquet had any of them."""
    _, out, _ = ran(capsys, "report", "lanes", "--format", "json", "--section", "one more hour")
    (hour,) = json.loads(out)
    assert (hour["target"], hour["more_rows"], hour["saved_usd"]) == ("gpu", 2, "0.002000000000")
    _, out, _ = ran(capsys, "report", "lanes", "--format", "csv", "--section", "Calls in flight")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 24 and list(rows[0]) == ["from", "cloud", "cloud_used_share", "local", "local_used_share"]
    code, _, err = ran(capsys, "report", "lanes", "--format", "parquet", "--section", "hour", "--out", "hour.parquet")
    assert code == 0, err
    assert pl.read_parquet(root / "hour.parquet").schema["per_hour_usd"] == pl.Decimal(38, 12)
    code, _, err = ran(capsys, "report", "lanes", "--format", "json", "--section", "colours")
    assert code == 2 and "has no table 'colours' here; below it are 'What one more hour" in err
    assert "below it are none" in ran(capsys, "report", "cost", "--format", "json", "--section", "hour")[2]
    assert "--section is for parquet, csv, json" in ran(capsys, "report", "lanes", "--section", "hour")[2]


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


def test_doctor_derives_what_a_call_costs_from_its_tokens(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure that was changed everywhere, and a ledger whose prices are gone."""
    folder = root / "data"
    results, costs = folder / paths.results(RUN), folder / paths.costs_part("2026-03-01", RUN, "00000001")
    prices = pq.read_schema(costs).metadata[beside.KEY].decode()
    for file in (results, costs):
        of_row_1 = pl.when(pl.col("row") == 1).then(Decimal("0.0011")).otherwise(pl.col("cost_usd"))
        changed = pl.read_parquet(file).with_columns(of_row_1.cast(pl.Decimal(38, 12)).alias("cost_usd"))
        changed.write_parquet(file, metadata={beside.KEY.decode(): prices})
    code, out, _ = ran(capsys, "doctor", "--run", RUN)
    assert code == 3 and "row 1 has a call that costs 0.0011, but its tokens come to 0.00 to 0.002 at p" in out
    pl.read_parquet(costs).write_parquet(costs)
    assert "names the price p of 2026-01-01, which is not beside it" in ran(capsys, "doctor", "--run", RUN)[1]


@pytest.mark.parametrize("run", ["20260101-000000-aaaaaa", "../.."])
def test_doctor_of_an_unknown_run_is_2(root: Path, capsys: pytest.CaptureFixture[str], run: str) -> None:
    assert ran(capsys, "doctor", "--run", run)[0] == 2


def test_doctor_looks_at_the_installation(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = root / "data" / paths.ended_run("default", 1, RUN)
    mark.parent.mkdir(parents=True)
    mark.touch()
    with Upstream({"servers": {"gpu": GPU}}) as upstream:
        config = upstream.settings()["targets"]["gpu"]
        nowhere = {"kind": "vllm", "model": "q", "base_url": f"http://127.0.0.1:{free_port()}/v1"}
        odd = {"kind": "openai", "model": "no-such-model", "base_url": "http://127.0.0.1:9/v1"}
        program = Program(root, None, targets={"gpu": config, "asleep": nowhere, "odd": odd})
        code, out, _ = ran(capsys, "doctor", "--json")
        calls = upstream.bill("gpu")["calls"]
    found = {one["what"]: one for one in json.loads(out)}
    assert code == 3 and calls == 0 and program.config.exists()
    assert found["data root"]["state"] == "ok"
    assert found["target gpu"]["state"] == "ok" and "answers in" in found["target gpu"]["detail"]
    assert found["target asleep"]["state"] == "warning" and "does not answer" in found["target asleep"]["detail"]
    assert found["target odd"]["state"] == "problem"
    assert "[prices]" in found["target odd"]["detail"] and "(not asked)" in found["target odd"]["detail"]
    assert (found["index"]["state"], found["index"]["detail"]) == ("ok", "1 ended runs of 1 clients can be reused")
    assert found["redis"]["state"] == "ok"
    assert list((root / "data").glob("runs/*")) == []


def test_doctor_says_when_the_data_root_is_a_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "file").write_text("")
    code, out, err = ran(capsys, "doctor", "--data", "file")
    assert (code, out) == (2, "")
    assert "choose another --data" in err


@pytest.mark.parametrize(
    ("options", "states", "words"),
    [
        (("--maxmemory-policy", "allkeys-lru"), ("ok", "warning", "problem"), "a restart loses open runs"),
        (("--appendonly", "yes"), ("ok", "warning", "ok"), "appendfsync everysec: it may forget up to two seconds"),
        (("--appendonly", "yes", "--appendfsync", "no"), ("ok", "warning", "ok"), "up to half a minute"),
        (("--appendonly", "yes", "--appendfsync", "always"), ("ok", "ok", "ok"), "every write synced"),
        (("--maxmemory", "1mb"), ("ok", "warning", "warning"), "of 1 MiB used"),
        (("--replicaof", "127.0.0.1", "9"), ("problem", "warning", "ok"), "a replica"),
    ],
)
def test_doctor_warns_of_a_redis_that_forgets(
    root: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], states: tuple[str, ...], words: str
) -> None:
    with redis_server(*options) as url:
        _, out, _ = ran(capsys, "doctor", "--redis", url, "--json")
    found = {one["what"]: one["state"] for one in json.loads(out)}
    assert (found["redis"], found["redis persistence"], found["redis eviction"]) == states
    assert found["clock"] == "ok" and words in out


def test_doctor_names_targets_that_workers_have_closed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with redis_server("--appendonly", "yes") as url:
        with Redis.from_url(url) as redis:
            redis.hset("spillway:targets", "mini", '{"up": false, "closed": true, "reason": "HTTP 402: no credit"}')
        code, out, _ = ran(capsys, "doctor", "--redis", url)
    assert code == 3 and "closed by the workers: HTTP 402: no credit" in out


@pytest.mark.parametrize("broken", ["a file that is none", "a run whose files are gone"])
def test_doctor_looks_at_what_may_be_reused(root: Path, capsys: pytest.CaptureFixture[str], broken: str) -> None:
    gone = "20260303-080000-aaaaaa"
    mark = (
        root
        / "data"
        / (paths.answered_part("default", 2, 1, RUN) if "none" in broken else paths.ended_run("default", 1, gone))
    )
    mark.parent.mkdir(parents=True)
    mark.write_bytes(b"PAR1 or not" if "none" in broken else b"")
    _, out, _ = ran(capsys, "doctor", "--json")
    found = {one["what"]: one for one in json.loads(out)}["index"]
    assert found["state"] == "warning" and (mark.name if "none" in broken else gone) in found["detail"]


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
