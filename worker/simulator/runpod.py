"""RunPod serverless vLLM: OpenAI's chat, errors that look like success, cold starts, and a price per worker-second."""

from __future__ import annotations

from worker.simulator.core.chat import chatting, fail_chat, models, say_chat
from worker.simulator.core.faults import Problem
from worker.simulator.core.generate import Voice
from worker.simulator.core.http import Reply, Request, json_reply
from worker.simulator.core.personality import Personality
from worker.simulator.core.server import Server

ENDPOINT = "/v2/stand-in"


def fail(server: Server, problem: Problem) -> Reply:
    """What goes wrong in the worker comes as a 200; the gateway's own refusals keep their status."""
    if problem.status in (401, 404, 429) or problem.name == "loading":
        return fail_chat(server, problem)
    error = {"message": problem.message, "type": "worker_error", "code": None}
    return json_reply({"error": error}, 200)


async def health(server: Server, _request: Request) -> Reply:
    """GET /v2/{endpoint}/health: jobs and workers."""
    load, meter = server.engine.load, server.meter
    jobs = {
        "completed": load.finished,
        "failed": 0,
        "inProgress": load.running,
        "inQueue": len(server.engine.queue),
        "retried": 0,
    }
    is_up = meter.is_up
    workers = {
        "idle": int(is_up and not load.running),
        "running": int(is_up and load.running > 0),
        "initializing": 0,
        "throttled": 0,
    }
    return json_reply({"jobs": jobs, "workers": workers})


PERSONALITY = Personality(
    base_path=f"{ENDPOINT}/openai/v1",
    routes={
        ("POST", f"{ENDPOINT}/openai/v1/chat/completions"): chatting(Voice(say_chat, fail)),
        ("GET", f"{ENDPOINT}/openai/v1/models"): models,
        ("GET", f"{ENDPOINT}/health"): health,
    },
    defaults={"slots": 30},
)
