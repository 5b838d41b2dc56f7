"""What can go wrong with a request, by name, and which request it happens to: by script, or by rate and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """An error answer before it has a vendor's shape; `name` is the meaning, the same for every vendor."""

    name: str
    status: int
    message: str
    retry_after_s: float | None = None
    detail: Mapping[str, int | str] = {}
    code: str | None = None  # instead of the vendor's own for this name
    should_retry: bool | None = None


# Refused before anything is generated: nothing is billed.
PROBLEMS: dict[str, Problem] = {
    "400": Problem("invalid", 400, "The request is not valid."),
    "401": Problem("auth", 401, "Incorrect API key provided."),
    "402": Problem("funds", 402, "Insufficient credits."),
    "403": Problem("permission", 403, "You are not allowed to use this model."),
    "404": Problem("not_found", 404, "The model does not exist or you do not have access to it."),
    "408": Problem("timeout", 408, "The request timed out."),
    "409": Problem("conflict", 409, "The resource is in use."),
    "413": Problem("too_large", 413, "The request is too large."),
    "422": Problem("invalid", 422, "The request cannot be processed."),
    "429": Problem("rate", 429, "Rate limit reached for requests.", 1.0),
    "429_bare": Problem("rate", 429, "Rate limit reached for requests."),
    "429_ms": Problem("rate_ms", 429, "Rate limit reached for requests.", 0.5),
    "429_day": Problem("rate_day", 429, "Daily limit reached.", 22.0),
    "insufficient_quota": Problem(
        "quota", 429, "You exceeded your current quota, check your plan and billing details."
    ),
    "slow_down": Problem("slow_down", 429, "Slow down: traffic grew too fast.", 5.0),
    "500": Problem("server_error", 500, "The server had an error while processing your request."),
    "500_no_retry": Problem("server_error", 500, "The server had an error.", should_retry=False),
    "502": Problem("bad_gateway", 502, "Bad gateway."),
    "503": Problem("overloaded", 503, "The server is overloaded.", 1.0),
    "503_loading": Problem("loading", 503, "Loading model."),
    "504": Problem("timeout", 504, "The upstream timed out."),
    "524": Problem("timeout", 524, "A timeout occurred."),
    "529": Problem("overloaded", 529, "Overloaded.", 1.0),
    "context_overflow": Problem("context", 400, "The prompt is longer than the context window."),
    "moderation": Problem("moderation", 403, "The input was flagged."),
}


def unknown_model(name: str) -> Problem:
    """In OpenAI's words; the vendors' own files have theirs."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return msgspec.structs.replace(PROBLEMS["404"], message=message, detail={"model": name})


# Something else than an answer, and nothing is billed.
UNBILLED = {
    "reset": "the connection is reset as soon as the request has been read",
    "close": "the connection is closed as soon as the request has been read",
    "hang": "no byte ever comes",
    "stall": "no byte ever comes, and a slot is held",
    "html": "200 with an HTML page",
    "error_in_200": "200 whose body is an error",
}

# An answer is generated and billed; what arrives is wrong. True: the client has read its usage.
BILLED = {
    "lost": False,  # closed before a byte of the answer
    "lost_reset": False,  # the same, by a reset
    "cut": False,  # closed in the middle of the body
    "truncated": False,  # a complete HTTP answer whose JSON ends early
    "paid_502": False,  # an edge server loses the answer
    "late": True,  # late_ms later than it should
    "drip": True,  # spread over drip_ms
    "huge": True,  # padded to huge_bytes
    "close_after": True,  # complete, and the connection is closed without a word
    "empty": True,  # no text and no output tokens
    "length": True,  # cut short, finish reason `length`
    "content_filter": True,
    "refusal": True,
    "unknown_finish": True,
    "wrong_model": True,
    "cut_prompt": True,  # three quarters of the prompt are dropped in silence
    "no_usage": True,
    "odd_usage": True,  # counters as texts, null and negative
    "no_choices": True,
}

# What can happen to a provider batch. Any name of PROBLEMS also refuses its creation.
BATCH_FAULTS = {
    "fail": "fails at validation",
    "token_limit": "fails at validation: too many tokens are enqueued",
    "stuck": "makes no progress until its window ends",
    "expire": "ends at its window with a share of its lines done",
    "errors": "every line ends as an error",
    "some_errors": "a share of the lines ends as errors",
    "late_cancel": "a cancel is accepted, and the batch completes",
    "lost_create": "it is made, and the answer that says so is lost",
    "late_create": "no byte comes for late_s, then the connection is closed; it is made half as long after that",
    "swapped_keys": "results carry the key of another line",
    "bad_line": "one line of the results is no JSON",
}
BATCH_KINDS = frozenset(BATCH_FAULTS) | frozenset(PROBLEMS)

KINDS = frozenset(PROBLEMS) | frozenset(UNBILLED) | frozenset(BILLED)


class FaultRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the script. `at` is a request's number from 1, [first, last], or three and more of them; `match` is a
    text in the prompt; `times` ends the rule. The last four change what an error says."""

    kind: str
    at: int | tuple[int, ...] | None = None
    match: str | None = None
    times: int | None = None
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after_s: float | None = None

    def worded(self, problem: Problem) -> Problem:
        """The problem as this rule wants it said."""
        asked = {"status": self.status, "code": self.code, "message": self.message, "retry_after_s": self.retry_after_s}
        return msgspec.structs.replace(problem, **{key: value for key, value in asked.items() if value is not None})

    @property
    def places(self) -> tuple[int, ...]:
        return () if self.at is None else (self.at,) if isinstance(self.at, int) else self.at

    def holds(self, number: int, prompt: str) -> bool:
        places = self.places
        if places and not (places[0] <= number <= places[-1] if len(places) == 2 else number in places):
            return False
        return self.match is None or self.match in prompt


class BatchRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the batch number `at` (from 1), or to all of them; `share` is a part of its lines."""

    kind: str
    at: int | None = None
    share: float = 0.5
    late_s: float = 100.0


class Faults:
    """Picks the fault of each request of one server; the same seed and order give the same faults."""

    def __init__(self, seed: str, rules: Sequence[FaultRule], rates: Mapping[str, float], *, by_prompt: bool) -> None:
        self._seed, self._rules, self._by_prompt = seed.encode()[:64], tuple(rules), by_prompt
        self._rates = [(kind, rate) for kind, rate in rates.items() if rate > 0]
        self._used = [0] * len(self._rules)
        self._suffered: dict[str, int] = {}

    def pick(self, number: int, prompt: str, prompt_hash: str) -> FaultRule | None:
        """The fault of request `number`, or None. Scripted faults come before rates."""
        for index, rule in enumerate(self._rules):
            if (rule.times is None or self._used[index] < rule.times) and rule.holds(number, prompt):
                self._used[index] += 1
                return rule
        return self._by_rate(number, prompt_hash) if self._rates else None

    def _by_rate(self, number: int, prompt_hash: str) -> FaultRule | None:
        earlier = self._suffered.get(prompt_hash, 0)
        name = f"{prompt_hash}:{earlier}" if self._by_prompt else str(number)
        point = int.from_bytes(blake2b(name.encode(), digest_size=7, key=self._seed).digest()) / 2**56
        for kind, rate in self._rates:
            if point < rate:
                if self._by_prompt:
                    self._suffered[prompt_hash] = earlier + 1
                return FaultRule(kind=kind)
            point -= rate
        return None
