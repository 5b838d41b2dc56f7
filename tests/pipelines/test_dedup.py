"""Keys and the proof by difference, as tables of pairs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from pipelines.dedup import (
    CLOSED,
    EXTRACT,
    FORMS,
    OPEN,
    STRICT,
    VERBATIM,
    Candidate,
    Said,
    canonical_key,
    decide,
    infer_task,
    labelled_task,
    proof,
    read,
    refusal,
    said,
    stored,
    task_of,
)
from pipelines.proof import lexicon
from pipelines.proof.instruction import asked_of, read_task

_WORDS = "account transfer delivery pending from form trail trial please estimated exchange where quite quiet casual"
_NAMES = "Smith Johnson Paris Oslo"


@pytest.fixture(autouse=True)
def vocabulary() -> Iterator[None]:
    words = [(b" " + word.encode(), rank) for rank, word in enumerate(_WORDS.split(), 10)]
    names = [(b" " + name.encode(), rank) for rank, name in enumerate(_NAMES.split(), 20_000)]
    lexicon.install([*words, *names], _WORDS.split())
    yield
    lexicon.forget()


SAME_FORM = [
    (STRICT, "A  text\twith\nspace ", "A text with space"),
    (STRICT, "café", "cafe\u0301"),
    (STRICT, "a\u00a0b\u200b c", "a b c"),
    (STRICT, "def f(x):\n    return x\n", "\r\ndef f(x):   \r\n    return x\r\n\r\n"),
    (OPEN, "What's the plan", "what is the plan?"),
    (OPEN, "Great film!", "great film!!!"),
    (OPEN, "Who won in 1871\nA:", "Who won in 1871?\nA:"),
    (OPEN, "Q: Who won in 1871\nA: Let me think.", "Q: Who won in 1871?\nA: Let me think."),
    (CLOSED, "I haven't got it.", "I have not got it"),
    (CLOSED, "Population was 1,500.", "population was 1500"),
]
OTHER_FORM = [
    (STRICT, "Great film", "great film"),
    (STRICT, "Great film", "Great film?"),
    (STRICT, 'print("a  b")', 'print("a b")'),
    (STRICT, "if x:\n    a()\n    b()", "if x:\n    a()\nb()"),
    (STRICT, "10²", "102"),
    (VERBATIM, "How many characters are in 'a  b'?", "How many characters are in 'a b'?"),
    (VERBATIM, "Count the characters: wait…", "Count the characters: wait..."),
    (VERBATIM, "Count the lines:\na\nb", "Count the lines:\na b"),
    (VERBATIM, "How many tokens are in “a”", 'How many tokens are in "a"'),
    (VERBATIM, "Count the letters: e\u0301", "Count the letters: \u00e9"),
    (OPEN, "Great film", "Great film?"),
    (OPEN, "café menu", "cafe menu"),
    (OPEN, "Is X larger than Y?", "Is x larger than y?"),
    (OPEN, "Is it plan A: the red one", "Is it plan a: the red one"),
    (OPEN, "Is the vitamin A or K?", "Is the vitamin a or K?"),
    (OPEN, "Compute -5 + 2", "Compute 5 + 2"),
    (OPEN, "nice one :)", "nice one :("),
    (OPEN, "sort a list in C", "sort a list in C++"),
    (OPEN, "it costs 1.5", "it costs 15"),
    (OPEN, 'What is meant by the word "do Package it" here?', 'What is meant by the word "do package it" here?'),
    (OPEN, 'They say it (or write, "Do it now" ) often', 'They say it (or write, "do it now" ) often'),
]


def _key(text: str, task: str) -> bytes:
    return canonical_key(b"family-1", text, task)


@pytest.mark.parametrize(("task", "a", "b"), SAME_FORM)
def test_harmless_forms_share_a_key(task: str, a: str, b: str) -> None:
    assert _key(a, task) == _key(b, task)


@pytest.mark.parametrize(("task", "a", "b"), OTHER_FORM)
def test_other_texts_do_not(task: str, a: str, b: str) -> None:
    assert _key(a, task) != _key(b, task)
    assert not decide((a,), (b,), task).accept


def test_keys_of_other_families_and_tasks_never_meet() -> None:
    keys = {
        canonical_key(family, "same", task) for family in (b"family-1", b"family-2") for task in (OPEN, CLOSED, STRICT)
    }
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}


def test_keys_of_earlier_forms_are_no_keys_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored ones outlive an upgrade; they may have merged what is parted now."""
    before = [_key("same", task) for task in (OPEN, VERBATIM)]
    monkeypatch.setattr("pipelines.dedup.FORMS", FORMS + 1)
    assert not set(before) & {_key("same", task) for task in (OPEN, VERBATIM)}


