"""What a dry run takes a batch for: seconds of a lane, from measured calls, its work and the target's limits."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from pipelines import beside, paths, schemas
from pipelines.batch import Asked, groups
from pipelines.lengths import Measured
from pipelines.settings import Settings
from pipelines.types import BatchHead, Item, Options
from tests.support_frames import at, call
from tests.support_worker import write as write_part
from tests.worker.sources.reading import lines, source, write
from worker.clock import Clock
from worker.dryrun import _answered, _known, _lane_s, _office, _parts, plan_run
from worker.measured import Earlier, read
from worker.money.ledger import Ledger
from worker.store import Store
from worker.targets import Targets

CONFIG: dict[str, Any] = {
    "targets": {
        "gpu": {"kind": "vllm", "base_url": "http://127.0.0.1:1/v1", "model": "q", "max_concurrency": 4},
        "mini": {
            "kind": "openai", "lane": "cloud", "base_url": "http://127.0.0.1:1/v1", "model": "m", "rpm": 60, "tpm": 600_000,
            "input_usd_per_mtok": 1, "output_usd_per_mtok": 10,
        },
    },
    "routes": {"small": {"targets": ["gpu", "mini"]}, "homely": {"targets": ["gpu"]}},
}  # fmt: skip
KNOWN = {("small", ""): Measured(50, 20.0, 10.0, 4.0, 2.0), ("small", "gpu"): Measured(40, 20.0, 10.0, 4.0, 2.0)}


def head(name: str, work: float, tokens: int = 10, route: str = "small", limit: int = 0) -> BatchHead:
    return BatchHead(name, "r", route, 0, 10, tokens, 200, work, 0, 0, max_tokens=limit)


@pytest.fixture
def targets() -> Targets:
    return Targets(Settings.model_validate(CONFIG), Clock())


def test_a_measured_call_is_one_of_usual_work_and_longer_prompts_take_longer(targets: Targets) -> None:
    ledger = Ledger(Settings.model_validate(CONFIG), targets)
    short, long = _parts(targets, ledger, KNOWN, *[[head("a", 100.0), head("b", 300.0)]] * 2)
    assert short.home_s + long.home_s == pytest.approx(20 * 4.0 / 4), "twenty rows of four seconds, four at once"
    assert long.home_s == pytest.approx(3 * short.home_s)
    assert short.away_pusd == (10 * 10**6, 200 * 10**7), "input and output"


def test_a_lane_is_no_faster_than_its_limits(targets: Targets) -> None:
    usual = {"small": 10.0}
    assert _lane_s("cloud", targets, KNOWN, head("a", 100.0), 64, usual) == 10.0, "sixty rows a minute"
    limited, free = head("a", 100.0, 299_800, limit=200), head("a", 100.0, 300_000 - 10 * 4096)
    assert _lane_s("cloud", targets, KNOWN, limited, 64, usual) == 30.0, "600,000 tokens a minute"
    assert _lane_s("cloud", targets, KNOWN, free, 64, usual) == 30.0, "each of the ten may write 4,096"
    assert _lane_s("cloud", targets, KNOWN, head("a", 100.0, route="homely"), 64, usual) == math.inf


def test_a_servers_slots_are_no_other_routes(tmp_path: Path) -> None:
    """Each of two routes was taken to have the slots of both: half its time, and nothing bought where one alone was short."""
    server, settings = CONFIG["targets"]["gpu"], {}
    for second in ("gpu", "other"):
        settings[second] = Settings.model_validate({
            "spillway": {"data": str(tmp_path)}, "targets": {**CONFIG["targets"], "other": server},
            "routes": {
                name: {"targets": [target, "mini"], "models": [name], "dedupe": "off"}
                for name, target in (("a", "gpu"), ("b", second))
            },
        })  # fmt: skip
    rows = [{"prompt": "What is one and one?", "model": name} for name in "a" * 70 + "b" * 30]
    file = write(tmp_path / "rows.jsonl", lines(*rows))

    def said(second: str, deadline_s: float | None = None) -> dict[str, Any]:
        return plan_run(settings[second], (source(file),), Options(), "default", deadline_s)

    whole_s = said("gpu")["seconds_p50"]
    assert said("other")["seconds_p50"] == pytest.approx(0.7 * whole_s, rel=0.05), "side by side"
    local, cloud = said("other", whole_s / 2)["lanes"]
    assert cloud["rows"] == pytest.approx(20, abs=3) and local["slots"] == 8


def test_it_is_said_that_a_second_local_server_is_asked_nothing(tmp_path: Path) -> None:
    """It stood idle a whole minute while 136 rows were bought, and nobody had been told."""
    server = CONFIG["targets"]["gpu"]
    settings = Settings.model_validate({
        "spillway": {"data": str(tmp_path)}, "targets": {**CONFIG["targets"], "gpu2": server},
        "routes": {"small": {"targets": ["gpu", "gpu2", "mini"], "dedupe": "off"}},
    })  # fmt: skip
    file = write(tmp_path / "rows.jsonl", lines({"prompt": "x"}))
    said = plan_run(settings, (source(file),), Options(), "default", None)["assumption"]
    assert said.endswith("; route small: gpu2 asked nothing while gpu is up")


def test_how_sure_a_route_is(targets: Targets) -> None:
    assert _known(targets, Earlier(KNOWN, KNOWN, {}), [head("a", 1.0)]) == (10, 40, 0.5, 0.5)
    assert _known(targets, Earlier({}, {}, {}), [head("a", 1.0)]) == (10, 0, None, None)


def test_only_a_route_that_may_use_a_batch_api_gets_its_price_and_what_its_orders_took() -> None:
    def target(**more: Any) -> dict[str, Any]:
        return {**CONFIG["targets"]["mini"], "batch_discount": 0.5, **more}

    settings = Settings.model_validate({
        "targets": {"plain": target(), "batched": target(provider_batch=True), "dear": target(provider_batch=True, batch_discount=0)},
        "routes": {
            "a": {"targets": ["plain"]}, "b": {"targets": ["batched", "plain"]}, "c": {"targets": ["dear"]},
            "d": {"targets": ["plain", "batched"]},
        },
    })  # fmt: skip
    targets = Targets(settings, Clock())
    ledger = Ledger(settings, targets)
    assert _office(settings, targets, ledger, {}, "a") is _office(settings, targets, ledger, {}, "c") is None
    assert _office(settings, targets, ledger, {}, "d") is None and not targets.order_rate("d"), "a fallback's"
    assert _office(settings, targets, ledger, {}, "b") == (0.5, 3600.0, 6 * 3600.0, 3)
    assert _office(settings, targets, ledger, {"batched": [60.0] * 100}, "b") == (0.5, 60.0, pytest.approx(61.2), 3)
    taken_back = _office(settings, targets, ledger, {"batched": [-300.0]}, "b")
    assert taken_back == (0.5, 3600.0, 6 * 3600.0, 3), "that it was not back in five minutes says nothing of an hour"


def test_the_price_of_one_routes_batch_api_is_no_other_routes(tmp_path: Path) -> None:
    """Of one run, half the rows may use one; all of them were foreseen at its price."""
    mini, usd = CONFIG["targets"]["mini"], {}
    settings = Settings.model_validate({
        "spillway": {"data": str(tmp_path)},
        "targets": {"plain": mini, "batched": {**mini, "batch_discount": 0.5, "provider_batch": True}},
        "routes": {name: {"targets": [name], "models": [name], "dedupe": "off"} for name in ("plain", "batched")},
    })  # fmt: skip
    for second in ("plain", "batched"):
        rows = [{"prompt": "What is one and one?", "model": name} for name in ("plain", second) for _ in range(50)]
        file = write(tmp_path / f"{second}.jsonl", lines(*rows))
        usd[second] = float(plan_run(settings, (source(file),), Options(), "default", None)["cost_usd_p50"])
    assert usd["batched"] == pytest.approx(0.75 * usd["plain"], rel=0.01) and usd["plain"] > 0


def test_what_is_bought_is_priced_with_answers_of_the_clouds_length(tmp_path: Path) -> None:
    """Nine in ten earlier answers were the local model's, of 100 tokens, the others the cloud's, of 600: all were taken for 150."""
    mini = {name: value for name, value in CONFIG["targets"]["mini"].items() if name not in ("rpm", "tpm")}
    settings = Settings.model_validate({
        **CONFIG, "spillway": {"data": str(tmp_path)}, "targets": {**CONFIG["targets"], "mini": mini},
        "routes": {"small": {"targets": ["gpu", "mini"], "dedupe": "off"}},
    })  # fmt: skip
    calls = [call(n, n, run_id=EARLIER, output_tokens=100, finished_at=at(4)) for n in range(900)]
    cloud = {"lane": "cloud", "target": "mini", "output_tokens": 600}
    remember(tmp_path, calls + [call(900 + n, n, run_id=EARLIER, **cloud, finished_at=at(4)) for n in range(100)])
    file = write(tmp_path / "rows.jsonl", lines(*[{"prompt": "x", "max_tokens": 500}] * 100))
    free = plan_run(settings, (source(file),), Options(), "default", None)
    dear = plan_run(settings, (source(file),), Options(), "default", 1e-6)
    (local, _), (_, bought) = free["lanes"], dear["lanes"]
    assert (local["output_tokens"], bought["output_tokens"]) == (100 * 100, 100 * 500), "no longer than rows allow"
    read_usd = bought["input_tokens"] / 1e6
    assert float(free["all_cloud_usd"]) == pytest.approx(read_usd + 100 * 500 * 10 / 1e6)
    assert float(dear["cost_usd_p50"]) == pytest.approx(read_usd + 100 * 500 * 10 / 1e6, rel=0.01)
    assert _answered({}, Targets(settings, Clock()), head("a", 1.0), Options(), "cloud") == head("a", 1.0), (
        "a guess is one"
    )


CALLS, CALL_S = 64, 6.4
EARLIER = "20260301-000000-aaaaaa"


def remember(folder: Path, calls: list[dict[str, Any]], group_of: dict[int, str] | None = None) -> None:
    """The ledger and the record of an earlier run; `group_of`: each row's, as settle notes it down."""
    path = folder / paths.costs_part("2026-03-01", EARLIER, "00000001")
    write_part(path, calls, schemas.COSTS)
    if group_of is not None:
        pq.write_table(beside.grouped(pq.read_table(path), group_of), path)
    record = folder / paths.run_record(EARLIER)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_bytes(msgspec.json.encode({"run_id": EARLIER, "options": {}, "status": "completed"}))


