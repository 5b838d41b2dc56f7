"""What an answer means for its prompt: the prompt's end, or why the answer is not good enough. No call is made here."""

from __future__ import annotations

from pipelines.quality import check
from pipelines.types import Called, Completion, Done
from worker.backends.exchange import Response
from worker.drain.history import storable
from worker.drain.running import Prompt


def judge(
    prompt: Prompt, completion: Completion, called: Called | None, response: Response | None
) -> tuple[Done | None, str]:
    """The prompt's end, or the reason for which it has none yet."""
    run = prompt.batch.run
    status, parsed, problem = "ok", None, ""
    completion = storable(completion)
    if completion.finish in ("refusal", "filter"):
        status, problem = "refused", f"the model refused ({completion.finish})"
    elif run.checked and not completion.tool_calls:
        checked = check(completion.text, labels=run.labels, schema=run.validator, finish=completion.finish)
        if not checked.ok:
            return None, checked.reason or "check failed"
        parsed = checked.parsed_json
    now = called.finished_us if called else prompt.first_us
    return Done(
        prompt.item.row, status, called.call if called else None, prompt.attempts, completion.text, parsed,
        completion.finish, None, completion.finish if status == "refused" else None, problem or None,
        response.status if response else None,
        response.body if response is not None and run.keep_response else None, prompt.first_us, now,
    ), ""  # fmt: skip