ACCEPTED = [
    (
        CLOSED,
        'Customer: "Block my card ending in 1044"',
        'Customer: "Block my card ending in 1044."',
        "case or punctuation",
    ),
    (OPEN, "What is the estimated date?", "What is the estimaetd date?", "typo"),
    (OPEN, "Please reset my account", "Reset my account", "politeness"),
    (OPEN, "Which colour is the delivery", "Which color is the delivery", "spelling"),
    (CLOSED, "MY TRANSFER IS LATE", "my transfer is late", "case or punctuation"),
    (STRICT, "the land had no lake", "the land had no lake.", "closing mark"),
    (EXTRACT, "Ann met Bob in Rome", "Ann met Bob in Rome !", "closing mark"),
    (STRICT, "same  words", "same words", "layout"),
]
REFUSED = [
    (OPEN, "Take the trail", "Take the trial", "unexplained"),
    (OPEN, "Where is Mr Johnson", "Where is Mr Jonson", "name"),
    (OPEN, "Is it quite here", "Is it quiet here", "quantifier"),
    (OPEN, "Deliver to Oslo", "Deliver to Paris", "name"),
    (STRICT, "my estimated cost", "my estimaetd cost", "strict task"),
    (STRICT, "Save", "Save.", "strict task"),
    (STRICT, "Ann met Bob in Rome", "Ann met Bob in Rome!", "strict task"),
    (EXTRACT, "Ann met Bob in Rome", "ann met Bob in Rome", "strict task"),
    (EXTRACT, "Ann met Bob in Rome", "Ann met Bob in Rome?", "symbol"),
    (CLOSED, "I was not paid", "I was paid", "negation"),
    (OPEN, "one two three four five six seven", "red green blue", "number"),
]


@pytest.mark.parametrize(("task", "a", "b", "reason"), ACCEPTED)
def test_accepts_what_it_can_explain(task: str, a: str, b: str, reason: str) -> None:
    for pair in ((a, b), (b, a)):
        verdict = decide(pair[:1], pair[1:], task)
        assert (verdict.accept, verdict.reason) == (True, reason)


@pytest.mark.parametrize(("task", "a", "b", "reason"), REFUSED)
def test_refuses_what_it_cannot(task: str, a: str, b: str, reason: str) -> None:
    for pair in ((a, b), (b, a)):
        verdict = decide(pair[:1], pair[1:], task)
        assert (verdict.accept, verdict.reason) == (False, reason)


def test_every_field_must_agree() -> None:
    assert decide(("Oslo", "a  b"), ("Oslo", "a b"), OPEN).accept
    assert not decide(("Oslo", "a b"), ("Paris", "a b"), OPEN).accept
    assert not decide(("a",), ("a", "b"), OPEN).accept


OUT_OF_CONTEXT = [
    ("How many people are in {}?", "Turkey", "turkey"),
    ("What is 8 {} 2", "-", ":"),
    ("How do I get the {} off?", "Polish", "polish"),
    ("Is a laser of 5 {} safe?", "mW", "MW"),
]


@pytest.mark.parametrize(("template", "a", "b"), OUT_OF_CONTEXT)
def test_a_field_is_also_read_where_it_stands(template: str, a: str, b: str) -> None:
    row, other = (said(Candidate(0, b"k" * 16, b"f" * 8, template.format(field), (field,))) for field in (a, b))
    assert proof(row, other, OPEN) is None
    assert refusal(row, other, OPEN)
    assert proof(row, row, OPEN) == "equal"


