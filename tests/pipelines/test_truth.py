"""Doubts about local answers: each fault is a proof, and healthy servers are never doubted, whatever their tokenizer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.sections import Target
from pipelines.tokens import count_chats, count_tokens
from pipelines.truth import doubt, least_tokens, same_model, too_few
from pipelines.types import Completion, Item, Usage

ROOT = Path(__file__).parents[2]
PROSE = " ".join(
    f"Customer number {n} asks about the invoice of last month and wants her money back." for n in range(60)
)


def target(model: str = "qwen2.5-14b-instruct", **more: Any) -> Target:
    given = {"kind": "lmstudio", "model": model, "base_url": "http://127.0.0.1:1/v1"}
    return Target(**{**given, **more})


def item(text: Any = PROSE, max_tokens: int = 0) -> Item:
    body = {"messages": [{"role": "user", "content": text}]}
    return Item(0, json.dumps(body).encode(), count_chats([body], "estimate")[0], max_tokens)


def answer(read: int = 2_000, written: int = 20, text: str = "Blue.", finish: str = "stop", **more: Any) -> Completion:
    return Completion(text, finish, Usage(read, 0, 0, written, 0), more.pop("model", "qwen2.5-14b-instruct"), **more)


def code(asked: Item, heard: Completion, **more: Any) -> str:
    found = doubt(
        more.pop("target", target()), asked, heard,
        **{"window": None, "known": None, "elsewhere": True, **more},
    )  # fmt: skip
    if found is not None:
        assert (found.kind, found.http_status, found.usage) == ("untrue", 200, heard.usage)
        assert found.model == heard.model
        assert "\n" not in found.message
    return found.code if found else ""


# -- the prompt --------------------------------------------------------------------------------------------------------


def test_a_prompt_of_which_few_tokens_were_read_was_cut() -> None:
    real = count_tokens([PROSE])[0]
    assert code(item(), answer(real)) == ""
    assert code(item(), answer(real // 2)) == "prompt_cut"
    assert code(item(), answer(40)) == "prompt_cut"
    assert code(item(), answer(0)) == "", "a server that counts nothing tells nothing"
    assert code(item("Short words, and few."), answer(1)) == "", "of a short prompt nothing can be proven"


def test_more_tokens_than_the_window_holds_prove_that_some_were_dropped() -> None:
    assert code(item(), answer(4_096, 200), window=4_096) == "prompt_cut"
    assert code(item(), answer(3_996, 100), window=4_096) == ""
    assert code(item(), answer(4_096, 200), window=None) == ""


def test_images_and_tools_prove_nothing() -> None:
    parts = [{"type": "text", "text": "What is this?"}] + [{"type": "image_url", "image_url": {"url": "x" * 9_000}}] * 9
    asked = item(parts)
    assert asked.input_tokens > 9_000
    assert code(asked, answer(300)) == ""


def test_several_answers_to_one_row_share_no_window() -> None:
    several = json.loads(item().body) | {"n": 4}
    asked = msgspec.structs.replace(item(), body=json.dumps(several).encode())
    assert code(asked, answer(1_000, 8_000), window=4_096) == ""
    assert code(asked, answer(4_000, 8_000), window=4_096) == "prompt_cut"
    assert code(item(), answer(1_000, 8_000), window=4_096) == "prompt_cut"


def test_thoughts_of_earlier_answers_prove_nothing() -> None:
    """Templates of Qwen3, DeepSeek and others leave them out."""

    def least(role: str) -> int:
        said = [{"role": "user", "content": "Why?"}, {"role": role, "content": f"<think>{PROSE}</think> So it is."}]
        return least_tokens(json.dumps({"messages": said}).encode())

    assert least("assistant") < 10
    assert least("user") > 800


@pytest.mark.parametrize(
    "text",
    [
        "한국 정부는 지난 해 경제 성장 정책을 발표 했다 서울 시민 들은 교통 문제 해결 방안 을 요구 했다",
        "中国 政府 今天 宣布 新 的 经济 政策 我们 需要 更多 时间 进行 研究 公司 发展 技术 人员 管理 系统",
        "中国政府今天宣布新的经济政策，我们需要更多时间进行研究。",
        "お客様のご注文はまだ発送されておりません。返金をご希望の場合はカスタマーサポートまでご連絡ください。",
        "ประเทศไทยมีประชากรมากกว่าหกสิบล้านคน กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
        "👍🏽 😀😀 🎉🎉 ❤️❤️ 👨‍👩‍👧",
    ],
)
def test_a_word_of_another_script_is_counted_once(text: str) -> None:
    """Tokenizers made for these languages have a token for each common word: of Thai, up to some eight characters."""
    asked = item(" ".join([text] * 20))
    real, words = count_tokens([" ".join([text] * 20)])[0], len(text.split()) * 20
    assert least_tokens(asked.body) <= max(words, 0.65 * real)
    assert code(asked, answer(real)) == ""


def texts() -> Iterator[str]:
    """Real texts of many kinds: tickets in plain language, products, code, documents, data; cut into prompts of every
    length from a line to several pages."""
    for line in (ROOT / "data/samples/support_tickets.jsonl").read_text().splitlines():
        record = json.loads(line)
        yield str(record.get("prompt") or record)
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "data/samples/**/*.[ct][so][vm]*",
        "worker/scripts/*.lua",
        "*.txt",
        "**/*.py",
    ):
        for file in sorted(ROOT.glob(pattern)):
            if ".venv" in file.parts:
                continue
            text = file.read_text(errors="replace")
            for size in (300, 1_200, 5_000):
                yield from (text[at : at + size] for at in range(0, len(text), size))


def test_no_healthy_prompt_is_doubted_over_ten_thousand() -> None:
    """Three real tokenizers, one of which has not half the words of another; every text as if the server told the truth."""
    found = list(itertools.islice(texts(), 11_000))
    assert len(found) >= 10_000
    from tokenizers import Tokenizer

    from worker.dedupe.encode import find_weights

    weights = find_weights()
    assert weights is not None
    wordpiece = Tokenizer.from_file(str(next(weights.rglob("tokenizer.json"))))
    wordpiece.no_truncation()
    wordpiece.no_padding()
    counts = [count_tokens(found, "o200k_base"), count_tokens(found, "cl100k_base")]
    counts.append([len(each.ids) for each in wordpiece.encode_batch(found, add_special_tokens=False)])
    false = [
        (text[:60], read)
        for real in counts
        for text, read in zip(found, real, strict=True)
        if code(item(text), answer(read), window=131_072)
    ]
    assert false == []


def test_half_a_prompt_is_noticed_in_most_texts() -> None:
    """The other side: what never doubts anything would pass the test above."""
    long = [text for text in itertools.islice(texts(), 6_000) if len(text) >= 1_200 and text.isascii()]
    halves = count_tokens([text[: len(text) // 2] for text in long])
    seen = sum(code(item(text), answer(read)) == "prompt_cut" for text, read in zip(long, halves, strict=True))
    tickets = [item(text * 40) for text in itertools.islice(texts(), 500)]
    assert all(code(each, answer(each.input_tokens // 4)) == "prompt_cut" for each in tickets)
    assert seen > 0.15 * len(long), "code has fewer words than tokens; a quarter is always noticed, a half often"


@given(st.lists(st.text(max_size=12), max_size=200))
def test_no_text_has_fewer_tokens_than_its_least(words: list[str]) -> None:
    text = " ".join(word for word in words if word.isprintable())
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    assert least_tokens(body) <= max(1, count_tokens([text])[0])


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"messages": 3}', b'{"messages": [null, {"content": [3, {}]}]}'])
def test_a_body_of_another_shape_has_no_least(body: bytes) -> None:
    assert least_tokens(body) == 0


# -- the model ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("qwen2.5-14b-instruct", "qwen/qwen2.5-14b-instruct"),
        ("Qwen/Qwen2.5-14B-Instruct", "qwen2.5-14b-instruct"),
        ("llama3.2", "llama3.2:latest"),
        ("llama3.2:latest", "llama3.2"),
        ("qwen2.5-7b-instruct", "Qwen2.5-7B-Instruct-Q4_K_M.gguf"),
        ("qwen3-8b", "unsloth/Qwen3-8B-unsloth-bnb-4bit"),
        ("gpt-oss-20b", "gpt-oss-20b-MXFP4_MOE.gguf"),
        ("llama-3-8b", "mradermacher/llama-3-8b-i1-Q4_K_M.gguf"),
        ("qwen2.5-7b-instruct", "/models/qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf"),
        ("qwen2.5-14b-instruct", "qwen2.5-14b-instruct@q8_0"),
        ("C:\\models\\mistral-7b.gguf", "mistral-7b"),
        ("/data/tiny", "/data/tiny@main"),
        ("org/model-awq", "org/model"),
        ("gemma-3-4b-it", "mlx-community/gemma-3-4b-it-4bit"),
        ("phi-4", "microsoft/phi-4-GGUF"),
        ("gpt-oss-20b", "openai/gpt-oss-20b"),
        ("llama-3.1-8b", "Meta_Llama_3.1_8B"[5:].replace("_", "-")),
        ("claude-like-20250101", "claude-like"),
        ("qwen2.5-14b-instruct", "qwen2.5-14b-instruct:2"),  # LM Studio's second instance
        ("gemma-3-12b-it", "unsloth/gemma-3-12b-it-UD-Q4_K_XL.gguf"),
        ("llama-3.1-8b-instruct", "neuralmagic/Llama-3.1-8B-Instruct-FP8-dynamic"),
        ("llama-2-7b-chat", "meta-llama/Llama-2-7b-chat-hf"),
    ],
)
def test_one_model_has_many_names(asked: str, served: str) -> None:
    assert same_model(asked, served)
    assert same_model(served, asked)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("qwen2.5-14b-instruct", "qwen2.5-7b-instruct"),
        ("qwen2.5-14b-instruct", "qwen2.5-14b"),
        ("llama3.2", "llama3.1"),
        ("llama3.2:3b", "llama3.2:1b"),
        ("qwen3:8b", "qwen3:14b"),
        ("phi-3.5", "phi-3"),
        ("gemma-3-4b-it", "gemma-3-12b-it"),
        ("stand-in", "some-other-model"),
        ("phi-4", "phi-4-mini"),
    ],
)
def test_another_model_is_another(asked: str, served: str) -> None:
    assert not same_model(asked, served)
    assert code(item(), answer(model=served), target=target(asked)) == "wrong_model"


def test_a_servers_name_for_its_model_cannot_harm_a_terminal() -> None:
    found = doubt(
        target(), item(), answer(model="x\x1b[31m\n" * 999), window=None, known=None, elsewhere=True
    )  # fmt: skip
    assert found is not None and found.message.isprintable() and len(found.message) < 700


def test_names_that_only_the_user_can_know() -> None:
    other = answer(model="house-model")
    assert code(item(), other, target=target("local-model")) == "wrong_model"
    assert code(item(), other, target=target("local-model", served_as=["house-model"])) == ""
    assert code(item(), other, target=target("local-model", served_as=["*"])) == ""
    assert code(item(), answer(model=None), target=target("local-model")) == ""


def test_llama_cpp_runs_one_model_whatever_a_call_names_it() -> None:
    one = target("whatever", kind="llamacpp")
    assert code(item(), answer(model="model.gguf"), target=one, known="model.gguf") == ""
    assert code(item(), answer(model="model.gguf"), target=one) == ""
    assert code(item(), answer(model="another.gguf"), target=one, known="model.gguf") == "wrong_model"


# -- the answer --------------------------------------------------------------------------------------------------------


def test_an_answer_without_text_is_none() -> None:
    assert code(item(), answer(text="")) == "empty_answer"
    assert code(item(), answer(text=" \n", finish="length")) == "empty_answer"
    assert code(item(), answer(text="", finish="tool", tool_calls=True)) == ""
    assert code(item(), answer(text="", finish="filter")) == ""
    assert code(item(), answer(text="", silent=True)) == ""
    for thought in ("<think>Blue?</think>\n\n", "<think>Blue, I would", "\n<think>\n</think>"):
        assert code(item(), answer(text=thought)) == "empty_answer", "it only thought aloud"
    for said in ("<think>Blue?</think>Blue.", "Close it with </think>", "<thinking> is a tag", "Blue?</think>Blue."):
        assert code(item(), answer(text=said)) == ""


def test_what_the_row_itself_asked_to_be_shortened_is_no_fault() -> None:
    def asking(**more: Any) -> Item:
        body = {"messages": [{"role": "user", "content": PROSE}], **more}
        return Item(0, msgspec.json.encode(body), count_chats([body], "estimate")[0], 0)

    assert code(asking(), answer(40)) == "prompt_cut"
    assert code(asking(truncate_prompt_tokens=40), answer(40)) == ""
    assert code(asking(), answer(finish="length")) == "cut_short"
    assert code(asking(t_max_predict_ms=500), answer(finish="length")) == ""


@pytest.mark.parametrize(
    ("max_tokens", "written", "elsewhere", "doubted"),
    [
        (0, 1_024, True, True),  # the server's own limit
        (0, 1_024, False, False),  # nobody could do better
        (16, 16, True, False),  # the row's own limit
        (16, 15, True, False),  # servers count the end of a text in or not
        (16, 0, True, False),
        (500, 90, True, True),  # the window was full
        (500, 90, False, False),
    ],
)
def test_a_cut_answer_is_doubted_where_another_target_can_do_better(
    max_tokens: int, written: int, elsewhere: bool, doubted: bool
) -> None:
    heard = answer(written=written, finish="length")
    assert code(item(max_tokens=max_tokens), heard, elsewhere=elsewhere) == ("cut_short" if doubted else "")


def test_several_answers_at_once_have_a_limit_each() -> None:
    """Of four answers of a hundred tokens at most one was cut there; usage and the row's limit are sums."""
    asked = Item(0, json.dumps({"messages": [{"role": "user", "content": PROSE}], "n": 4}).encode(), 500, 400)
    assert code(asked, answer(written=160, finish="length")) == ""
    assert code(asked, answer(written=60, finish="length")) == "cut_short"


