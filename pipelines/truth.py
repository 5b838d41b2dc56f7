"""Whether a local server's answer may be believed: empty, cut short, of another model, or to a prompt of which a part was
dropped. It judges what the server says of its answer, not what the answer says (quality.py looks at its form).

Each doubt is a proof or none: a prompt counts as cut only when the server read fewer tokens than any tokenizer could
have made of its words, or used more tokens than its window has. So a healthy server is never doubted for its tokenizer.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import msgspec

from pipelines.config.sections import Target
from pipelines.printable import one_line
from pipelines.quality import THOUGHT_ENDS, spoken
from pipelines.types import Completion, Failure, Item

DOUBT = "untrue"
"""The failure kind of an answer that came, was paid for by its usage, and cannot be used."""

OF_SERVER = frozenset({"wrong_model"})
"""Doubts about the server itself rather than about this prompt: they count for its health."""

_NAME_CHARS = 200
_LEAST_WORDS = 64
_SURE = 0.9
"""Of the least that a prompt's words can come to: a few tokenizers join very common pairs of words."""
_SUSPECT = 0.65
"""Of our own count, which errs on the dear side: what is above needs no second look."""
_REACHED = 0.9
"""Of max_tokens: an answer of this length was cut by its own row's limit, however servers count."""
_ASIDE = 8
"""Tokens beyond the window that are a matter of counting."""

_SHORTENED, _TIMED = b'"truncate_prompt_tokens":', b'"t_max_predict_ms":'
"""Rows that ask for it themselves: vLLM's word for a shorter prompt, llama.cpp's for an answer that ends in time."""

