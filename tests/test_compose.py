"""docker-compose.yml and Dockerfile: what a deployment relies on is really written there. No container is started."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.settings import load_settings
from worker.simulator import parse_scenario, read_scenario

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "data" / "samples"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_redis_keeps_what_it_is_told_and_throws_nothing_away(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    command = redis["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}
    assert redis["image"].startswith("redis:7")
    assert redis["volumes"] == ["redis:/data"] and "redis" in compose["volumes"]
    assert "redis-cli ping" in " ".join(redis["healthcheck"]["test"])


def test_redis_is_reached_from_inside_only(compose: dict[str, Any]) -> None:
    redis = compose["services"]["redis"]
    assert "ports" not in redis
    assert redis["networks"] == ["queue"] and compose["networks"]["queue"]["internal"] is True
    assert "queue" in compose["services"]["worker"]["networks"]


def test_the_worker_comes_back_ends_softly_and_reaches_the_host(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert worker["restart"] == "unless-stopped"
    assert worker["stop_grace_period"] == "40s"
    assert worker["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "host.docker.internal:host-gateway" in worker["extra_hosts"]
    assert worker["env_file"] == [".env"]
    assert "default" in worker["networks"], "an internal network alone has no way to the providers"
    assert "ports" not in worker


def test_the_worker_finds_its_data_and_its_configuration(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    mounts = worker["volumes"]
    assert "data:/data" in mounts and worker["environment"]["SPILLWAY_DATA"] == "/data"
    file = next(mount for mount in mounts if isinstance(mount, dict))
    assert file["target"] == "/app/spillway.toml" and file["bind"]["create_host_path"] is False
    assert re.search(r"^WORKDIR /app$", DOCKERFILE, re.MULTILINE), "spillway.toml is read from the working folder"


def test_its_environment_is_understood_and_wins_over_the_example(compose: dict[str, Any]) -> None:
    environ = compose["services"]["worker"]["environment"]
    settings = load_settings(SAMPLES / "spillway.toml", environ=environ, env_file=None)
    assert settings.spillway.redis_url == "redis://redis:6379/0"
    assert settings.spillway.data == "/data"


def test_the_api_shares_the_workers_data_and_is_asked_whether_it_works(compose: dict[str, Any]) -> None:
    api, worker = compose["services"]["api"], compose["services"]["worker"]
    assert api["command"] == ["serve", "--host", "0.0.0.0"]  # noqa: S104 - of the container
    assert api["ports"] == ["${SPILLWAY_PORT:-127.0.0.1:8700}:8700"], "open to this host alone, unless told otherwise"
    assert "/health" in " ".join(api["healthcheck"]["test"])
    assert api["depends_on"]["redis"]["condition"] == "service_healthy"
    for shared in ("volumes", "environment", "env_file", "networks", "restart", "image"):
        assert api[shared] == worker[shared]


def test_the_simulator_is_a_profile_and_nothing_starts_it_unasked(compose: dict[str, Any]) -> None:
    assert compose["services"]["simulator"]["profiles"] == ["simulate"]
    assert all("profiles" not in compose["services"][name] for name in ("redis", "worker", "api"))


def test_the_simulated_configuration_leads_to_the_simulator() -> None:
    scenario = parse_scenario(read_scenario(SAMPLES / "simulator.toml"))
    settings = load_settings(SAMPLES / "spillway-simulated.toml", environ={}, env_file=None)
    assert scenario.host == "0.0.0.0"  # noqa: S104 - of the container
    assert {name: (target.base_url, target.model) for name, target in settings.targets.items()} == {
        name: (f"http://simulator:{server.port}/v1", server.model) for name, server in scenario.servers.items()
    }
    assert not any(route.audit_share for route in settings.routes.values()), "stand-ins say nothing about reuse"


def test_the_image_is_pinned_unprivileged_and_without_cuda() -> None:
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert pinned == ">=3.11" and re.search(r"^FROM python:3\.11-slim$", DOCKERFILE, re.MULTILINE)
    assert "ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu" in DOCKERFILE
    assert "-c constraints.txt" in DOCKERFILE
    assert re.search(r"^USER spillway$", DOCKERFILE, re.MULTILINE)
    assert 'ENTRYPOINT ["spillway"]' in DOCKERFILE, "the shell form would swallow SIGTERM"


def test_everything_that_is_copied_exists() -> None:
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), f"Dockerfile copies {name}, which is not there"