def test_each_of_several_answers_says_something_and_is_whole() -> None:
    """The first one alone was looked at."""
    asked = Item(0, json.dumps({"messages": [{"role": "user", "content": PROSE}], "n": 2}).encode(), 500, 0)
    whole, bare, cut = answer(), answer(text=""), answer(finish="length")
    assert code(asked, answer(others=(whole,))) == ""
    assert code(asked, answer(others=(whole, bare))) == "empty_answer"
    assert code(asked, answer(others=(answer(text="", finish="tool", tool_calls=True),))) == ""
    assert code(asked, answer(others=(cut,))) == "cut_short"
    assert code(asked, answer(others=(cut,)), elsewhere=False) == ""


def test_fewer_answers_than_were_asked_for_are_found_out() -> None:
    def asking(**more: Any) -> Item:
        return Item(0, json.dumps({"messages": [{"role": "user", "content": 'say "n":3'}], **more}).encode(), 9, 0)

    found = too_few(asking(n=3), answer(others=(answer(),)))
    assert found is not None and (found.kind, found.code) == ("untrue", "too_few")
    assert "3 answers were asked for (`n`), and 2 came" in found.message and found.usage == answer().usage
    assert too_few(asking(n=2), answer(others=(answer(),))) is None
    for one in (asking(), asking(n=1), asking(n=None), asking(n="3")):
        assert too_few(one, answer()) is None
    for end in ("refusal", "filter"):  # which comes without a choice for each, and without usage
        assert too_few(asking(n=3), answer(0, 0, "", end)) is None
        assert too_few(asking(n=3), answer(others=(answer(0, 0, "", end),))) is None