PASSAGE = 30 * "The holder of the program may use the code under one of the terms of this license. "
INSTRUCTIONS = [
    ("Translate the sentence into German.", STRICT),
    ("Work it out and end with 'Result = <number>'.", OPEN),
    ("=====\nDraft the reply to the e-mail above.", OPEN),
    ("Draft the reply. Repeat all dates exactly as the sender wrote them.", EXTRACT),
    ("Question:\nAnswer briefly.", OPEN),
    ("Extract all fields as JSON.", EXTRACT),
    ("Return the order as JSON with the keys id and date.", EXTRACT),
    ("Übersetze den Satz ins Englische.", STRICT),
    ("Summarise the report in three bullet points.", OPEN),
    ("Review this Python function.", STRICT),
    ("Classify the sentiment as positive or negative.", CLOSED),
    ("Which of these topics is it? Answer with one word only.", CLOSED),
    ("Answer the user's question in two sentences.", OPEN),
    ("Classify and translate the review.", STRICT),
    ("Text:\nMood (warm / cool / hostile):", CLOSED),
    ("On a scale from 1 to 5, how pleased is the writer?", CLOSED),
    ("Is the post an insult? Answer with yes or no.", CLOSED),
    ("Does the clause conflict with the rules? Answer yes, no or unclear.", CLOSED),
    ("Decide which word is misspelled.", STRICT),
    ('Classify the message. Answer as JSON: {"label": "late", "why": ["..."]}', CLOSED),
    ('Say what it prints: {"run": {"code": "for i in x:\\n    a(i)\\nb(2)"}}', STRICT),
    ('Describe the house. Answer as JSON: {"why": "one line\\nanother"}', EXTRACT),
    ("You label reviews.\n<review>\n</review>\n<label>", CLOSED),
    ("Explain this page: <div>it</div>", STRICT),
    ("Explain it: if (a == b) { return 1; }", STRICT),
    ("Label the politeness of the message.", STRICT),
    ("Classify as British or American English.", STRICT),
    ("Assign the CEFR level, A1 to C2.", STRICT),
    ("Classify the text as question or statement.", STRICT),
    ("Does the writer shout? Answer yes or no.", STRICT),
    ("Is this sentence grammatical?", STRICT),
    ("What is the tone of this review? Classify it as positive, negative or neutral.", CLOSED),
    ("Label the tone: formal, friendly or angry.", STRICT),
    ("Classify the intent as one of: greeting, order status, refund, thanks.", CLOSED),
    ("Classify the ticket as billing, technical or urgent.", CLOSED),
    ("Classify the British news article by topic: politics or sports.", CLOSED),
    ("Classify the text as American or British.", STRICT),
    ("Does the review mention a formal complaint? Answer yes or no.", CLOSED),
    ("How urgent is the message? Choose one of: low, high.", STRICT),
    ("Rate the readability from 1 to 5.", STRICT),
    ("Label the text. Labels: formal, informal.", STRICT),
    ("Classify the intent of the question.", CLOSED),
    ("Pick the topic of this error report.", CLOSED),
    ("Is the review positive or negative?", CLOSED),
    ("Classify the sentiment.\nReview: rude staff\nLabel: bad", CLOSED),
    ("Write a polite reply to the customer.", OPEN),
    ("How do British people make tea?", OPEN),
    ("Text:\nTone (warm / cool / hostile):", STRICT),
    ("Does this post help? Answer HELP, HURT or NONE.", CLOSED),
    ('Did the guest like it? Reply "liked" or "disliked".', CLOSED),
    ("Answer JSON or CSV with all keys.", EXTRACT),
    ("Count the drivers of each town.", OPEN),
    ("Transcript:\nHow pleased is the customer (low / high)?", CLOSED),
    ("Make a transcription of it.", STRICT),
    ("Fill the form from the text.", EXTRACT),
    ("Label it by theme.\n\n" + 3 * "Sentence: List all the files.\nTheme: work\n\n" + "Sentence:\nTheme:", CLOSED),
    ("Count the number of words in it.", VERBATIM),
    ("Count how many times the letter r is in it.", VERBATIM),
    (
        "Label it by theme.\n\n" + 3 * "Sentence: The program is a script.\nTheme: work\n\n" + "Sentence:\nTheme:",
        CLOSED,
    ),
    ("Fix it.\n" + 3 * "Wrong: to\nThe right spelling: too\n" + "Wrong:\nThe right spelling:", VERBATIM),
    ("English: he is here\nGerman: er ist da\n" * 3 + "English:\nGerman:", STRICT),
    (PASSAGE + "\nDoes the clause below agree with this? Answer YES or NO.\nClause:", CLOSED),
    (PASSAGE + "\nTranslate the clause. Answer YES or NO.\nClause:", STRICT),
    (PASSAGE + " Translate the clause at the end into French.\nDoes the clause below agree? Answer YES or NO.", STRICT),
    (PASSAGE + " Label it as formal or informal.\nDoes the clause below agree? Answer YES or NO.", STRICT),
    (PASSAGE, STRICT),
    ("There were 3 cups on the table. How many are left?", OPEN),
    ("Fill in the table of dates.", EXTRACT),
    ("Please put the text between the lines into French, keeping its tone:", STRICT),
    ("Render what the user writes in plain English.", STRICT),
    ("Turn this into idiomatic Brazilian Portuguese.", STRICT),
    ("How would you say this in Italian?", STRICT),
    ("Say the following sentence in Spanish.", STRICT),
    ("English to German:", STRICT),
    ("Give me the Dutch version.", STRICT),
    ("Localise these labels for Spain.", STRICT),
    ("Answer in English.", OPEN),
    ("Write a reply to the customer in French.", OPEN),
    ("Is the review about French food? Answer yes or no.", CLOSED),
    ("People, places and companies named in the passage below, one per line.", EXTRACT),
    ("Persons and organisations in the text, with their type:", EXTRACT),
    ("Who is mentioned below?", EXTRACT),
    ("Which companies are named above?", EXTRACT),
    ("Tag every name.", EXTRACT),
    ("What do people and places have in common?", OPEN),
    ("Is the review of the product mentioned above positive or negative?", CLOSED),
    ("positive/negative?\n\nAnswer:", CLOSED),
    ("Text:\ngood | bad?", CLOSED),
    ("Which desk takes this story: politics, sport or arts?\n\nDesk:", CLOSED),
    ("Which city is larger, Lima or Quito?", OPEN),
    ("You write PostgreSQL. Tables: items(id, category, rating).", STRICT),
    ("Turn it into SQLite.", STRICT),
    ("Write the French for:", STRICT),
    ("Provide the Dutch text only.", STRICT),
    ("What is the line below in Swedish?", STRICT),
    ("You are a court interpreter.", STRICT),
    ("Is Ann an interpreter?", OPEN),
    ("It was called so from the Greek for lizard.", STRICT),
    ("Interpret the line into Welsh.", STRICT),
    ("Localise for the market in Spain.", STRICT),
    ("Make this message more friendly.", STRICT),
    ("Shorten the following sentence.", STRICT),
    ("What does it make of the world? Is it more dangerous?", OPEN),
    ("What do French people eat in winter?", OPEN),
    ("Pull the names of the firms out of it.", EXTRACT),
    ("Collect all the dates in it.", EXTRACT),
    ("Get all dates from it.", EXTRACT),
    ("How do I get the dates of a show?", OPEN),
    ("Maths:", OPEN),
    ("How many words does the text have?", VERBATIM),
    ("What is the length of this text in characters?", VERBATIM),
    ("Compute the SHA-256 hash of the text.", VERBATIM),
    ("Compute the MD5 of the string.", VERBATIM),
    ("How long is the text, in letters?", VERBATIM),
    ("How long is the river?", OPEN),
    ("Give feedback on the student's sentence.", STRICT),
    ("Does the text contain a digit? Answer with one of: yes, no.", STRICT),
    ("Does the sentence use a contraction? Answer with one of: yes, no.", STRICT),
    ("Is this an order or a request? Answer with one of: order, request.", STRICT),
    ("Is the writer from the US or the UK? Answer with one of: us, uk.", STRICT),
    ("Is the first word a verb? Answer with one of: yes, no.", STRICT),
    ("How angry is the writer? Answer with one of: calm, cross, furious.", STRICT),
    ("Is the writer glad? Answer with one of: yes, no.", CLOSED),
    ("Annotate the sentence.", STRICT),
    ("Mark the proper nouns.", STRICT),
    ("How many stamps did he collect the next day?", OPEN),
    ("Think hard. Final answer:", OPEN),
    ("Antwort:", STRICT),
]


