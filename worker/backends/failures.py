"""Sorts every answer that is not an answer into the outcome classes; knows codes and texts of all providers.

Codes and types decide. Texts decide only where there is no code: for overflows of the context window, and for accounts
that have run dry, answers that were blocked and prompts that no minute has room for (such a text must begin the message, so
that no prompt quoted in one can close a target). What a provider's own file must know beyond this (Gemini's quotas) stays there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.printable import printable
from pipelines.types import Completion, Failure, Usage
from worker.backends.absent import absent
from worker.backends.exchange import Response
from worker.backends.lenient import Shape, decode, read
from worker.backends.waits import retry_after_s

FUNDS = frozenset(
    {"insufficient_quota", "credit_balance_exhausted", "organization_spend_limit_exceeded", "billing_not_active"}
    | {"project_spend_limit_exceeded", "organization_usage_limit_exceeded", "billing_hard_limit_reached"}
    | {"enforced_spend_limit_reached", "contract_spend_limit_reached", "organization_on_hold", "billing_error"}
    | {"payment_required", "openrouter_credits", "openrouter_key_limit"}
    | {"exceeded_current_quota_error", "arrearage", "insufficient_balance"}
)
OVERSIZED = frozenset({"weight_exceeds_budget"})
"""OpenRouter's 402 for one call that may cost more than all that may be under way at once: smaller ones go."""
IN_FLIGHT = frozenset({"in_flight_budget_exhausted", "openrouter_in_flight_budget"})
"""Its 402 while the calls under way may cost as much as that: they end."""
CONTEXT = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "token_limit_exceeded", "max_tokens_exceeded"}
)
REFUSED = frozenset(
    {"refusal", "invalid_prompt", "bio_policy", "cyber_policy", "misalignment_policy_violation"}
    | {"image_content_policy_violation"}
)
FILTERED = REFUSED | {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
OVERLOAD = frozenset({"server_is_overloaded", "overloaded_error", "provider_overloaded", "engine_overloaded"})
RATE = frozenset({"rate_limit_exceeded", "rate_limit_error", "ramp_limit_exceeded", "slow_down"})

_NAMED = (
    ("invalid", OVERSIZED), ("rate", IN_FLIGHT), ("funds", FUNDS), ("context", CONTEXT), ("filter", FILTERED),
    ("overload", OVERLOAD),
)  # fmt: skip

BUSY = frozenset({408, 409, 425, 498, 503, 521, 522, 523, 525, 526, 529, 530})
"""Nothing was generated: try again later, at no cost. 498 is Groq's word for a full tier; Cloudflare says 52x and 530 where it
did not reach the server behind it."""
NEVER = frozenset({501, 505})
FAILED_UPSTREAM = frozenset({424, 499})
"""What text-generation-inference answers when its model server fails in the middle of a call, and Google when it cancels one
by itself."""

_OVERFLOWS = (
    r"\bn_ctx\W{1,4}(?P<limit>\d+)",
    r"maximum context length (?:is|of) (?P<limit>\d+)",
    r"current length is \d+ while limit is (?P<limit>\d+)",
    r"context length (?:of|is) only (?P<limit>\d+)",
    r"maximum (?:model|sequence|input) length (?:is |of )?(?P<limit>\d+)",
    r"tokens? > (?P<limit>\d+) maximum",
    r"maximum number of tokens allowed\W{1,4}(?P<limit>\d+)",
    r"maximum prompt length is (?P<limit>\d+)",
    r"too large for model with (?P<limit>\d+) maximum context length",
    r"reached context length of (?P<limit>\d+)",
    r"`inputs` tokens \+ `max_new_tokens` must be <= (?P<limit>\d+)",
    r"`inputs` must have less than (?P<limit>\d+) tokens",
    r"max_(?:model|seq)_len\D{0,20}(?P<limit>\d+)",
    r"number of tokens in the prompt cannot exceed (?P<limit>\d+)",
    r"range of input length should be \[\d+, ?(?P<limit>\d+)\]",
    r"^input is too long",
    r"(?:exceeds?|larger than|longer than|greater than) the (?:model's |maximum |available )*"
    r"context (?:length|size|window|limit)(?:\D{0,12}(?P<limit>\d+))?",
    r"exceed the configured limit of (?P<limit>\d+) tokens",
    r"context (?:length|size|window|limit) (?:has been |was )?exceeded|reached its context limit",
    r"too (?:big|large) compared to kv size|context shift is disabled",
    r"prompt is too long",
    r"(?:exceed\w*|over) (?:the )?(?:model'?s? )?(?:maximum )?context (?:length|size|window|limit)",
)

_DRY = re.compile(
    r"your credit balance is too low|this organization has been disabled|key limit exceeded|"
    r"you have reached your specified (?:workspace )?api usage limits|"
    r"(?:workspace (?:\w+ )?budget of \$[\d.,]+|budget limit) exceeded|"
    r"your prepayment credits are depleted|your project has exceeded its (?:monthly )?spending cap", re.IGNORECASE,
)  # fmt: skip
_BLOCKED = re.compile(r"output blocked by content filtering policy", re.IGNORECASE)

_NEVER_FITS = re.compile(r"request too large for", re.IGNORECASE)
"""One prompt that is larger than what may be said in a minute: waiting helps no more than it does at a full window."""


NOWHERE = frozenset({200, 404, 405})
_NOWHERE = re.compile(
    r"unexpected endpoint or method|unknown request url|invalid url \(|(?:(?:file|page|path|url|route) )?not found\.?$|method not allowed\.?$",
    re.IGNORECASE,
)
"""What servers say to an address that they do not have: LM Studio (with status 200), OpenAI, all frameworks. Other things that are
not found have a name."""


class Told(msgspec.Struct, frozen=True):
    """What an error body says."""

    message: str
    names: tuple[str, ...]  # codes and types, lower case, the most specific first
    error: Mapping[str, Any]
    status: int | None = None  # a status inside the body


Own = Callable[[Told, int], str | None]
"""What a provider means by an error where it is not what others mean: its kind, by what it says and the status; None: the same."""


def one_line(text: str, most: int = 500) -> str:
    """A server's words, fit for a message."""
    words = printable(" ".join(text.split()))
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _texts(*values: Any) -> tuple[str, ...]:
    return tuple(value.lower() for value in values if type(value) is str and value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if type(value) is dict else {}


def told(data: Any) -> Told | None:
    """The error in a decoded body, in any of the shapes seen; None when there is none."""
    if type(data) is list and data:
        data = data[0]  # Gemini's OpenAI-compatible address wraps its errors in a list
    if type(data) is not dict:
        return None
    error = data.get("error")
    if type(error) is str:
        return Told(error, _texts(data.get("code"), data.get("error_type"), data.get("type")), data)
    if type(error) is dict:
        return _told(error)
    if data.get("object") == "error" or data.get("type") == "error":
        return _told(data)
    words = data.get("detail") or data.get("message") or data.get("errors") or data.get("msg")
    if words and "choices" not in data:
        return Told(words if type(words) is str else str(words), _texts(data.get("code"), data.get("type")), data)
    return None


def _told(error: Mapping[str, Any]) -> Told:
    metadata, details, code = _mapping(error.get("metadata")), _mapping(error.get("details")), error.get("code")
    names = _texts(
        details.get("error_code"), metadata.get("reason"), metadata.get("error_type"), error.get("error_type"),
        metadata.get("limit_source"), code, error.get("status"), _mapping(error.get("innererror")).get("code"), error.get("type"),
    )  # fmt: skip
    if type(code) is str and code.isdigit() and len(code) == 3:
        code = int(code)
    status = code if type(code) is int and 400 <= code < 600 else None
    message = error.get("message")
    return Told(message if type(message) is str else "", names, error, status)


def overflow(message: str, error: Mapping[str, Any]) -> tuple[bool, int | None]:
    """Whether a text says that the prompt does not fit, and the window when it says so."""
    limit = error.get("n_ctx")
    if type(limit) is int and limit > 0:
        return True, limit
    for pattern in _OVERFLOWS:
        if found := re.search(pattern, message, re.IGNORECASE | re.ASCII):
            digits = found.groupdict().get("limit")
            return True, int(digits[:12]) if digits else None
    return False, None


def shaped(
    target: Target, response: Response, decoder: msgspec.json.Decoder[Shape], *, own: Own | None = None
) -> Shape | Completion | Failure:
    """A success as the shape of its provider; else what the answer means."""
    if not 200 <= response.status < 300:
        return outcome(target, response, told(decode(response.body)), own=own)
    answer = read(response.body, decoder)
    return not_json(response) if answer is None else answer


def inside(
    target: Target, response: Response, lacks: str, inner: Any = None, *, own: Own | None = None
) -> Completion | Failure:
    """A success that holds an error (`inner`, else wherever it is), or not even that: an answer that `lacks` something."""
    error = told({"error": inner} if inner else decode(response.body))
    if error is None:
        message = f"HTTP {response.status}: an answer without {lacks}"
        return Failure("unknown", "empty_answer", message, response.status)
    return outcome(target, response, error, own=own)


def outcome(target: Target, response: Response, error: Told | None, *, own: Own | None = None) -> Completion | Failure:
    """As `failure`, but what a filter stopped is an answer of its own kind, and our key stays out of messages."""
    failed = failure(response, error, own=own)
    if failed.kind == "filter":
        return Completion("", "refusal" if failed.code in REFUSED else "filter", Usage(), None)
    return of_target(target, failed)


def of_target(target: Target, failed: Failure) -> Failure:
    """What concerns the target itself is known by its model. Servers quote keys in their messages; ours never leaves the process."""
    failed = absent(target, failed)
    if target.key and target.key in failed.message:
        return msgspec.structs.replace(failed, message=failed.message.replace(target.key, "[key]"))
    return failed


def failure(response: Response, error: Told | None, *, own: Own | None = None) -> Failure:
    """The failure behind a response; `own` is asked first what its provider means by an error."""
    status = response.status if response.status >= 300 else (error.status if error and error.status else 500)
    names = error.names if error else ()
    message = error.message if error and error.message else _shown(response)
    code = next(iter(names), "") or f"http_{status}"
    if error is None and status < 400:
        return Failure("transient", "redirect", _redirected(response), response.status)
    kind = (own(error, status) if own and error else None) or _kind(status, frozenset(names), response)
    window = None
    overflows = (400 <= status < 500 and status not in (401, 402, 429)) or status == 500
    if kind == "context" or (overflows and kind in ("invalid", "transient", "auth")):
        found, window = overflow(message, error.error if error else {})
        kind = "context" if found else kind
    if kind in ("invalid", "auth", "filter", "rate") and _DRY.match(message):
        kind = "funds"
    if kind == "invalid" and _BLOCKED.match(message):
        kind = "filter"
    kind = _told_to_retry(kind, status, response.headers.get("x-should-retry"))
    if kind == "rate" and _NEVER_FITS.match(message):
        kind = "invalid"
    if response.status in NOWHERE and (_NOWHERE.match(message) if error else status != 200):
        kind, code, message = "transient", "wrong_address", f"{message.rstrip('.')}; is base_url right?"
    wait_s = _wait_s(response, error) if kind in ("rate", "overload", "transient") else None
    return Failure(kind, code, f"HTTP {response.status}: {one_line(message)}", response.status, wait_s, window)


def _wait_s(response: Response, error: Told | None) -> float | None:
    """OpenRouter tells some waits only among the headers that it writes into the body."""
    wait_s = retry_after_s(response.headers)
    inner = _mapping(_mapping(error.error.get("metadata")).get("headers")) if error else {}
    if wait_s is not None or not inner:
        return wait_s
    return retry_after_s({"date": response.headers.get("date", ""), **{k.lower(): str(v) for k, v in inner.items()}})


def _kind(status: int, names: frozenset[str], response: Response) -> str:
    for kind, known in _NAMED:
        if names & known:
            return kind
    if status == 402:
        return "rate" if "retry-after" in response.headers else "funds"
    if status == 429 or names & RATE:
        return "rate"
    if status in (401, 403, 407):
        return "auth"
    if status in BUSY:
        return "overload"
    return "transient" if (status >= 500 and status not in NEVER) or status in FAILED_UPSTREAM else "invalid"


def _told_to_retry(kind: str, status: int, word: str | None) -> str:
    """x-should-retry, where obeying it does not change what may have been paid."""
    if word == "true" and kind == "invalid" and status < 500:
        return "overload"
    if word == "false" and kind == "overload":
        return "invalid"
    return kind


def _redirected(response: Response) -> str:
    where = one_line(str(response.headers.get("location", "elsewhere")), 200)
    return f"HTTP {response.status}: redirects to {where}; set base_url to the address that answers"


def _shown(response: Response) -> str:
    text = response.body[:300].decode(errors="replace").strip()
    if not text:
        return "an empty answer"
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip()
    return f"{kind or 'no content type'} instead of JSON: {text}" if decode(response.body) is None else text


def not_json(response: Response) -> Failure:
    """A 200 that is not JSON. A page is a wrong address, so nobody generated anything; a torn answer may be paid."""
    page = "html" in str(response.headers.get("content-type", "")) or response.body.lstrip()[:1] == b"<"
    advice = "; is base_url right?" if page else ""
    message = f"HTTP {response.status}: {one_line(_shown(response), 200)}{advice}"
    return Failure("invalid" if page else "unknown", "not_json", message, response.status)
