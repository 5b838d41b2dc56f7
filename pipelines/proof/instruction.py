"""What kind of task an instruction sets: closed labels, an open answer, or work on the very letters of the text.

It reads English words only, and errs on the strict side; the route or the options of a run know better.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from pipelines.proof.choices import KEPT, offers, repeated_labels, without_case
from pipelines.proof.layout import is_code
from pipelines.proof.words import ASKING, word_set

CLOSED, OPEN, EXTRACT, STRICT, VERBATIM = "closed", "open", "extract", "strict", "verbatim"
LITERAL = frozenset({EXTRACT, STRICT, VERBATIM})
"""Tasks whose answer repeats letters of the text: only what is beyond dispute may differ."""

_COUNTED = "spaces?|blanks?|lines?|words?|syllables?|vowels?|consonants?|commas?|hyphens?|digits?|bytes?|sentences?"
_LANGUAGES = (
    r"(?:english|german|french|spanish|italian|portuguese|dutch|swedish|norwegian|danish|finnish|polish|czech|slovak|hungarian|romanian|bulgarian|greek"
    r"|turkish|russian|ukrainian|arabic|hebrew|persian|farsi|hindi|urdu|bengali|tamil|thai|vietnamese|indonesian|malay|chinese|mandarin|cantonese|japanese"
    r"|korean|latin|swahili|catalan|welsh|irish|esperanto)"
)
_MARK_WORDS = (
    r"punctuat\w+|proofread\w*|copy-?edit\w*|grammar\w*|spell\w*|tokeni[sz]e\w*|verbatim|repeat (?:the|this|after)"
    rf"|count (?:the|how|all|every)(?: [\w']+){{0,6}}? (?:occurrences|times|paragraphs?|[b-z](?:'s)?|letters?|characters?|tokens?|marks?|symbols?|{_COUNTED})"
    r"|quote (?:the|all|every)|(?:characters?|letters?|tokens?) (?:are|is|in|of)(?! the (?:morning|afternoon|evening|mail|mailbox|post)\b)"
    rf"|how many (?:{_COUNTED}) (?:are |is )?(?:there )?in"
)
"""Of these every mark is the point."""

_LETTER_WORDS = (
    r"translat\w+|transcrib\w+|transcriptions?|transliterat\w+|rewrit\w+|rephras\w+|paraphras\w+|reword\w*|correct (?:the|this|any|all|my|every)"
    r"|redact\w*|anonymi[sz]\w+|convert\w*|normali[sz]\w+|format (?:the|this)|reformat\w*|capitali[sz]\w+|compare (?:the|these|this|both|two)"
    rf"|(?:put|turn|bring|render|express|interpret)\b[^.!?\n]{{0,80}}? (?:in|into|to) (?:[a-z]+ ){{0,2}}{_LANGUAGES}"
    rf"|(?:give|provide|return|output|write) (?:me )?(?:only )?the {_LANGUAGES} (?:text|sentence|words?|for|of)|(?:you(?: are|'re)|act as|as) an? (?:[\w-]+ ){{0,4}}interpreter"
    rf"|what(?: is|'s) [^?\n]{{0,120}}? in {_LANGUAGES}(?= ?\?)"
    r"|(?:simplify|shorten) (?:this|the|my|each|following) (?:[a-z]+ )?(?:sentence|text|paragraph|passage|e-?mail|message|wording)"
    r"|make (?:this|the|my|each|following) (?:[a-z]+ )?(?:sentence|text|paragraph|passage|e-?mail|message|wording) (?:more|less|sound|shorter|longer|clearer)"
    rf"|locali[sz]e|say (?:this|it|that|the following)[^.!?\n]{{0,40}}? in (?:[a-z]+ ){{0,2}}{_LANGUAGES}|{_LANGUAGES} (?:version|equivalent|for the following)"
    rf"|{_LANGUAGES} ?(?:to|into|->|=>|\u2192) ?(?:[a-z]+ )?{_LANGUAGES}|{_LANGUAGES}:[^\n]{{0,2000}}\n+{_LANGUAGES}(?=:)"
    r"|code|[a-z]{0,8}sql(?:ite)?|regex\w*|scripts?|functions?|python|javascript|typescript|java|html|css|bash|shell|program"
)
_THINGS = (
    r"(?:people|persons?|names?|places?|locations?|cities|countries|organi[sz]ations?|compan(?:y|ies)|firms?|institutions?|brands?|products?"
    r"|dates?|amounts?|events?|drugs?|medicines?|diseases?|genes?|proteins?|chemicals?)"
)
_THERE = r"(?:named|mentioned|found|listed|that (?:occur|appear)|occurring|appearing|above|below|(?:in|from) the (?:text|passage|sentence|article))"
_PART_WORDS = (
    r"fill (?:in |out )?(?:the|this) (?:forms?|fields?|blanks?|template)|extract\w*|named entit\w+|entit(?:y|ies)|parse|list (?:all|every|the|each)"
    r"|word for word|exactly as (?:[\w']+ ){0,5}?(?:wrote|written|writes?|spel(?:t|led)|typed|given|stated|appears?|stands?)"
    rf"|find (?:all|every)|pull out|(?:(?:pull|collect|gather) (?:(?:all|every|each|the) ){{1,2}}|get (?:all|every|each) (?:the )?)(?:names of (?:the )?)?{_THINGS}|annotate (?:the|this|all|every|each)|proper (?:nouns?|names?)|(?:tag|mark|highlight|underline) (?:all|every|each)|{_THINGS}(?:,? and |,? or |, |/){_THINGS}[^.!?\n]{{0,40}}? {_THERE}"
    rf"|(?:who|(?:what|which|every|each|all) {_THINGS})(?: (?:is|are|was|were))? (?:named|mentioned) (?:in|above|below)"
)
"""Also `people and places named below`, without a verb."""

_LABEL_WORDS = (
    r"classif\w+|categori[sz]\w+|labels?|labell?ing|sentiment|assign|positive or negative|rate|rating|score|intents?|category|categories"
    r"|topics?|(?:decide|determine) (?:whether|which)|positive(?:,| or| ?[/|]) ?(?:neutral(?:,| or| ?[/|]) ?)?(?:or )?negative|pos ?[/|] ?neg"
)
_CHOICE_WORDS = (
    r"which of|(?:exactly )?one of|either|yes or no|yes, no|true or false|choose|select|pick|one word|multiple choice"
    r"|yes ?/ ?no|true ?/ ?false|on a scale|(?:number|letter|label) only|answer with (?:yes|a number|a letter)|polarity"
)
"""Also of labels, but they say no more than how an answer looks: whatever is asked, it may end in `Answer with one word.`"""

_FORM_WORDS = (
    r"polite\w*|impolite\w*|rude\w*|courte\w+|formal(?! complaint)\w*|informal\w*|colloquial\w*|slang|register|tone|dialects?"
    r"|(?:british|american) english|(?:british|american)(?:,| or|/| vs\.?) ?(?:american|british)"
    r"|proficien\w+|fluen\w+|native speakers?|non-native|cefr|(?:language|reading|writing) levels?|grammatical\w*|ungrammatical\w*"
    r"|readab\w+|legib\w+|capital letters|capitals|caps|upper-?case|lower-?case|(?:letter|title|sentence) case|shout\w*|exclamat\w+"
    r"|sarcas\w+|iron(?:y|ic\w*)|emphatic\w*|urgency|how urgent|typos?|misspel\w+|mistakes?|error-free|(?:has|have|contains?|any|no) errors?"
    r"|writing style|well[ -]written|quality of (?:the )?(?:writing|text|english|language)|authorship"
    r"|(?:questions?|statements?|commands?)(?:,| or|/| vs\.?) ?(?:an? )?(?:questions?|statements?|commands?|exclamations?)"
)
"""What labels judge the form of a text by, which such a task may not ignore."""


def _words(*tables: str) -> re.Pattern[str]:
    """Finds any of these in a text in lower case."""
    return re.compile(rf"\b(?:{'|'.join(tables)})\b")


_MARKS, _LETTERS, _PARTS = map(_words, (_MARK_WORDS, _LETTER_WORDS, _PART_WORDS))
_LITERALS = _words(_MARK_WORDS, _LETTER_WORDS, _PART_WORDS)
_LABELS, _ANY_LABELS = _words(_LABEL_WORDS), _words(_LABEL_WORDS, _CHOICE_WORDS)
_FORMS = _words(_FORM_WORDS)
_OPTIONS = re.compile(
    r"[(\[{<]\s*[\w-]{1,40}(?: ?[/|] ?[\w-]{1,40}){1,9}\s*[)\]}>]|(?m:^)[^\w\n]{0,4}[\w-]{1,40}(?: ?[/|] ?[\w-]{1,40}){1,9} ?\?[ \t]*(?m:$)"
    r"|\bwhich\b[^.!?:\n]{1,80}: (?:[\w-]{1,40}(?: [\w&-]{1,40}){0,2}, ){1,19}[\w-]{1,40}(?: [\w&-]{1,40}){0,2},? or [\w-]{1,40}(?: [\w&-]{1,40}){0,2}\?[ \t]*(?m:$)"
)
"""`(good / bad)`; on a line of its own `good/bad?`; `Which desk takes it: sport, science or culture?`"""

_NAMED_CHOICE = re.compile(
    r"\b(?:[Aa]nswer|[Rr]eply|[Rr]espond|[Oo]utput|[Rr]eturn|[Ss]ay|[Ww]rite|[Cc]hoose)(?: only)?(?: with| by)?:? "
    r"(?:[A-Z][A-Z_-]+(?:, [A-Z][A-Z_-]+)*,? or [A-Z][A-Z_-]+\b|[\"'][\w -]{1,30}[\"'](?:, [\"'][\w -]{1,30}[\"'])*,? or [\"'][\w -]{1,30}[\"'])"
)
"""`Answer SPAM or HAM`, `Reply "liked" or "disliked"`"""

_JSON = re.compile(r"[\[{][^\[\]{}\"]*\"[^\[\]{}]*[\]}]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_NESTED = 4
_TEXTS = _words(
    r"this|it|following|texts?|sentences?|messages?|e-?mails?|comments?|reviews?|writers?|customers?|authors?|speakers?|users?|tweets?"
    r"|posts?|passages?|paragraphs?|documents?|articles?|quer(?:y|ies)|repl(?:y|ies)|claims?|statements?|descriptions?|headlines?|titles?"
)
_JUDGING = ASKING | word_set("whether if judge detect check tell say decide")
_SENTENCE = re.compile(r"[^.!?\n]+")
_FORMAT_WORDS = "json|xml|yaml|csv|markdown|schema"
_FORMATS, _SHAPES = _words(_FORMAT_WORDS), _words(_FORMAT_WORDS, r"(?<!on the )(?<!at the )table|fields?|keys?")
_TELLS = _words(
    r"summari[sz]\w+|summary|tl;? ?dr|(?:reply|respond) to (?:the|this|my|his|her|their)"
    r"|(?:write|draft|compose) (?:[\w-]+,? ){0,5}(?:repl(?:y|ies)|answers?|responses?|e-?mails?|letters?|headlines?|titles?)"
)
"""Of open tasks that say what to do with a text: of what stands in it only orders count."""

_ENGLISH = _words(
    "the|a|an|is|are|to|of|and|in|for|with|what|how|why|where|when|who|which|do|does|can|i|you|my|your|this|it|answers?|think|concise|solve|calculate|compute|maths?|asks?|our|reply|words"
    "|only|below|please|briefly|following"
)
_ORDERS = word_set(
    "translate transcribe transliterate proofread rewrite rephrase paraphrase reword correct fix spell tokenize tokenise redact anonymize "
    "anonymise convert normalize normalise format reformat punctuate edit count capitalize capitalise repeat quote compare write code "
    "implement make create change turn put give return print output provide show list extract find parse pull name identify check review "
    "explain improve complete add insert remove replace use say tell take read copy answer respond reply summarize summarise task"
)
_ORDER = re.compile(
    r"(?:^|[.!?:;]\s|\n)[\W\d]{0,9}"
    r"(?:(?:please|kindly|now|then|next|first|finally|and|(?:can|could|would|will) you|your task is to|you (?:must|should|are to)),? ){0,3}"
    r"([a-z]+)\b[^.!?:;\n]*"
)
"""A sentence that may say what to do, if its first word of weight is one of those above."""

_SHOWN = re.compile(r"^([^\W\d_][\w -]{0,30}:)[ \t].*$", re.MULTILINE)
"""A line of an example: `Review: It was dull.`"""

_EXAMPLES, _LONG = 3, 1500
"""So often a label makes examples; a line of more letters is a passage to be read."""

_OPENING = 5
_CACHED, _CACHED_LETTERS = 1024, 16_000


def infer_task(instruction: str, rest: str = "") -> str:
    """The kind of a task from the words of its instruction; in doubt, and in other languages, the strictest one.

    `rest` is what stands beside it in a prompt, and may hold the real instruction: `Answer in English.` may close any prompt. Where the
    instruction says what to do, only sentences of the rest that open like orders count; else every word of it does.
    """
    told = _cached(instruction) if len(instruction) <= _CACHED_LETTERS else _infer(instruction)
    if not rest or told == VERBATIM:
        return told
    if told not in LITERAL:
        instruction = asked_of(instruction)
    if told in LITERAL or (told == CLOSED and _says_of_what(instruction.lower())):
        return stricter(told, _ordered(rest.lower()))
    if told == OPEN and _TELLS.search(instruction.lower()) is not None:
        return STRICT if is_code(_without_json(rest)) else _ordered(rest.lower())
    return _hidden(f"{instruction} {rest}") or (CLOSED if _LABELS.search(rest.lower()) is not None else told)


def labelled_task(instruction: str, rest: str) -> str:
    """The kind of a task whose answer is known to be a label: closed, unless its words say that form or letters are judged."""
    low = instruction.lower()
    return stricter(_named(low) or (STRICT if _judges_form(low) else CLOSED), _ordered(rest.lower()))


def asked_of(instruction: str) -> str:
    """What of the words that all prompts share may say what to do: not the examples, nor a long passage that is read or judged,
    but for the orders in them. All of it where nothing else is left."""
    return (_cached_asked if len(instruction) <= _CACHED_LETTERS else _asked)(instruction)


def _asked(instruction: str) -> str:
    shown = Counter(_SHOWN.findall(instruction)) if instruction.count("\n") > _EXAMPLES else {}
    many = {label for label, count in shown.items() if count >= _EXAMPLES}
    left = _SHOWN.sub(lambda line: line[1] if line[1] in many else line[0], instruction) if many else instruction
    told = left
    if len(left) > _LONG:
        left = "\n".join(line for line in left.split("\n") if len(line) <= _LONG)
    if len(left) == len(instruction) or _ENGLISH.search(left.lower()) is None or is_code(_without_json(instruction)):
        return instruction
    orders = (found.group() for found in _ORDER.finditer(told.lower()) if found[1] in _ORDERS)
    return "\n".join([left, *(" ".join(order.split()[:_OPENING]) for order in orders)])


def says_what(instruction: str) -> bool:
    """Whether it says what to do with a text, so that only orders in the text could say more."""
    told = infer_task(instruction)
    return told == CLOSED or (told == OPEN and _TELLS.search(instruction.lower()) is not None)


def _infer(whole: str) -> str:
    instruction = asked_of(whole)
    if instruction != whole and _judges_form(whole.lower(), _LABELS):
        return STRICT
    low = instruction.lower()
    found = _literal(instruction, low)
    if found is not None:
        return found
    if _judges_form(low):
        return STRICT
    if _ANY_LABELS.search(low) is not None or _OPTIONS.search(low) is not None or _names_choice(instruction, low):
        return CLOSED
    if offers(instruction, low) or ((labels := repeated_labels(whole)) and _FORMS.search(labels) is None):
        return CLOSED
    if _SHAPES.search(low) is not None:
        return EXTRACT
    return OPEN if _ENGLISH.search(low) is not None else STRICT


def _names_choice(instruction: str, low: str) -> bool:
    return _NAMED_CHOICE.search(instruction) is not None and _FORMATS.search(low) is None


def _hidden(text: str) -> str | None:
    """The literal task that any words of a text name, if any; `table` and `key` are words of other things too."""
    low = text.lower()
    if _judges_form(low):
        return stricter(_literal(text, low) or STRICT, STRICT)
    return _literal(text, low) or (EXTRACT if _FORMATS.search(low) is not None else None)


def _literal(text: str, low: str) -> str | None:
    """The literal task that a text, also given in lower case, names by words or by holding code."""
    found = _named(low)
    return STRICT if found in (None, EXTRACT) and is_code(_without_json(text)) else found


def _named(low: str) -> str | None:
    """Which literal task the words of a text in lower case name, if any."""
    low = KEPT.sub("exactly as written", low) if "spel" in low else low
    if _LITERALS.search(low) is None:
        return None
    kinds = ((VERBATIM, _MARKS), (STRICT, _LETTERS), (EXTRACT, _PARTS))
    return next(kind for kind, words in kinds if words.search(low) is not None)


def _judges_form(low: str, labels: re.Pattern[str] = _ANY_LABELS) -> bool:
    """One sentence names labels of form, or asks for the form of a text."""
    if _FORMS.search(low) is None:
        return False
    if "positive" in low and "negative" in low:
        low = low.replace("tone", "")  # another word for sentiment
    sentences = [_of_text(found.group().strip()) for found in _SENTENCE.finditer(low)]
    return any(
        _FORMS.search(one) is not None
        and (
            labels.search(one) is not None
            or _OPTIONS.search(one) is not None
            or (one.split(" ", 1)[0] in _JUDGING and _TEXTS.search(one) is not None)
        )
        for one in sentences
    )


def _of_text(one: str) -> str:
    """A sentence without how the answer is to be written."""
    judges = _TEXTS.search(one.partition(" ")[2]) is not None or not _JUDGING.isdisjoint(one.split())
    return one if judges else without_case(one)


def _says_of_what(low: str) -> bool:
    """The labels are named as such, or a question is asked of the text: `Does the message below help? Answer YES or NO.`"""
    return _LABELS.search(low) is not None or any(
        _TEXTS.search(one) is not None and not _JUDGING.isdisjoint(one.split())
        for one in map(re.Match.group, _SENTENCE.finditer(low))
    )


def _ordered(low: str) -> str:
    """What the sentences ask for that open like orders."""
    if _LITERALS.search(low) is None:
        return OPEN
    orders = [found.group() for found in _ORDER.finditer(low) if found[1] in _ORDERS]
    return _named("\n".join(orders)) or OPEN


def _without_json(text: str) -> str:
    """The form of an answer is no program; a string of several lines in it may be one."""
    for _ in range(_NESTED if '"' in text else 0):
        text = _JSON.sub(_long_strings, text)
    return text


def _long_strings(found: re.Match[str]) -> str:
    """The strings of several lines, each on lines of its own and still in quotes: an outer object keeps them too."""
    strings = [one.strip('"').replace("\\n", "\n") for one in _STRING.findall(found.group())]
    return " ".join(f'"\n{one}\n"' for one in strings if "\n" in one) or " "


_cached = lru_cache(maxsize=_CACHED)(_infer)
_cached_asked = lru_cache(maxsize=_CACHED)(_asked)


def stricter(a: str, b: str) -> str:
    """The one of two kinds that allows less."""
    return max(a, b, key=(OPEN, CLOSED, EXTRACT, STRICT, VERBATIM).index)
