"""The nouns that travel between the stages; values only, no behaviour beyond trivial arithmetic."""

from __future__ import annotations

from typing import Any

import msgspec


class Source(msgspec.Struct, frozen=True):
    """One input file of a run, as it was at intake."""

    url: str
    format: str  # jsonl | parquet | csv
    compression: str  # "" | gz | zst
    size_bytes: int
    mtime_ns: int
    digest: str  # of the whole file when small, of samples otherwise (producer/sources.py)


class Options(msgspec.Struct, frozen=True):
    """What the caller asked of a run; with client and sources it is the run's identity."""

    route: str | None = None
    template: str | None = None
    schema: str | None = None
    labels: tuple[str, ...] | None = None
    deadline_s: float | None = None
    budget_nusd: int | None = None
    dedupe: str | None = None  # off | exact | semantic; None: the route's own
    keep_response: bool = True


class Row(msgspec.Struct, frozen=True, gc=False):
    """One valid source row: an OpenAI chat body without `model` and transport fields."""

    row: int
    custom_id: str | None
    model: str | None
    body: dict[str, Any]
    tags: dict[str, Any]


class BadRow(msgspec.Struct, frozen=True, gc=False):
    """A source row that cannot be asked; it becomes a result of status `invalid`."""

    row: int
    custom_id: str | None
    code: str
    message: str
    tags: dict[str, Any] = {}


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One prompt inside a batch's payload."""

    row: int
    body: bytes  # JSON object, ready to send but for `model`
    input_tokens: int
    max_tokens: int  # 0: the row gives none
    custom_id: str | None = None


class BatchHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the scheduler must know of a batch; written once, with it."""

    id: str
    run: str
    route: str
    generation: int
    rows: int
    input_tokens: int
    output_tokens: int  # estimate
    work: float  # local work in output-token equivalents (SCHEDULING: w = a*p + o)
    cloud_pusd: int  # estimated price at the route's cheapest cloud target; 0 when it has none
    payload_bytes: int
    purpose: str = "answer"  # answer | audit: its answers are compared, never published
    group: str = ""  # prompts that get answers of like lengths (pipelines/batch.py)
    max_tokens: int = 0  # of all rows together; 0: they give none (pipelines/batch.py leaves no batch of both)


class Usage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Tokens of one call; input includes cached, output includes reasoning."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    long_cache_tokens: int = 0  # the part of what was written to the cache that stays for an hour
    heard_tokens: int = 0  # the part of the input that is sound
    spoken_tokens: int = 0  # the part of the output that is sound
    drawn_tokens: int = 0  # the part of the output that is images


class Intent(msgspec.Struct, frozen=True, array_like=True, tag="s", gc=False):
    """Recorded before a call is sent: what may have to be paid if nothing more is heard."""

    call: str
    row: int
    attempt: int
    target: str
    started_us: int
    bound_pusd: int
    lane: str = ""  # provider_batch: a line of a provider's batch; else its target's own lane


class Called(msgspec.Struct, frozen=True, array_like=True, tag="r", gc=False):
    """How a call ended."""

    call: str
    outcome: str  # ok | rejected | error | lost
    http_status: int | None
    error_code: str | None
    usage: Usage
    cost_pusd: int
    cost_basis: str
    model: str | None
    price_id: str
    price_as_of: str  # ISO date
    avoided_pusd: int
    avoided_cause: str | None
    finished_us: int
    failure: str | None = None  # the kind of Failure, unless it was an answer


class Done(msgspec.Struct, frozen=True, array_like=True, tag="d", gc=False):
    """How a prompt ended; `call` is the call whose answer is published, if any."""

    row: int
    status: str  # ok | failed | refused
    call: str | None
    attempts: int
    output: str | None
    parsed: str | None
    finish_reason: str | None
    quality: float | None
    error_code: str | None
    error_message: str | None
    http_status: int | None
    response: bytes | None
    started_us: int
    finished_us: int


class Late(msgspec.Struct, frozen=True, array_like=True, tag="l", gc=False):
    """The outcome of a call whose worker had lost its batch: ledger only, never a result."""

    called: Called


Entry = Intent | Called | Done | Late


class Completion(msgspec.Struct, frozen=True, gc=False):
    """What an adapter makes of a response that carries an answer."""

    text: str
    finish: str  # stop | length | tool | filter | refusal | error
    usage: Usage
    model: str | None
    tool_calls: bool = False
    cost_reported_pusd: int | None = None
    tier: str | None = None  # the service tier that answered; it may be another one than was asked for
    silent: bool = False  # it has no text, and the provider says why that is right
    others: tuple[Completion, ...] = ()  # where a row asked for several answers: all but this first one


class Failure(msgspec.Struct, frozen=True, gc=False):
    """What an adapter makes of anything else (one class for each way to go on)."""

    kind: str  # invalid | context | auth | funds | model | rate | overload | transient | connect | unknown | untrue | late
    code: str
    message: str
    http_status: int | None = None
    retry_after_s: float | None = None
    context_tokens: int | None = None
    usage: Usage | None = None  # an answer that is no use, but whose price the server told
    model: str | None = None  # who gave that answer, as the server says
    cost_reported_pusd: int | None = None
    tier: str | None = None