def planned(folder: Path, client: str) -> dict[str, Any]:
    """A dry run of as many rows, after a run of acme's whose calls were all in flight at once."""
    gpu = {**CONFIG["targets"]["gpu"], "max_concurrency": "auto"}
    routes = {"small": {"targets": ["gpu"], "dedupe": "off"}}
    settings = Settings.model_validate({"spillway": {"data": str(folder)}, "targets": {"gpu": gpu}, "routes": routes})
    calls = [call(n, n, run_id=EARLIER, client="acme", output_tokens=30, finished_at=at(CALL_S)) for n in range(CALLS)]
    remember(folder, calls)
    file = write(folder / "rows.jsonl", lines(*[{"prompt": "x"}] * CALLS))
    return plan_run(settings, (source(file),), Options(), client, None)


def test_a_server_that_finds_its_number_of_calls_is_as_fast_as_it_was(tmp_path: Path) -> None:
    """Its calls took so long with all of them in flight; they were counted as if eight were."""
    local = next(lane for lane in planned(tmp_path, "acme")["lanes"] if lane["lane"] == "local")
    assert local["slots"] == CALLS and local["seconds_p50"] == pytest.approx(CALL_S, rel=0.01)


def test_how_long_a_clients_answers_are_is_no_others_to_know(tmp_path: Path) -> None:
    mine, theirs = planned(tmp_path, "acme"), planned(tmp_path, "rival")
    assert (mine["routes"][0]["output_from"], theirs["routes"][0]["output_from"]) == ("measured", "assumed")
    assert f"lengths of {CALLS} earlier answers" in mine["assumption"] and str(CALLS) not in theirs["assumption"]
    assert theirs["lanes"][0]["seconds_p50"] == pytest.approx(CALL_S, rel=0.01), "how fast a server is, is"


