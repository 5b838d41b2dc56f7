"""Whether an error says that a provider does not know the model of its target, which is the target's fault and no prompt's.

Only what names that very model proves it: there are gateways that call every 404 `model_not_found`, a row may name other models
(drafts, fallbacks), and a choice among hosts that leaves none has its own words. Texts count from their beginning, so that no prompt
that is quoted in one can close a target.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from pipelines.config.sections import Target
from pipelines.types import Completion, Failure

ABSENT = "model"
"""The kind of such a failure."""
NO_PROVIDER = "no_provider"
"""The code of a failure where nobody may answer to whom a provider could pass the call on."""
STATUSES = frozenset({200, 400, 404, 410, 422})
CODES = frozenset(
    {
        "model_not_found",
        "model_not_available",
        "model_not_supported",
        "invalid_model",
        "invalidendpointormodel.notfound",
    }
)
"""Of OpenAI and who follows it, Together, Hugging Face, Mistral, Volcengine; believed where the message names the model."""
NAMELESS = re.compile(
    r"model not exist|model not found, inaccessible, and/or not deployed|"
    r"the api deployment for this resource does not exist\b.*", re.IGNORECASE | re.DOTALL,
)  # fmt: skip
"""Whole messages of DeepSeek, Fireworks and Azure, which have no other word for it."""
_LOADS = re.compile(r"\b(?:un)?load", re.IGNORECASE)
"""A model that cannot be loaded is known."""
_TEXTS = (
    r"model: {name}",  # Anthropic
    r"{name} is not a valid model id\b.*",  # OpenRouter
    r"no endpoints found for {name}\.?",  # OpenRouter, of a model that nobody serves any more
    r"{name} is not found for api version\b.*",  # Gemini
    r"(?:\{{'error': ')?(?:/\S{{1,40}}: )?invalid model(?: name| identifier| id)?\b.{{0,40}}{name}.*",  # Mistral, LiteLLM, LM Studio
    r"(?:the )?(?:requested )?model {name} (?:does not exist|(?:was )?not found)\b.*",  # vLLM, Ollama, xAI, Groq
    r"unable to access model {name}.*",  # Together
)


def absent(target: Target, failed: Failure) -> Failure:
    """The failure, as one of kind ABSENT where it is one."""
    if failed.kind != "invalid" or failed.http_status not in STATUSES:
        return failed
    message = failed.message.partition(": ")[2]  # ours begin with the status
    named, said = _patterns(target.model)
    coded = failed.code in CODES and named.search(message) and not _LOADS.search(message)
    if not (coded or NAMELESS.fullmatch(message) or said.fullmatch(message)):
        return failed
    told = f"{failed.message.rstrip('.')}; is `model` of this target right?"
    return msgspec.structs.replace(failed, kind=ABSENT, code="model_not_found", message=told)


def blamed(outcome: Completion | Failure, body: bytes) -> Completion | Failure:
    """The outcome of a row's call: one that chooses among its provider's hosts may itself have left none."""
    choosy = isinstance(outcome, Failure) and (outcome.kind == ABSENT or outcome.code == NO_PROVIDER)
    if choosy and b'"provider"' in body:
        return msgspec.structs.replace(outcome, kind="invalid")
    return outcome


@lru_cache(maxsize=256)
def _patterns(model: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """The model's name as a word, in whole or without what pins its host; and all the texts that say that it is not there."""
    model = model.removeprefix("models/")
    names = "|".join(re.escape(each) for each in (model, model.partition(":")[0]))
    name = rf"[`'\"]?(?:models/)?(?:{names})[`'\"]?"
    texts = "|".join(each.format(name=name) for each in _TEXTS)
    return (
        re.compile(rf"(?<![\w./:-])(?:models/)?(?:{names})(?![\w/:-])", re.IGNORECASE),
        re.compile(texts, re.IGNORECASE | re.DOTALL),
    )
