"""The way of a generation request, the same for every vendor: fault, checks, limits, service time, answer, bill."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import msgspec

from worker.simulator.core.answers import Ask, answer_text, count_tokens, cut_to, digest, input_tokens
from worker.simulator.core.bill import BilledCall, Usage, cost_pusd, shown_key
from worker.simulator.core.calls import Call, calls_of
from worker.simulator.core.config import ServerConfig
from worker.simulator.core.faults import BILLED, PROBLEMS, UNBILLED, FaultRule, Problem, unknown_model
from worker.simulator.core.http import Reply, Request
from worker.simulator.core.server import Server, unix_s

PAGE = b"<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in to the network</h1></body></html>"
REFUSAL = "I'm sorry, but I can't help with that."
WRONG_MODEL = "some-other-model"
UNKNOWN_FINISH = "galaxy_brained"


class Answer(msgspec.Struct, kw_only=True):
    """An answer before it has a vendor's shape. `finish`: stop, length, tool, filter, refusal, or a raw word."""

    id: str
    created: float
    model: str
    texts: list[str]
    finish: str
    usage: Usage
    calls: tuple[Call, ...] = ()
    stopped_by: str | None = None  # the stop sequence that ended it
    service_s: float = 0.0
    shows: str = ""  # the fault that the shape has to play: no_usage, odd_usage, no_choices


class Voice(msgspec.Struct, frozen=True):
    """How one vendor's endpoint speaks: the bytes of an answer and of a problem."""

    say: Callable[[Server, Ask, Answer], bytes]
    fail: Callable[[Server, Problem], Reply]
    headers: Callable[[Server, Answer], tuple[tuple[str, str], ...]] = lambda _server, _answer: ()


async def generate(server: Server, request: Request, ask: Ask, voice: Voice) -> Reply:
    """Answers one request as the server's configuration says."""
    number = server.arrive()
    try:
        prompt_hash = digest(ask.prompt).hex()
        fault = server.faults.pick(number, ask.prompt, prompt_hash)
        kind = fault.kind if fault else None
        problem = _problem(server, request, ask, fault)
        if problem is not None:
            return _refused(server, problem[0], voice.fail(server, problem[1]))
        if kind in UNBILLED:
            return await _unbilled(server, kind, voice)
        answer = compose(server, ask, str(number))
        await _serve(server, answer, late=kind == "late")
        return _billed(server, request, ask, answer, kind, voice, prompt_hash)
    finally:
        server.in_flight -= 1


def compose(server: Server, ask: Ask, number: str) -> Answer:
    """The answer of a healthy server, with its usage; `number` makes its id."""
    config = server.config
    taken = input_tokens(config, ask)
    limit = ask.max_tokens if ask.max_tokens is not None else 1 << 30
    reasoning = min(config.reasoning_tokens, limit)
    calls = calls_of(ask)
    texts, written, is_cut, stopped_by = [], 0, False, None
    for choice in range(1 if calls else max(1, ask.choices)):
        text = "".join(call.arguments for call in calls) if calls else answer_text(config, ask, choice)
        if not calls:
            text, stopped_by = _stopped(text, ask.stop)
        tokens = count_tokens(config, text)
        if tokens > limit - reasoning:
            text, tokens, is_cut = cut_to(config, text, limit - reasoning), limit - reasoning, True
        texts.append("" if calls else text)
        written += tokens + reasoning
    cached, known = server.prefixes.cached_tokens(config, ask.prompt, taken) if ask.cache != "off" else (0, 0)
    identity = blake2b(f"{server.seed}:{number}".encode(), digest_size=12).hexdigest()
    return Answer(
        id=identity,
        created=unix_s(),
        model=ask.model or config.model,
        texts=texts,
        finish="tool" if calls else "length" if is_cut else "stop",
        usage=Usage(
            taken,
            written,
            cached_tokens=cached,
            cache_write_tokens=known - cached if ask.cache == "write" else 0,
            reasoning_tokens=reasoning,
        ),
        calls=calls,
        stopped_by=None if is_cut else stopped_by,
    )