def test_how_another_clients_prompts_begin_is_no_others_to_know(tmp_path: Path) -> None:
    """A group's name says it, and how long its calls take is not what one's own on the route do."""
    calls = [
        call(n, n, run_id=EARLIER, client=client, output_tokens=30, finished_at=at(took_s))
        for client, took_s, numbers in (("acme", 2, range(30)), ("rival", 40, range(30, 60)))
        for n in numbers
    ]
    remember(tmp_path, calls, {n: "small text 9 acme" if n < 30 else "small text 9 rival" for n in range(60)})
    earlier = read(Store(str(tmp_path)), Options(), "acme")
    assert {name for name, _ in (*earlier.times, *earlier.lengths)} == {"small text 9 acme", "small", ""}
    assert earlier.times["small text 9 acme", ""].call_s == pytest.approx(2.0)


def of_two_kinds(folder: Path, rows: list[dict[str, Any]], *, grouped: bool = True) -> dict[str, Any]:
    """A dry run after one of a hundred prompts with short answers and a hundred with long ones, all in the cloud."""
    mini = {name: value for name, value in CONFIG["targets"]["mini"].items() if name not in ("rpm", "tpm")}
    route = {"targets": ["mini"], "dedupe": "off"}
    settings = Settings.model_validate(
        {"spillway": {"data": str(folder)}, "targets": {"mini": mini}, "routes": {"small": route}}
    )
    asked = [
        Asked(Item(n, b"", 0, 0), "small", msgspec.json.encode({"messages": user(KINDS[n % 2])}), 0, "text")
        for n in range(200)
    ]
    group_of = {one.item.row: group for group, members in groups(asked).items() for one in members}
    calls = [
        call(n, n, run_id=EARLIER, lane="cloud", target="mini", output_tokens=(8, 300)[n % 2], finished_at=at((0.3, 3)[n % 2]))
        for n in range(200)
    ]  # fmt: skip
    remember(folder, calls, group_of if grouped else None)
    file = write(folder / "rows.jsonl", lines(*rows))
    return plan_run(settings, (source(file),), Options(), "default", None)