_UNSPACED = (
    (4, re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")),
    (8, re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")),
)
"""The most characters of scripts without spaces in one token: of East Asia, of Southeast Asia."""
_QUANT = r"i?q[1-8](?:[-_.](?:k|[01]|x{0,2}[sml]|nl|xl))*"
_FORMAT = (
    r"latest|main|gguf|ggml|mlx|awq|gptq|exl[23]|bnb|qat|dwq|ud|hf|onnx|safetensors|dynamic|unsloth|imatrix|i1|"
    r"(?:nv|mx)fp[48](?:[-_]moe)?|w\d+a\d+|b?f(?:p|loat)?(?:8|16|32)|int[48]|\d{1,2}bit"
)
_DECORATION = re.compile(
    rf"(?:[-_.:@ ]+(?:{_FORMAT}|{_QUANT}|\d{{5}}-of-\d{{5}}|20\d{{6}}|20\d\d-\d\d-\d\d)|:\d{{1,2}})+$"
)
"""What servers add to a name: file endings, formats, quantisation, revision, part, date, the number of an instance."""
_MARKS = re.compile(r"[^a-z0-9]+")


def doubt(
    target: Target, item: Item, answer: Completion, *, window: int | None, known: str | None, elsewhere: bool
) -> Failure | None:
    """What is wrong with a local answer, None when nothing is.

    `window` is the context that the server says this call has, in tokens; `known` the name under which the server itself
    lists the one model that it runs; `elsewhere`: another target could answer. An answer cut at a limit that the row did
    not set is the best there is where no other target can do better.
    """
    if not _same_model(target, answer.model, known):
        return _failure("wrong_model", _other(target, answer.model), answer)
    if problem := _cut_prompt(item, answer, window):
        return _failure("prompt_cut", problem, answer)
    said = (answer, *answer.others)
    if any(each.finish in ("stop", "length") and not _says_something(each) for each in said):
        tokens = answer.usage.output_tokens
        return _failure("empty_answer", f"an answer without text, though {tokens} tokens were generated", answer)
    if elsewhere and any(each.finish == "length" for each in said) and not _limit_reached(item, answer):
        return _failure("cut_short", "cut by the server before the row's own limit", answer)
    return None


def too_few(item: Item, answer: Completion) -> Failure | None:
    """Servers that do not know `n` give one answer without a word; of whatever server. What was refused is answered, once."""
    if any(each.finish in ("refusal", "filter") for each in (answer, *answer.others)):
        return None
    asked, got = _read(item.body).n if b'"n":' in item.body else 1, 1 + len(answer.others)
    if type(asked) is not int or got >= asked:
        return None
    return _failure("too_few", f"{asked} answers were asked for (`n`), and {got} came", answer)


def _says_something(answer: Completion) -> bool:
    return bool(spoken(answer.text).strip()) or answer.tool_calls or answer.silent


def _failure(code: str, problem: str, answer: Completion) -> Failure:
    return Failure(
        DOUBT, code, f"HTTP 200: {problem}", 200, usage=answer.usage, model=answer.model,
        cost_reported_pusd=answer.cost_reported_pusd, tier=answer.tier,
    )  # fmt: skip


def _limit_reached(item: Item, answer: Completion) -> bool:
    if _TIMED in item.body:
        return True
    if not item.max_tokens:
        return False
    written = answer.usage.output_tokens
    return not written or written >= _REACHED * item.max_tokens / _samples(item.body)


# -- the model ---------------------------------------------------------------------------------------------------------


def _same_model(target: Target, served: str | None, known: str | None) -> bool:
    """A server that does not say is believed. llama.cpp runs one model, whatever a call names it."""
    if not served or same_model(target.model, served) or "*" in target.served_as:
        return True
    if target.kind == "llamacpp" and (known is None or same_model(known, served)):
        return True
    return any(same_model(name, served) for name in target.served_as)


def _other(target: Target, served: str | None) -> str:
    served = one_line(served or "")[:_NAME_CHARS]
    return f'answered as {served} instead of {target.model}; if that is the same model, add served_as = ["{served}"]'


@functools.lru_cache(maxsize=1024)
def same_model(asked: str, served: str) -> bool:
    """Whether two names mean one model: owner, folder, revision, file ending, quantisation and date aside."""
    return asked == served or _plain(asked) == _plain(served)


def _plain(name: str) -> str:
    base = re.split(r"[/\\]", name.strip().lower().rstrip("/\\"))[-1]
    return _MARKS.sub("", _DECORATION.sub("", base)) or base


# -- the prompt --------------------------------------------------------------------------------------------------------


def _cut_prompt(item: Item, answer: Completion, window: int | None) -> str:
    """A server that counts no tokens at all tells nothing."""
    read, written = answer.usage.input_tokens, answer.usage.output_tokens
    if not read:
        return ""
    if window and read + written > window + _ASIDE and read + written / _samples(item.body) > window + _ASIDE:
        return f"{read} tokens read and {written} written do not fit its window of {window}: a part was dropped"
    if read >= _SUSPECT * item.input_tokens:
        return ""
    least = 0 if _SHORTENED in item.body else least_tokens(item.body)
    if least >= _LEAST_WORDS and read < _SURE * least:
        return f"only {read} tokens of the prompt were read, which has at least {least}: a part was dropped"
    return ""


def least_tokens(body: bytes) -> int:
    """The fewest tokens that any common tokenizer makes of a chat body's texts: none has tokens across words, and of
    writing without spaces a few characters are the most. Images, tools and the chat template count nothing, nor does
    what an earlier answer thought aloud: many templates leave it out."""
    least = 0.0
    for text in _texts(body):
        for word in text.split():
            if len(word) == 1:
                least += 0.5
            else:
                least += 1 if word.isascii() else max(1, _unspaced(word))
    return int(least)


def _unspaced(word: str) -> float:
    return sum(len(script.findall(word)) / most for most, script in _UNSPACED)


class _Body(msgspec.Struct):
    messages: list[Any] = []
    n: Any = None
    best_of: Any = None


def _read(body: bytes) -> _Body:
    try:
        return msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Body()


def _samples(body: bytes) -> int:
    """How many answers a row asks for at once: each has the window to itself, and usage adds them up."""
    asked = _read(body)
    return max([1, *(number for number in (asked.n, asked.best_of) if type(number) is int)])


def _texts(body: bytes) -> list[str]:
    found = []
    for message in _read(body).messages:
        if not isinstance(message, dict):
            continue
        content = message.get("content")
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                found.append(text.rpartition(THOUGHT_ENDS)[2] if message.get("role") == "assistant" else text)
    return found
