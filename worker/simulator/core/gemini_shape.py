"""Gemini's native shape: body to Ask, Answer to body, Problem to error; a blocked prompt is a 200 without candidates."""

from __future__ import annotations

from typing import Any

import msgspec

from worker.simulator.core.answers import Ask
from worker.simulator.core.chat import part_text
from worker.simulator.core.faults import PROBLEMS, Problem
from worker.simulator.core.generate import Answer, Voice
from worker.simulator.core.http import Reply, json_reply
from worker.simulator.core.pieces import pieces
from worker.simulator.core.server import Server

FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool": "STOP", "refusal": "PROHIBITED_CONTENT"}
STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ABORTED", 413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}  # fmt: skip
QUOTA = {
    "rate": "GenerateRequestsPerMinutePerProjectPerModel",
    "rate_ms": "GenerateRequestsPerMinutePerProjectPerModel",
    "slow_down": "GenerateContentInputTokensPerModelPerMinute",
    "rate_day": "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
}
SIGNATURE = "c3RhbmQtaW4="
# A spend cap says so in its text and in the reason; there is no wait that would help.
SPEND_CAP = "The project has exceeded its monthly spending cap."


class GeminiBody(msgspec.Struct, forbid_unknown_fields=True):
    """All that there is; the vendor refuses every other name. The lower ones change nothing here."""

    contents: list[dict[str, Any]]
    systemInstruction: dict[str, Any] | None = None  # noqa: N815 - the wire's own name
    generationConfig: dict[str, Any] = {}  # noqa: N815
    tools: list[dict[str, Any]] | None = None
    toolConfig: dict[str, Any] | None = None  # noqa: N815

    model: str | None = None
    safetySettings: Any = None  # noqa: N815
    cachedContent: str | None = None  # noqa: N815
    serviceTier: str | None = None  # noqa: N815
    labels: Any = None
    store: bool | None = None


