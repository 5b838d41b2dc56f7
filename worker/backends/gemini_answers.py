"""What Gemini's answers and errors mean; gemini.py says how it is asked."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.dialects.said import GEMINI_BROKEN, GEMINI_CUT, GEMINI_FILTERED
from pipelines.types import Completion, Failure, Usage
from worker.backends import answers, failures, lenient, looks
from worker.backends.exchange import Response
from worker.backends.lenient import count
from worker.backends.waits import span_s

WORDS = {"filter": GEMINI_FILTERED, "length": GEMINI_CUT, "broken": GEMINI_BROKEN}
FINISH = {"stop": "stop", **{raw.lower(): ours for ours, each in WORDS.items() for raw in each}}
PACIFIC_S = 8 * 3600
"""Daily quotas end at midnight in California; winter time there, so in summer an hour late rather than early."""

_NOT_HERE = re.compile(r"user location is not supported|gemini api free tier is not available", re.IGNORECASE)
"""What it says, as if it were the prompt's mistake (400), to accounts and places that it does not serve."""


class Part(msgspec.Struct, frozen=True, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: Any = None


class Content(msgspec.Struct, frozen=True):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, frozen=True, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None


class Feedback(msgspec.Struct, frozen=True, rename="camel"):
    block_reason: str | None = None


class Modality(msgspec.Struct, frozen=True, rename="camel"):
    modality: str | None = None
    token_count: int | None = None


class Counts(msgspec.Struct, frozen=True, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    prompt_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Counts | None = None
    model_version: str | None = None
    error: Any = None


_DECODER = msgspec.json.Decoder(Answer)


def heard(target: Target, response: Response) -> Completion | Failure:
    """See `Adapter.parse`."""
    if not 200 <= response.status < 300:
        return failures.of_target(target, _failure(response))
    answer = lenient.read(response.body, _DECODER)
    if answer is None:
        return failures.not_json(response)
    usage, model = _usage(answer.usage_metadata), answer.model_version
    if answer.candidates:
        return answers.together([_completion(each, usage, model) for each in answer.candidates])
    if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason:
        return Completion("", "filter", usage, model)
    if answer.error:
        return failures.of_target(target, _failure(response))
    return answers.completed("", "stop", usage, model, calls=False)


def _completion(candidate: Candidate, usage: Usage, model: str | None) -> Completion | Failure:
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text or "" for part in parts if not part.thought)
    calls = any(part.function_call for part in parts)
    finish = answers.finish_of(candidate.finish_reason, FINISH)
    if finish == "stop" and calls:
        finish = "tool"
    return answers.completed(text, finish, usage, model, calls)


def _usage(counts: Counts | None) -> Usage:
    """Its candidates' tokens leave thinking out; ours count it in."""
    if counts is None:
        return Usage()
    into = count(counts.prompt_token_count) + count(counts.tool_use_prompt_token_count)
    thinking = count(counts.thoughts_token_count)
    out = count(counts.candidates_token_count) + thinking
    cached = min(count(counts.cached_content_token_count), into)
    said, sound = counts.candidates_tokens_details, _of(counts.prompt_tokens_details, "AUDIO")
    return Usage(into, cached, 0, out, thinking, 0, sound, _of(said, "AUDIO"), _of(said, "IMAGE"))


def _of(details: list[Modality] | None, modality: str) -> int:
    return sum(count(each.token_count) for each in details or () if each.modality == modality)


def _failure(response: Response) -> Failure:
    """A quota per day outlasts the 22 seconds that come with it; a key that is none is a 400."""
    error = failures.told(lenient.decode(response.body))
    failed = failures.failure(response, error)
    details = error.error.get("details") if error else None
    details = [each for each in details if type(each) is dict] if type(details) is list else []
    quotas = " ".join(
        str(violation.get("quotaId")) for each in details for violation in looks.table(each, "violations")
    )
    reasons = {str(each.get("reason")) for each in details if each.get("reason")}
    if "API_KEY_INVALID" in reasons or "API_KEY_SERVICE_BLOCKED" in reasons:
        return msgspec.structs.replace(failed, kind="auth", code="api_key_invalid")
    if failed.kind == "invalid" and _NOT_HERE.match(error.message if error else ""):
        return msgspec.structs.replace(failed, kind="auth")
    if failed.kind != "rate":
        return failed
    if any("SPEND" in word.upper() for word in (quotas, *reasons)):
        return msgspec.structs.replace(failed, kind="funds")
    if "PerDay" in quotas:
        until_midnight = 86_400 - (time.time() - PACIFIC_S) % 86_400
        return msgspec.structs.replace(failed, code="quota_per_day", retry_after_s=until_midnight)
    delays = [span_s(str(each["retryDelay"]), time.time()) for each in details if each.get("retryDelay")]
    return msgspec.structs.replace(failed, retry_after_s=delays[0]) if delays else failed