@pytest.mark.parametrize(("instruction", "task"), INSTRUCTIONS)
def test_task_is_read_from_the_instruction(instruction: str, task: str) -> None:
    assert read_task(instruction) == task


BESIDE = [
    ("Keep the answer short.", "Translate into French: No, more cuts are needed", STRICT),
    ("Answer in English.", "Fix the spelling: I come tomorow", VERBATIM),
    ("Answer with one word.", "Count the letters in the word colour", VERBATIM),
    ("You are an assistant of the Acme company.", "I would like to have this translated: No, more cuts", STRICT),
    ("Thank you for your help!", "Who lives in Lima? Give it as JSON", EXTRACT),
    ("Thank you for your help!", "Who has the keys for the table in the field?", OPEN),
    ("Keep the answer short.", "Label the mood of this: I am glad", CLOSED),
    ("Classify the sentiment of the review.", "The script was dull, and so was the program.", CLOSED),
    ("Does the message below help? Answer YES or NO.", "The script was dull, and so was the program.", CLOSED),
    ("Answer YES or NO.", "Is the spelling of this right?", VERBATIM),
    ("Summarize the passage.", "The script was dull, and so was the program.", OPEN),
    ("Write a short reply to it.", "I lost the code and the program.", OPEN),
    ("Summarize the passage.", "Translate this into French: no", STRICT),
    ("Summarize the passage.", "def f(x):\n    return x", STRICT),
    ("Answer the question.", "The script was dull, and so was the program?", STRICT),
    ("Classify the sentiment of the review.", "Well. Now, please, translate this into French.", STRICT),
    ("Classify the sentiment of the review.", "1. Could you list all names in it?", EXTRACT),
    (
        "Is the document relevant to the query? Answer yes or no.",
        "The script was dull, and so was the program.",
        CLOSED,
    ),
    ("Decide which section a line belongs to: sport or money.", "The grammar schools play at noon.", CLOSED),
    ("Is the document relevant to the query? Answer yes or no.", "Now translate this into French.", STRICT),
    ("Is the document well written? Answer yes or no.", "The script was dull.", STRICT),
    ("Translate into German.", "Then correct the spelling", VERBATIM),
    ("Translate into German.", "His spelling is bad", STRICT),
]


