"""The stand-in servers as a scenario has them, and as they are changed while they run."""

from __future__ import annotations

import asyncio
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.errors import ConfigError
from pipelines.settings import parse_settings
from tests.support_net import CERTIFICATES
from tests.support_upstream import Upstream
from tests.worker.simulated import CLOUD, GPU, Client, one, text_of
from worker.simulator import DEMO, parse_scenario, scenario_settings, serve
from worker.simulator.core.config import Scenario, ServerConfig
from worker.simulator.core.faults import BATCH_KINDS, KINDS

# The scenario


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "[servers.NAME]"),
        ({"servers": {"s": {"personality": "opanai"}}}, "known personalities"),
        ({"servers": {"s": {**CLOUD, "slotz": 4}}}, "slotz"),
        ({"servers": {"s": {**CLOUD, "slots": 0}}}, "slots must be more than 0"),
        ({"servers": {"s": {**CLOUD, "fault_rates": {"500": 0.9, "429": 0.2}}}}, "add up to 1"),
        ({"servers": {"s": {**CLOUD, "faults": [{"at": 0, "kind": "500"}]}}}, "at = 1 is the first"),
        ({"servers": {"s": {**CLOUD, "faults": [{"kind": "500"}]}}}, "needs at"),
        ({"servers": {"s": {**CLOUD, "faults": [{"at": 1, "kind": "fire"}]}}}, "unknown fault 'fire'"),
        ({"servers": {"s": {**CLOUD, "answer": "poem"}}}, "answer is one of"),
        ({"servers": {"s": {**CLOUD, "rpm": "many"}}}, "servers.s.rpm"),
    ],
)
def test_mistakes_in_a_scenario_are_told_in_one_line(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_port_that_is_taken_is_named() -> None:
    async with one() as client:
        port = client.running.servers["s"].listener
        assert port is not None
        with pytest.raises(ConfigError, match=r"servers\.t: port \d+"):
            async with serve({"servers": {"t": {**CLOUD, "port": port.port}}}):
                pass


def test_the_demo_leads_spillway_to_its_servers() -> None:
    urls = {"gpu": "http://127.0.0.1:1/v1", "cloud": "http://127.0.0.1:2/v1"}
    settings = parse_settings(scenario_settings(DEMO, urls))
    assert (settings.targets["gpu"].lane, settings.targets["gpu"].max_concurrency) == ("local", 16)
    assert str(settings.targets["cloud"].input_usd_per_mtok) == "0.15"
    assert settings.targets["cloud"].base_url == urls["cloud"]
    assert settings.routes["small"].targets == ("gpu", "cloud")


async def test_a_bill_in_a_file_outlives_its_process(tmp_path: Any) -> None:
    config = {"servers": {"s": CLOUD}, "bill_file": str(tmp_path / "bill.jsonl")}
    for expected in (1, 2):
        async with serve(config) as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
            await Client(running, http).chat("Hello.")
            assert (await Client(running, http).bill())["answered"] == expected


def test_as_a_process_of_its_own() -> None:
    with Upstream({"servers": {"cloud": CLOUD, "gpu": GPU}}) as upstream:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello."}]}
        response = httpx.post(upstream.url("cloud") + "/chat/completions", json=body, trust_env=False)
        assert response.status_code == 200
        assert upstream.bill("cloud")["answered"] == 1
        assert [call["server"] for call in upstream.calls()] == ["cloud"]
        upstream.control("gpu", slots=2)
        assert upstream.status("gpu")["slots"] == 2
        with pytest.raises(ValueError, match="no server"):
            upstream.control("nobody", slots=2)
        assert set(upstream.settings()["targets"]) == {"cloud", "gpu"}
        upstream.reset()
        assert upstream.calls() == []
        process = upstream.process
    assert process is not None and process.returncode == 0


@pytest.mark.parametrize("name", ["docs/simulator.md", "data/samples/night.toml", "data/samples/simulator.toml"])
def test_the_scenarios_that_we_show_are_ones(name: str) -> None:
    text = (Path(__file__).parents[2] / name).read_text(encoding="utf-8")
    text = text.partition("```toml\n")[2].partition("```")[0] if name.endswith(".md") else text
    scenario = tomllib.loads(text)
    urls = {server: f"http://127.0.0.1:{number + 1}/v1" for number, server in enumerate(scenario["servers"])}
    settings = parse_settings(scenario_settings(scenario, urls))
    assert settings.targets.keys() == urls.keys()


def test_the_documentation_names_every_key_and_fault() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    keys = {*ServerConfig.__struct_fields__, *Scenario.__struct_fields__} - {"personality", "servers", "seed"}
    missing = [
        name for name in sorted({*keys, *KINDS, *BATCH_KINDS}) if f"`{name}`" not in text and f"`{name} = " not in text
    ]
    assert missing == []


# Control


async def test_a_server_that_is_down_refuses_connections_and_comes_back_on_its_port() -> None:
    async with one(latency_ms=500) as client:
        waiting = asyncio.create_task(client.chat("Hello."))
        await asyncio.sleep(0.1)
        await client.control(server="s", down=True)
        with pytest.raises(httpx.TransportError):
            await waiting
        with pytest.raises(httpx.ConnectError):
            await client.chat("Hello.")
        await client.control(server="s", down=False, latency_ms=0)
        assert (await client.chat("Hello.")).status_code == 200
        account = await client.bill()
        assert (account["answered"], account["delivered"], account["unfinished"]) == (1, 1, 0)


async def test_down_windows_of_the_scenario() -> None:
    """Asked again and again: what is in flight when a window opens is dropped, and a busy machine is late."""
    seen: list[tuple[int, int]] = []
    async with one(down=[[1.5, 3.0]], down_mode="503") as client:
        until_s = time.monotonic() + 15
        while len(seen) < 3 and time.monotonic() < until_s:
            try:
                both = (await client.chat("Hello.")).status_code, (await client.get("/v1/models")).status_code
            except httpx.TransportError:
                continue
            if both[0] == both[1] and both not in seen[-1:]:
                seen.append(both)
            await asyncio.sleep(0.02)
    assert seen == [(200, 200), (503, 503), (200, 200)]


async def test_a_running_server_is_changed_and_mistakes_change_nothing() -> None:
    async with one() as client:
        await client.control(server="s", faults=[{"match": "x", "kind": "500"}], answer="text:new")
        assert (await client.chat("x")).status_code == 500
        assert text_of(await client.chat("y")) == "new"
        for wrong in (
            {"slotz": 3},
            {"faults": [{"at": 1, "kind": "fire"}]},
            {"server": "t"},
            {"port": 1},
            {"down": "yes"},
        ):
            refused = await client.control(**{"server": "s", **wrong})
            assert refused.status_code == 400
            assert refused.json()["error"]
        assert text_of(await client.chat("y")) == "new"


async def test_reset_empties_bill_and_figures() -> None:
    async with one(faults=[{"at": 1, "kind": "500"}]) as client:
        await client.chat("Hello.")
        await client.chat("Hello.")
        await client.http.post(f"{client.running.control_url}/reset")
        assert await client.calls() == []
        assert (await client.bill())["calls"] == 0
        assert (await client.chat("Hello.")).status_code == 500


async def test_the_status_page_shows_every_server_and_escapes_what_strangers_wrote() -> None:
    scenario = {"servers": {"s": {**CLOUD, "model": "<b>m</b>"}}, "sample_ms": 20}
    async with serve(scenario) as running, httpx.AsyncClient(trust_env=False, verify=CERTIFICATES) as http:
        await Client(running, http).chat("Hello.", headers={"authorization": "Bearer sk-<i>"})
        await asyncio.sleep(0.1)
        page = (await http.get(running.control_url + "/status", headers={"accept": "text/html"})).text
        assert "&lt;b&gt;m&lt;/b&gt;" in page
        assert "<b>m</b>" not in page
        assert "<svg" in page
        assert "<td>&lt;b&gt;m&lt;/b&gt;</td><td>1</td>" in page, "its bill by model"
        assert "<td>sk-&lt;i&gt;</td><td>1</td>" in page, "and by client"
        assert (await http.get(running.control_url + "/nothing")).status_code == 404