KINDS = ("Kind A: is this parcel lost? Answer yes or no.", "Kind B: write at length about this item and its maker.")


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(("kind", "rows", "tokens", "call_s"), [(0, 300, 8, 0.3), (1, 300, 300, 3.0), (1, 5, 300, 3.0)])
def test_a_run_of_one_kind_is_foreseen_by_that_kinds_answers(
    tmp_path: Path, kind: int, rows: int, tokens: int, call_s: float
) -> None:
    """Half of the route's earlier answers were short and half long: whichever kind was asked, it was taken for both."""
    said = of_two_kinds(tmp_path, [{"prompt": KINDS[kind]}] * rows)
    cloud = next(lane for lane in said["lanes"] if lane["lane"] == "cloud")
    usd = cloud["input_tokens"] / 1e6 + rows * tokens * 10 / 1e6
    assert cloud["output_tokens"] == rows * tokens
    assert float(said["cost_usd_p50"]) == pytest.approx(usd, rel=0.01) == float(said["cost_usd_p90"])
    assert said["seconds_p50"] == pytest.approx(rows * call_s / cloud["slots"], abs=0.06)


def test_of_a_kind_that_nobody_has_asked_the_routes_answers_are_a_guess(tmp_path: Path) -> None:
    new = [{"prompt": f"Kind C: translate this sentence into French, please. {number}"} for number in range(300)]
    said = of_two_kinds(tmp_path, new + [{"prompt": KINDS[0]}] * 100)
    assert float(said["cost_usd_p90"]) > 2.5 * float(said["cost_usd_p50"]) > 2.5 * 300 * 154 * 10 / 1e6
    assert said["assumption"].endswith(
        "; 300 rows of route small are of a new kind: P90 assumes 3 times their tokens and time"
    )
    known = of_two_kinds(tmp_path, [{"prompt": text} for text in KINDS] * 100)
    assert known["assumption"] == "route small: lengths of 200 earlier answers"


def test_a_ledger_that_names_no_groups_measures_routes_as_before(tmp_path: Path) -> None:
    said = of_two_kinds(tmp_path, [{"prompt": KINDS[1]}] * 300, grouped=False)
    assert next(lane for lane in said["lanes"] if lane["lane"] == "cloud")["output_tokens"] == 300 * 154
    assert said["assumption"] == "route small: lengths of 200 earlier answers"
