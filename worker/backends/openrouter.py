"""OpenRouter: reports what a call cost, puts errors inside answers, and has one status (403) for what its moderation stops, for
budgets that are spent and for keys that may not."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.config.sections import Target
from pipelines.dialects.parameters import LIMITS
from pipelines.money import Price, pusd_to_usd, pusd_to_usd_str, usd_to_nusd
from pipelines.types import Completion, Failure
from worker.backends import looks
from worker.backends.absent import NO_PROVIDER
from worker.backends.compatible import CARRIED, Compatible, Fields
from worker.backends.exchange import Response
from worker.backends.failures import FUNDS, Told
from worker.backends.looks import Seen
from worker.backends.rows import Cannot, names

if TYPE_CHECKING:
    from worker.backends.http import Web

MOST_USD = 1e6
"""A key that has spent more than this is not believed."""

OWN = names(
    "logprobs top_logprobs parallel_tool_calls reasoning_effort service_tier modalities prediction "
    "prompt_cache_key prompt_cache_options user session_id cache_control min_p provider reasoning repetition_penalty "
    "top_a top_k trace"
)
"""Not those that would let a row choose a dearer model or a paid plugin: `models`, `plugins`, `web_search_options`; nor tools of its own,
which are none of the caller's functions (compatible.py)."""


def _to_whom(fields: Fields, price: Price | None) -> None:
    """Left to itself, it gives a call to providers that drop what they do not know, and to such as cost more than was reserved for
    it. What a row says of them itself holds, but for a limit of its own that is higher than ours."""
    given = msgspec.json.decode(fields.get("provider", b"{}"))
    if type(given) is not dict:
        raise Cannot("this form of `provider`")
    said = dict(given)
    if fields.keys() - {"messages", *LIMITS}:
        said = {"require_parameters": True, **said}
    if price is not None:
        said["max_price"] = _most(given.get("max_price"), price)
    if said:
        fields["provider"] = msgspec.Raw(msgspec.json.encode(said))


def _most(given: Any, price: Price) -> dict[str, Any]:
    """Dollars for a million tokens, and for a call: what is reserved, or what the row allows where that is less."""
    rates = price.tiers[0]  # what it compares is what a provider asks for a short prompt
    ours = {"prompt": rates.input, "completion": rates.output, "request": price.request_pusd}
    if type(given) not in (dict, NoneType):
        raise Cannot("this form of `provider.max_price`")
    most: dict[str, Any] = dict(given or {})
    for name, pusd in ours.items():
        own = most.get(name)
        try:
            if own is None or Decimal(str(own)) > pusd_to_usd(pusd):
                most[name] = pusd_to_usd_str(pusd)
        except InvalidOperation as error:
            raise Cannot("this form of `provider.max_price`") from error
    return most


_NOBODY = re.compile(
    r"HTTP 404: no (?:allowed providers are available|endpoints found matching your data policy)", re.IGNORECASE
)


_STOPPED = ("reasons", "flagged_input", "patterns")
_REQUEST_BLOCKED = re.compile(r"request blocked", re.IGNORECASE)
"""What moderation and guardrails say of a prompt that they stopped: in the error's metadata, or at the beginning of its text."""


def _means(error: Told, status: int) -> str | None:
    """An `invalid_prompt` has a message of no known form; at OpenAI it broke a policy. And its 403: a budget or a key concerns every
    prompt, what was stopped only one, so a key that may not must say so."""
    names = frozenset(error.names)
    if "invalid_prompt" in names:
        return "invalid"
    if status != 403 or names & FUNDS:
        return None
    if any(name.startswith("openrouter_") for name in names):  # `limit_source`
        return "funds"
    about = error.error.get("metadata")
    stopped = type(about) is dict and any(about.get(each) for each in _STOPPED)
    if "permission_denied" in names and not stopped and not _REQUEST_BLOCKED.match(error.message):
        return "auth"
    return "filter"


class OpenRouter(Compatible):
    """It does not find a provider (404) that may answer, where none is cheap enough or all are left out by the account: the
    target's trouble, and at times one that passes."""

    def parse(self, target: Target, response: Response) -> Completion | Failure:
        heard = super().parse(target, response)
        if not isinstance(heard, Failure) or heard.kind != "invalid":
            return heard
        if heard.code != "provider_unavailable" and not _NOBODY.match(heard.message):
            return heard
        hint = "are all its hosts dearer than its price here (see [prices]), or left out by the account's settings?"
        told = f"{heard.message.rstrip('.')}; {hint}"
        return msgspec.structs.replace(heard, kind="transient", code=NO_PROVIDER, message=told)


ADAPTER = OpenRouter("openrouter", carries=CARRIED | OWN, developer=True, adds=_to_whom, own=_means, reports_cost=True)


async def spent_nusd(web: Web, target: Target) -> int | None:
    """What the key has spent so far, by everybody who has it."""
    data, trouble, _ = await looks.ask(web, f"{target.base_url}/key", looks.bearer(target))
    about = data.get("data") if trouble is None and type(data) is dict else None
    usd = about.get("usage") if type(about) is dict else None
    return usd_to_nusd(repr(usd)) if isinstance(usd, int | float) and 0 <= usd < MOST_USD else None


async def look(web: Web, target: Target) -> Seen:
    """Its list of models is public, so the key is asked about itself."""
    if not target.key:
        return await looks.models(web, target)
    data, trouble, status = await looks.ask(web, f"{target.base_url}/key", looks.bearer(target))
    if trouble is not None:
        return Seen(True) if status in (404, 405) else trouble
    about = data.get("data") if type(data) is dict else None
    left = about.get("limit_remaining") if type(about) is dict else None
    if isinstance(left, int | float) and left <= 0:
        return Seen(False, "the key's credit limit is used up; raise it at openrouter.ai/settings/keys")
    return Seen(True, "", target.model)