def test_a_template_of_one_field_says_no_more_than_the_field() -> None:
    row = Candidate(0, b"k" * 16, b"f" * 8, "Who lives in Lima?", ("Who lives in Lima?",))
    assert task_of(row, row.text, said(row).rest, row.text) == OPEN
    assert task_of(row, row.text, "\x00\n---\n\x00", row.text) == OPEN
    assert task_of(row, row.text, "User: \x00\nAssistant:", row.text) == OPEN
    assert task_of(row, row.text, "### Instruction:\n\x00\n\n### Response:", row.text) == OPEN
    assert task_of(row, row.text, "Anna: \x00\nBen:", row.text) == STRICT
    other = Candidate(0, b"k" * 16, b"f" * 8, "User: Translate it: no, more cuts\nAssistant:")
    assert task_of(other, other.text, "User:\nAssistant:", "Translate it: no, more cuts") == STRICT


BY_SYSTEM = [
    ("Label each post as ok or insult.", "My dog writes better code than you", "", CLOSED),
    ("Label each post as ok or insult.", "My dog writes better code than you", "Post:", CLOSED),
    ("Label each post as ok or insult.", "Translate it into French: no", "", STRICT),
    ("You write short, warm e-mails.", "Who has the code for the program?", "Incoming:", OPEN),
    ("You write short, warm e-mails.", "Fix the spelling: I come tomorow", "Incoming:", VERBATIM),
    ("You are a helpful assistant.", "Who has the code for the program?", "Incoming:", STRICT),
    ("Translate into German.", "My dog is here", "", STRICT),
    ("You turn what the user writes into verse.", "How late is it?", "", STRICT),
    ("You shorten texts.", "What is the time?", "", STRICT),
    ("Each message is a product. Return its brand and model.", "What about the red lamp?", "", STRICT),
    ("The user sends sentences; you send them back in Polish.", "How late is it?", "", STRICT),
    ("You answer questions about cooking.", "The dough is too wet.", "", STRICT),
    ("You are a helpful assistant. Be concise.", "How old is Rome?", "", OPEN),
    ("You are a helpful assistant. Be concise.", "Korrigiere: ich gehe nach hause", "", STRICT),
    ("", "Wie alt ist Rom?", "Be brief. ", STRICT),
    ("", "How old is Rome?", "Be brief. ", OPEN),
    ("You are a helpful assistant.", "How old is Rome?", "Quick question: thanks", OPEN),
    ("You are a helpful assistant.", "How old is Rome?", "Q1.", OPEN),
    ("You are a helpful assistant.", "Make this more formal: The dough is too wet.", "Hello, thanks", STRICT),
    ("", "Anna buys 9 pens and gives 3 away. How many are left?", "Just the number please.", OPEN),
    ("", "Translate it into Polish: Anna buys 9 pens.", "Just the answer, please.", STRICT),
    ("", "How many letters are in pens?", "Only the number.", VERBATIM),
    ("You answer questions about cooking.", "Make this more formal: The dough is too wet.", "", STRICT),
    ("You are a helpful assistant.", "Past tense, please: The dough is too wet.", "", STRICT),
    ("You are a helpful assistant.", "Why is the dough too wet", "", OPEN),
]


