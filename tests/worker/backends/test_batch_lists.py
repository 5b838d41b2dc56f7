"""A provider's list of batches: what is on its second page is found, and what was not read is not said to be absent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pipelines.settings import parse_settings
from pipelines.types import Failure
from tests.worker.backends.test_batches import KINDS, LINES, SOUGHT, TAG, api_of
from worker.backends import batching, ready
from worker.backends.batching import Line, Remote, Sought, load
from worker.backends.exchange import Response
from worker.backends.http import Web
from worker.simulator import scenario_settings, serve
from worker.simulator.core.batches import desk

OTHERS = 5
QUICK = {"batch_latency_s": 0.02, "batch_validate_s": 0.0, "usd_per_mtok_in": 1.0, "usd_per_mtok_out": 1.0}
BODY = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":5}'


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_behind_newer_ones_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gemini's tokens were taken for no tokens, and of OpenRouter's list only the first page was read: bought twice."""
    monkeypatch.setattr(batching, "PAGE", 2)
    config = {"servers": {"cloud": {"personality": kind, "model": "m", **QUICK}}}
    async with serve(config) as upstream:
        target = parse_settings(scenario_settings(config, upstream.base_urls)).targets["cloud"]
        api, web = load(kind), Web(5.0, 1 << 20)
        assert api is not None
        request = ready(target, BODY)
        assert not isinstance(request, Failure)
        made: list[Any] = []
        for number in range(1 + OTHERS):
            tag = f"sw-{number:020}"
            staged = await api.stage(web, target, tag, [Line(f"{tag}-0-0", request[0], request[2])])
            assert isinstance(staged, bytes)
            made.append(await api.create(web, target, staged))
        jobs = desk(upstream.servers["cloud"]).jobs
        assert len(jobs) == 1 + OTHERS
        first = next(iter(jobs.values()))
        sought = Sought("sw-" + "0" * 20, 1, first.created_unix_s, frozenset(), set())
        found: Any = Failure("unknown", "ambiguous", "")
        while isinstance(found, Failure) and found.code == "ambiguous":
            await asyncio.sleep(0.02)
            found = await api.find(web, target, sought)
        assert isinstance(found, Remote) and found.id == made[0].id
        assert await api.find(web, target, sought._replace(tag="sw-none")) is None, "read to its end"
        await web.close()


class Pages:
    """Answers a list page by page, and writes down what it was asked for."""

    def __init__(self, *told: Any) -> None:
        self.told, self.asked = list(told), list[str]()

    async def get(self, url: str, *_: Any, **__: Any) -> Response:
        self.asked.append(url)
        said = self.told[min(len(self.asked), len(self.told)) - 1]
        return said if isinstance(said, Response) else Response(200, {}, json.dumps(said).encode())


def row(kind: str, *, made_s: float = SOUGHT.since_s + 1, **more: Any) -> dict[str, Any]:
    """Somebody else's batch as it is listed."""
    written = "2023-11-14T22:13:21Z" if made_s >= SOUGHT.since_s else "2023-11-14T20:13:21Z"
    if kind == "gemini":
        about = {"displayName": "other", "createTime": written, "state": "BATCH_STATE_RUNNING", **more}
        return {"name": "batches/o", "metadata": about}
    if kind == "anthropic":
        return {"id": "o", "processing_status": "in_progress", "created_at": written, **more}
    return {"id": "o", "status": "in_progress", "created_at": made_s, **more}


def page(kind: str, rows: list[dict[str, Any]], *, more: Any = None) -> dict[str, Any]:
    if kind == "gemini":
        return {"operations": rows, **({"nextPageToken": more} if more else {})}
    return {"data": rows, "has_more": more is not None}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_that_was_not_read_to_its_end_says_nothing(kind: str) -> None:
    api, target = api_of(kind)
    endless = Pages(page(kind, [row(kind)], more="AB+/="))
    said = await api.find(endless, target, SOUGHT)
    assert isinstance(said, Failure) and said.code == "list_too_long" and len(endless.asked) == batching.MOST_PAGES
    torn = Pages(page(kind, [row(kind)], more="AB+/="), Response(503, {}, b"{}"))
    assert isinstance(await api.find(torn, target, SOUGHT), Failure) and len(torn.asked) == 2
    for odd in ({"data": 7, "operations": 7}, {"data": [7], "operations": [7]}):
        assert isinstance(await api.find(Pages(odd), target, SOUGHT), Failure)
    if kind != "gemini":
        nowhere = {"data": [{**row(kind), "id": None}], "has_more": True}
        assert isinstance(await api.find(Pages(nowhere), target, SOUGHT), Failure)
        assert isinstance(await api.find(Pages({}), target, SOUGHT), Failure)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_list_is_read_back_to_when_the_batch_may_have_been_made(kind: str) -> None:
    api, target = api_of(kind)
    newer, older = row(kind), row(kind, made_s=SOUGHT.since_s - 2 * batching.SKEW_S)
    to_there = Pages(page(kind, [newer, newer], more="AB+/="), page(kind, [newer, older], more="AB+/="))
    assert await api.find(to_there, target, SOUGHT) is None and len(to_there.asked) == 2
    to_the_end = Pages(page(kind, [newer], more="AB+/="), page(kind, [newer]))
    assert await api.find(to_the_end, target, SOUGHT) is None and len(to_the_end.asked) == 2
    upside_down = Pages(page(kind, [older, newer], more="AB+/="), page(kind, [newer]))
    assert await api.find(upside_down, target, SOUGHT) is None and len(upside_down.asked) == 2, "the oldest came first"


@pytest.mark.parametrize("kind", ["anthropic", "openrouter"])
async def test_one_that_may_be_ours_and_cannot_be_read_is_not_passed_over(kind: str) -> None:
    api, target = api_of(kind)
    count = {"request_counts": {"total": 2} if kind == "openrouter" else {"processing": 2}}
    new = Pages(page(kind, [row(kind, **count, status="dancing", processing_status="dancing")]))
    assert isinstance(await api.find(new, target, SOUGHT), Failure)


async def test_a_token_goes_back_as_it_came() -> None:
    api, target = api_of("gemini")
    web = Pages(page("gemini", [row("gemini")], more="AB+/= ü" + "x" * 300), page("gemini", []))
    assert await api.find(web, target, SOUGHT) is None
    assert "&pageToken=AB%2B%2F%3D%20%C3%BC" in web.asked[1]
    assert SOUGHT.tag == TAG and len(LINES) == SOUGHT.lines