def charge(
    server: Server, answer: Answer, *, key: str, call: str | None, prompt_hash: str, outcome: str, delivered: bool,
    batch: str | None = None,
) -> None:  # fmt: skip
    """Books one answer at what it reports, at the batch price if it was part of one."""
    usage = answer.usage
    line = BilledCall(
        id=answer.id,
        time=unix_s(),
        server=server.name,
        model=answer.model,
        prompt_hash=prompt_hash,
        key=shown_key(key),
        call=call,
        input_tokens=usage.input_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_pusd=cost_pusd(server.config, usage, batch=batch is not None),
        delivered=delivered,
        outcome=outcome,
        batch=batch,
    )
    server.bill.charge(line)


def client_key(request: Request) -> str:
    """The key a client sent, wherever its vendor keeps it."""
    headers = request.headers
    bearer = headers.get("authorization", "").removeprefix("Bearer ").strip()
    return bearer or headers.get("x-api-key") or headers.get("x-goog-api-key") or ""


def _problem(server: Server, request: Request, ask: Ask, fault: FaultRule | None) -> tuple[str, Problem] | None:
    """Why nothing is generated: the name for the account and what the client is told."""
    config = server.config
    if config.api_key is not None and client_key(request) != config.api_key:
        return "401", PROBLEMS["401"]
    if server.is_down:
        return "503", PROBLEMS["503"]
    if fault is not None and fault.kind in PROBLEMS:
        return fault.kind, fault.worded(PROBLEMS[fault.kind])
    if not (config.any_model or ask.model in config.served):
        return "404", unknown_model(ask.model)
    taken = input_tokens(config, ask)
    if (problem := overflow(config, ask, taken)) is not None:
        return "context_overflow", problem
    reserved = ask.max_tokens if ask.reserved_tokens is None else ask.reserved_tokens
    now_s = server.started_s + server.uptime_s
    refused = server.limits.refuse(config, taken + (reserved or 0), server.in_flight, now_s)
    if refused is not None:
        return "429", refused
    return ("503", PROBLEMS["503"]) if server.engine.is_full else None


def overflow(config: ServerConfig, ask: Ask, taken: int) -> Problem | None:
    """What a prompt of so many tokens is told when it does not fit."""
    most = ask.context_tokens or config.context_tokens
    if most is None or taken <= most:
        return None
    text = f"This model's maximum context length is {most} tokens. However, your messages resulted in {taken} tokens."
    return Problem("context", 400, text, detail={"limit": most, "tokens": taken})


async def _serve(server: Server, answer: Answer, *, late: bool) -> None:
    usage, config = answer.usage, server.config
    read_tokens, per_s = usage.input_tokens - usage.cached_tokens, config.prefill_tokens_per_s
    work = usage.output_tokens + (0.0 if per_s else config.prefill_share * read_tokens)
    model = answer.model if config.swap_ms else server.engine.loaded
    extra_s = config.late_ms / 1000 if late else 0.0
    before_s = server.uptime_s
    extra_s += server.meter.start()
    try:
        await server.engine.serve(
            model, work, server.latency_s(usage.output_tokens) + extra_s, read_tokens / per_s if per_s else 0.0
        )
    finally:
        server.meter.end()
    answer.service_s = server.uptime_s - before_s


def _refused(server: Server, outcome: str, reply: Reply) -> Reply:
    server.bill.refuse(server.name, outcome)
    return reply


async def _unbilled(server: Server, kind: str, voice: Voice) -> Reply:
    server.bill.refuse(server.name, kind)
    if kind == "html":
        return Reply(body=PAGE, content_type="text/html; charset=utf-8")
    if kind == "error_in_200":
        return msgspec.structs.replace(voice.fail(server, PROBLEMS["502"]), status=200)
    if kind == "stall":
        await server.engine.serve(server.engine.loaded, 0.0, server.config.hang_s)
    ending = {"reset": "reset", "hang": "hang"}.get(kind, "close")
    return Reply(ending=ending, spread_s=server.config.hang_s)  # type: ignore[arg-type]