@pytest.mark.parametrize(("system", "rest", "constant", "task"), BY_SYSTEM)
def test_a_system_prompt_that_says_what_to_do_is_the_instruction(
    system: str, rest: str, constant: str, task: str
) -> None:
    assert (
        task_of(Candidate(0, b"k" * 16, b"f" * 8, rest, system=system), rest, constant, rest if constant else "")
        == task
    )


@pytest.mark.parametrize(("instruction", "rest", "task"), BESIDE)
def test_the_real_instruction_may_stand_beside_what_all_prompts_share(instruction: str, rest: str, task: str) -> None:
    assert infer_task(instruction, rest) == task


@pytest.mark.timeout(20)
def test_the_labels_of_a_long_log_are_counted_once() -> None:
    log = "".join(f"host {at}: it went wrong\n" for at in range(100_000))
    assert infer_task(f"Summarize the log below.\n{log}") == OPEN


def test_a_task_is_the_same_whatever_was_asked_of_its_words_before() -> None:
    """What is remembered is equal to what was given, and need not be the same object."""
    for _ in range(2):
        instruction = "".join(["Classify the tone of this e-mail", " as good or bad."])
        assert infer_task(instruction) == infer_task(f"{instruction}\n")
        asked_of("".join(["Classify the tone of this e-mail", " as good or bad."]))


LABELLED = [
    ("Welche Kategorie hat die Nachricht?", "Hallo", CLOSED),
    ("Is the spelling right?", "We come tomorow", VERBATIM),
    ("Is it polite?", "Give it to me", STRICT),
    ("Keep it short.", "Translate into French: no", STRICT),
    ("What is it about?", "The script has a table of keys", CLOSED),
]


@pytest.mark.parametrize(("instruction", "rest", "task"), LABELLED)
def test_known_labels_make_a_closed_task_unless_its_words_judge_letters(instruction: str, rest: str, task: str) -> None:
    assert labelled_task(instruction, rest) == task


@pytest.mark.parametrize("fields", [None, ("Oslo", "a b"), ("not there",)])
def test_what_is_stored_can_be_read_again(fields: tuple[str, ...] | None) -> None:
    row = Candidate(0, b"k" * 16, b"f" * 8, "From Oslo: a b.", fields)
    assert read(stored(row)) == said(row)


def test_a_nul_beside_the_fields_makes_them_unknown() -> None:
    """A template that shows a column twice leaves its second showing beside the fields."""
    row = Candidate(0, b"k" * 16, b"f" * 8, "From a\x00b, only a\x00b.", ("a\x00b",))
    assert said(row) == Said(row.text, None, "")
    assert read(stored(row)) == Said("From a\ufffdb, only a\ufffdb.", None, "")
    inside = Candidate(0, b"k" * 16, b"f" * 8, "From a\x00b.", ("a\x00b",))
    assert read(stored(inside)) == said(inside) == Said("From a\x00b.", ("a\x00b",), "From \x00.")


def test_what_an_earlier_version_stored_wrongly_is_read_as_a_prompt_that_equals_none() -> None:
    kept = "\x00" + msgspec.json.encode(["From \x00, only a\x00b.", "a\x00b"]).decode()
    assert read(kept) == Said(kept, None, "")
