"""What measured figures make of the settings: the useful parallelism, and who is good enough for a route."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipelines.errors import ConfigError
from pipelines.performance import Measured, Performance, Speed, fit, merged, read, useful_parallel
from pipelines.settings import Settings, parse_settings


def measured(model: str = "good", base_url: str = "http://127.0.0.1:1/v1", **more: Any) -> Measured:
    return Measured(target="t", server="vllm", base_url=base_url, model=model, measured_at="2026-01-01", **more)


def settings(**route: Any) -> Settings:
    local = {"kind": "vllm", "base_url": "http://127.0.0.1:1/v1"}
    targets = {"good": {**local, "model": "good"}, "poor": {**local, "model": "poor"}}
    cloud = {"kind": "openai", "model": "gpt-4o-mini", "base_url": "http://127.0.0.1:2/v1"}
    routes = {"main": {"targets": ["poor", "good", "cloud"], **route}}
    return parse_settings({"targets": {**targets, "cloud": cloud}, "routes": routes})


FIGURES = Performance(
    1,
    (
        measured("good", quality_by_kind={"label": 0.95, "code": 0.5}, parallel=6),
        measured("poor", quality_by_kind={"label": 0.6, "code": 0.9}, parallel=2),
    ),
)


@pytest.mark.parametrize(
    ("least", "targets"),
    [
        ({}, ("poor", "good", "cloud")),
        ({"label": 0.8}, ("good", "cloud")),
        ({"code": 0.8}, ("poor", "cloud")),
        ({"label": 0.8, "code": 0.8}, ("cloud",)),
        ({"extract": 0.8}, ("poor", "good", "cloud")),  # not measured: not judged
    ],
)
def test_a_route_uses_those_that_are_good_enough(least: dict[str, float], targets: tuple[str, ...]) -> None:
    found = fit(settings(min_quality=least), FIGURES)
    assert found.routes["main"].targets == targets
    assert found.routes["poor"].targets == ("poor",), "who asks for a target by name gets it"


def test_a_route_for_which_nobody_is_good_enough_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"routes\.main: no target reaches min_quality .*good: label 0\.95 of 0\.99"):
        fit(settings(min_quality={"label": 0.99}, targets=["good"]), FIGURES)


def test_measured_parallelism_is_what_auto_means() -> None:
    found = fit(settings(), FIGURES)
    assert [found.targets[name].concurrency for name in ("good", "poor", "cloud")] == [6, 2, 64]
    fixed = settings()
    fixed.targets["good"] = fixed.targets["good"].model_copy(update={"max_concurrency": 3})
    assert fit(fixed, FIGURES).targets["good"].concurrency == 3
    elsewhere = Performance(1, (measured("good", "http://127.0.0.1:9/v1", parallel=6),))
    assert fit(settings(), elsewhere).targets["good"].concurrency == "auto"


@pytest.mark.parametrize(
    ("speeds", "parallel"),
    [
        ([(1, 100)], 1),
        ([(1, 100), (2, 101), (4, 99), (8, 104)], 1),  # a server that takes one at a time
        ([(1, 100), (2, 190), (4, 350), (8, 360), (16, 355)], 4),
        ([(1, 100), (2, 190), (4, 350), (8, 600), (16, 1_000)], 16),
        ([(1, 0.0)], None),
        ([], None),
    ],
)
def test_the_fewest_calls_that_reach_the_best(speeds: list[tuple[int, float]], parallel: int | None) -> None:
    assert useful_parallel([Speed(number, rate, 1.0, 1.0) for number, rate in speeds]) == parallel


def test_where_no_end_was_seen_the_server_is_believed() -> None:
    rising = [Speed(number, number * 100.0, 1.0, 1.0) for number in (1, 2, 4, 8)]
    assert useful_parallel(rising, 16) == 16
    assert useful_parallel(rising, 4) == 8
    assert useful_parallel([*rising, Speed(16, 810.0, 1.0, 1.0)], 32) == 8


def test_figures_are_kept_by_server_and_model() -> None:
    new = merged(FIGURES, [measured("good", parallel=9), measured("third")])
    assert [(each.model, each.parallel) for each in new.models] == [("good", 9), ("poor", 2), ("third", None)]
    assert read(msgspec.json.encode(new)) == new
    assert read(None) == Performance()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"models": 3}', b"\xff"])
def test_a_file_that_is_not_ours_is_a_mistake(raw: bytes) -> None:
    with pytest.raises(ConfigError, match="model_performance"):
        read(raw)