def _billed(
    server: Server, request: Request, ask: Ask, answer: Answer, kind: str | None, voice: Voice, prompt_hash: str
) -> Reply:
    outcome = kind or "ok"
    if kind is not None:
        _spoil(server, answer, kind)
    body = voice.say(server, ask, answer)
    reply = Reply(body=body, headers=voice.headers(server, answer))
    if kind in _ENDINGS:
        _ENDINGS[kind](server, reply, voice)
    readable = BILLED.get(kind, True) if kind else True

    def end(went_out: bool) -> None:
        delivered = went_out and readable
        ended = outcome if delivered or kind else "lost"
        call = request.headers.get("x-spillway-call")
        charge(
            server,
            answer,
            key=client_key(request),
            call=call,
            prompt_hash=prompt_hash,
            outcome=ended,
            delivered=delivered,
        )

    reply.on_end = end
    return reply


def _spoil(server: Server, answer: Answer, kind: str) -> None:
    """Faults that change what is said."""
    usage = answer.usage
    if kind == "empty":
        answer.texts, answer.usage = (
            [""] * len(answer.texts),
            msgspec.structs.replace(usage, output_tokens=0, reasoning_tokens=0),
        )
    elif kind == "length":
        kept = max(1, count_tokens(server.config, answer.texts[0]) // 2)
        answer.texts, answer.finish = [cut_to(server.config, text, kept) for text in answer.texts], "length"
        answer.usage = msgspec.structs.replace(usage, output_tokens=(kept + usage.reasoning_tokens) * len(answer.texts))
    elif kind in ("content_filter", "refusal"):
        is_refusal = kind == "refusal"
        answer.texts, answer.finish = ([REFUSAL], "refusal") if is_refusal else ([""], "filter")
        tokens = count_tokens(server.config, REFUSAL) if is_refusal else 0
        answer.usage = msgspec.structs.replace(usage, output_tokens=tokens, reasoning_tokens=0)
    elif kind == "unknown_finish":
        answer.finish = UNKNOWN_FINISH
    elif kind == "wrong_model":
        answer.model = WRONG_MODEL
    elif kind == "cut_prompt":
        kept = max(1, usage.input_tokens // 4)
        answer.usage = msgspec.structs.replace(
            usage, input_tokens=kept, cached_tokens=min(usage.cached_tokens, kept), cache_write_tokens=0
        )
    else:
        answer.shows = kind


def _truncate(_server: Server, reply: Reply, _voice: Voice) -> None:
    reply.body = reply.body[: len(reply.body) * 2 // 3]


def _pad(server: Server, reply: Reply, _voice: Voice) -> None:
    padding = b',"padding":"' + b"x" * server.config.huge_bytes + b'"}'
    reply.body = reply.body.rstrip().removesuffix(b"}") + padding


def _fail_at_edge(server: Server, reply: Reply, voice: Voice) -> None:
    failed = voice.fail(server, PROBLEMS["502"])
    reply.status, reply.body, reply.headers = failed.status, failed.body, failed.headers


def _ends(ending: Any) -> Callable[[Server, Reply, Voice], None]:
    def end(server: Server, reply: Reply, _voice: Voice) -> None:
        reply.ending, reply.spread_s = ending, server.config.drip_ms / 1000

    return end


_ENDINGS: dict[str | None, Callable[[Server, Reply, Voice], None]] = {
    "lost": _ends("close"),
    "lost_reset": _ends("reset"),
    "cut": _ends("cut"),
    "drip": _ends("drip"),
    "close_after": _ends("shut"),
    "truncated": _truncate,
    "huge": _pad,
    "paid_502": _fail_at_edge,
}


def _stopped(text: str, stops: tuple[str, ...]) -> tuple[str, str | None]:
    """A text up to the first stop sequence in it, and which that was."""
    found = sorted((text.index(stop), stop) for stop in stops if stop and stop in text)
    return (text[: found[0][0]], found[0][1]) if found else (text, None)
