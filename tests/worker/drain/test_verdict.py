"""What an answer is worth, and of several answers to one prompt all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.settings import parse_settings
from pipelines.types import Completion, Done, Usage
from worker.context import RunContext
from worker.drain.verdict import Prompted, judge

SCHEMA = '{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}'
LABELLED, SHAPED = '{"labels":["yes","no"]}', json.dumps({"schema": SCHEMA})


def judged(options: str, *said: tuple[str, str]) -> tuple[Done | None, str]:
    run = RunContext("r", {"options": options}, parse_settings({}))
    first, *rest = (Completion(text, finish, Usage(), "m", finish == "tool") for text, finish in said)
    heard = Completion(first.text, first.finish, first.usage, "m", first.tool_calls, others=tuple(rest))
    return judge(run, Prompted(0, 1, 0), heard, None, 200, b"{}")


@pytest.mark.parametrize(
    ("options", "good", "bad", "why"),
    [
        (LABELLED, ("no", "stop"), ("perhaps", "stop"), "none of the labels"),
        (LABELLED, ("no", "stop"), ("", "length"), "the answer is empty"),
        (SHAPED, ('{"a":1}', "stop"), ('{"a":', "length"), "cut at its length limit"),
        (SHAPED, ('{"a":1}', "stop"), ('{"a":"x"}', "stop"), "breaks the schema at /a"),
        (SHAPED, ("", "tool"), ("{}", "stop"), "breaks the schema"),
    ],
)
def test_each_of_several_answers_is_checked(options: str, good: Any, bad: Any, why: str) -> None:
    done, _ = judged(options, good, good)
    assert done is not None and done.status == "ok" and done.output == good[0]
    for said in ((good, bad), (bad, good), (good, good, bad)):
        done, problem = judged(options, *said)
        assert done is None and why in problem
        assert f"answer {said.index(bad) + 1} of {len(said)}: " in problem
    assert "of 1" not in judged(options, bad)[1]


def test_what_one_of_several_refuses_is_no_whole_answer() -> None:
    for said in ((("Blue.", "stop"), ("I cannot.", "refusal")), (("I cannot.", "refusal"), ("Blue.", "stop"))):
        done, _ = judged("{}", *said)
        assert done is not None and (done.status, done.finish_reason, done.output) == ("refused", "refusal", said[0][0])
    done, _ = judged('{"labels":["yes"]}', ("yes", "stop"), ("", "filter"))
    assert done is not None and (done.status, done.error_code) == ("refused", "filter")
