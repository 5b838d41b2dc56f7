"""What an answer is worth: the ledger's view of its call, and the end that it means for its prompt; it calls nobody.

Shared by every lane: drain.py's calls one by one, and the lines of a provider's batch.
"""

from __future__ import annotations

import msgspec

from pipelines.quality import check
from pipelines.types import Called, Completion, Done, Failure, Intent
from worker.context import RunContext
from worker.money.ledger import Charge


class Prompted(msgspec.Struct, frozen=True):
    """The prompt that was answered: its row, how often it has been asked, and when first."""

    row: int
    attempts: int
    first_us: int


def called(intent: Intent, facts: Charge, outcome: Completion | Failure, purpose: str, finished_us: int) -> Called:
    """The ledger's view of a call. What an audit asked nobody wanted but us: nothing was avoided by it."""
    avoids = purpose != "audit"
    return Called(
        intent.call, facts.outcome, facts.http_status, facts.error_code, facts.usage, facts.cost_pusd,
        facts.cost_basis, facts.model, facts.price_id, facts.price_as_of, facts.avoided_pusd if avoids else 0,
        facts.avoided_cause if avoids else None, finished_us, outcome.kind if isinstance(outcome, Failure) else None,
    )  # fmt: skip


def judge(
    run: RunContext,
    prompt: Prompted,
    completion: Completion,
    call: Called | None,
    status: int | None,
    body: bytes | None,
) -> tuple[Done | None, str]:
    """The prompt's end, or why the answer is not good enough; of several answers to one prompt each must be."""
    said = (completion, *completion.others)
    refusal = next((each.finish for each in said if each.finish in ("refusal", "filter")), None)
    parsed = None
    for number, each in enumerate(said if run.checked and refusal is None else (), 1):
        if each.tool_calls:
            continue
        checked = check(each.text, labels=run.labels, schema=run.validator, finish=each.finish)
        if not checked.ok:
            which = f"answer {number} of {len(said)}: " if len(said) > 1 else ""
            return None, which + (checked.reason or "check failed")
        parsed = checked.parsed_json if number == 1 else parsed
    return Done(
        prompt.row, "refused" if refusal else "ok", call.call if call else None, prompt.attempts, completion.text, parsed,
        refusal or completion.finish, None, refusal, f"the model refused ({refusal})" if refusal else None, status,
        body if run.keep_response else None, prompt.first_us, call.finished_us if call else prompt.first_us,
    ), ""  # fmt: skip


def booked(call: Called, done: Done | None) -> Called:
    """The call as it goes into the ledger: one whose answer is not published avoided nothing."""
    if done is not None and done.status == "ok":
        return call
    code = "check_failed" if done is None else call.error_code
    return msgspec.structs.replace(call, error_code=code, avoided_pusd=0, avoided_cause=None)