def read_content(data: bytes, model: str) -> Ask | Problem:
    """What a request asks for, or why it is none."""
    try:
        body = msgspec.json.decode(data, type=GeminiBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return msgspec.structs.replace(PROBLEMS["400"], message=f"Invalid JSON payload received. {error}")
    if not body.contents:
        return msgspec.structs.replace(PROBLEMS["400"], message="contents is not specified")
    turns = [(str(turn.get("role", "user")), _text(turn)) for turn in body.contents]
    if body.systemInstruction:
        turns.insert(0, ("system", _text(body.systemInstruction)))
    config = body.generationConfig
    limit, schema = config.get("maxOutputTokens"), config.get("responseJsonSchema") or config.get("responseSchema")
    calling = (body.toolConfig or {}).get("functionCallingConfig") or {}
    mode, allowed = calling.get("mode"), calling.get("allowedFunctionNames")
    tools = [each for tool in body.tools or () for each in tool.get("functionDeclarations", ())]
    return Ask(
        model=model.removeprefix("models/"),
        texts=tuple(text for _, text in turns),
        roles=tuple(role for role, _ in turns),
        max_tokens=limit if isinstance(limit, int) else None,
        choices=int(config.get("candidateCount") or 1),
        schema=_lower(schema) if isinstance(schema, dict) else None,
        wants_json=config.get("responseMimeType") == "application/json",
        tools=tuple(_lower(each) for each in tools if not allowed or each.get("name") in allowed),
        must_call=mode == "ANY",
        may_call=mode != "NONE",
        stop=tuple(config.get("stopSequences") or ()),
        logprobs=int(config.get("logprobs") or 0) if config.get("responseLogprobs") else None,
    )


def content_body(server: Server, ask: Ask, answer: Answer) -> dict[str, Any]:
    """A GenerateContentResponse."""
    body: dict[str, Any] = {"usageMetadata": _usage(answer), "modelVersion": answer.model, "responseId": answer.id}
    if answer.finish == "filter":
        return {"promptFeedback": {"blockReason": "SAFETY"}, **body}
    if answer.shows == "no_choices":
        return body
    return {"candidates": [_candidate(server, ask, answer, index) for index in range(len(answer.texts))], **body}


def _candidate(server: Server, ask: Ask, answer: Answer, index: int) -> dict[str, Any]:
    text = answer.texts[index]
    parts: list[dict[str, Any]] = [{"text": text}] if text else []
    for number, call in enumerate(answer.calls):
        asked = {"id": f"{answer.id[:8]}{number}", "name": call.name, "args": msgspec.json.decode(call.arguments)}
        parts.append({"functionCall": asked, **({} if number else {"thoughtSignature": SIGNATURE})})
    finish = FINISH.get(answer.finish, answer.finish.upper())
    told = {"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": index, "safetyRatings": []}
    return (
        told if ask.logprobs is None or not text else {**told, "logprobsResult": _logprobs(server, text, ask.logprobs)}
    )


def _logprobs(server: Server, text: str, others: int) -> dict[str, Any]:
    found = pieces(server.config, text, others)
    chosen = [{"token": each.token, "tokenId": 1, "logProbability": each.logprob} for each in found]
    tops = [
        {"candidates": [{"token": token, "tokenId": 1, "logProbability": logprob} for token, logprob in each.others]}
        for each in found
    ]
    return {"chosenCandidates": chosen, **({"topCandidates": tops} if others else {})}


def _usage(answer: Answer) -> dict[str, Any] | None:
    usage = answer.usage
    if answer.shows == "no_usage":
        return None
    if answer.shows == "odd_usage":
        return {"promptTokenCount": str(usage.input_tokens), "candidatesTokenCount": None, "totalTokenCount": -1}
    counts = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    # Counters that are nought are left out.
    extra = {"cachedContentTokenCount": usage.cached_tokens, "thoughtsTokenCount": usage.reasoning_tokens}
    return {**counts, **{name: value for name, value in extra.items() if value}}


def say(server: Server, ask: Ask, answer: Answer) -> bytes:
    return msgspec.json.encode(content_body(server, ask, answer))


def error_body(problem: Problem) -> dict[str, Any]:
    """An error as it stands in a body or in a batch's result."""
    message = problem.message
    if problem.name == "context" and problem.detail:
        limit, tokens = problem.detail.get("limit", 0), problem.detail.get("tokens", 0)
        message = f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit})."
    if "model" in problem.detail:
        message = (
            f"models/{problem.detail['model']} is not found for API version v1beta, or is not supported for "
            "generateContent. Call ListModels to see the list of available models and their supported methods."
        )
    details: list[dict[str, Any]] = []
    if problem.name in QUOTA:
        violation = {"quotaId": QUOTA[problem.name], "quotaMetric": "generativelanguage.googleapis.com/requests"}
        details.append({"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]})
        if problem.retry_after_s is not None:
            details.append(
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{problem.retry_after_s:g}s"}
            )
    if problem.name == "quota":
        message = SPEND_CAP
        details.append(
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": problem.code or "SPENDING_CAP_EXCEEDED"}
        )
    status = STATUS.get(problem.status, "UNKNOWN")
    return {"error": {"code": problem.status, "message": message, "status": status, "details": details}}


def fail(_server: Server, problem: Problem) -> Reply:
    if problem.name == "moderation":  # no error, but an answer without candidates
        blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 0}}
        return json_reply(blocked)
    return json_reply(error_body(problem), problem.status)


def _text(content: dict[str, Any]) -> str:
    parts = content.get("parts") or []
    texts = [part["text"] if isinstance(part.get("text"), str) else part_text(part) for part in parts]
    return "\n".join(texts)


def _lower(schema: Any) -> Any:
    """Gemini writes types in capitals."""
    if isinstance(schema, dict):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
            for key, value in schema.items()
        }
    return [_lower(each) for each in schema] if isinstance(schema, list) else schema


VOICE = Voice(say, fail)
