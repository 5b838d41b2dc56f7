"""Words that name a task: which letters or marks are asked for, which parts, and labels of what or of which form.

Tables for instruction.py; what orders a text to be given back in another form, in whatever words, is in reworking.py.
"""

from __future__ import annotations

import re

from pipelines.proof.reworking import LANGUAGES, TONGUES

_PIECE = r"(?:the|this|an?|my|each|every|following) (?:[\w-]+ )?(?:texts?|strings?|sentences?|phrases?|messages?|words?|lines?|passages?|paragraphs?)"
_COUNTED = "spaces?|blanks?|lines?|words?|syllables?|vowels?|consonants?|commas?|hyphens?|digits?|bytes?|sentences?"
_MARK_WORDS = (
    r"punctuat\w+|proofread\w*|copy-?edit\w*|grammar\w*|spell\w*|tokeni[sz]e\w*|verbatim|repeat (?:the|this|after)"
    rf"|count (?:the|how|all|every)(?: [\w']+){{0,6}}? (?:occurrences|times|paragraphs?|[b-z](?:'s)?|letters?|characters?|tokens?|marks?|symbols?|{_COUNTED})"
    r"|quote (?:the|all|every)|(?:characters?|letters?|tokens?) (?:are|is|in|of)(?! the (?:morning|afternoon|evening|mail|mailbox|post)\b)"
    rf"|how many (?:{_COUNTED}|letters?|characters?) (?:are |is )?(?:there )?in|how many (?:{_COUNTED}|letters?|characters?)(?= ?\?)"
    rf"|how many (?:{_COUNTED}|letters?|characters?) (?:does|do|has|have|is|are|make up) {_PIECE}|(?:length|size) of {_PIECE}|how long is {_PIECE}"
    r"|md5|sha-?(?:1|2|3|224|256|384|512)|crc-?(?:16|32|64)|checksums?|hash (?:value |code )?(?:of|for)|digest of"
)
"""Of these every mark is the point."""

_LETTER_WORDS = (
    r"translat\w+|transcrib\w+|transcriptions?|transliterat\w+|rewrit\w+|rephras\w+|paraphras\w+|reword\w*|correct (?:the|this|any|all|my|every)"
    r"|redact\w*|word for word|anonymi[sz]\w+|convert\w*|normali[sz]\w+|format (?:the|this)|reformat\w*|capitali[sz]\w+|compare (?:the|these|this|both|two)"
    rf"|(?:put|turn|bring|render|express|interpret)\b[^.!?\n]{{0,80}}? (?:in|into|to) (?:[a-z]+ ){{0,2}}{LANGUAGES}"
    rf"|(?:give|provide|return|output|write) (?:me )?(?:only )?the {LANGUAGES} (?:text|sentence|words?|for|of)|(?:you(?: are|'re)|act as|as) an? (?:[\w-]+ ){{0,4}}interpreter"
    rf"|what(?: is|'s) [^?\n]{{0,120}}? in {LANGUAGES}(?= ?\?)"
    r"|(?:simplify|shorten) (?:this|the|my|each|following) (?:[a-z]+ )?(?:sentence|text|paragraph|passage|e-?mail|message|wording)"
    r"|make (?:this|the|my|each|following) (?:[a-z]+ )?(?:sentence|text|paragraph|passage|e-?mail|message|wording) (?:more|less|sound|shorter|longer|clearer)"
    rf"|(?:feedback|comments?) on {_PIECE}|(?:feedback|comments?) on (?:the |this |a )?[a-z]+'s? (?:sentence|text|writing|wording|essay|paragraph|draft)"
    rf"|locali[sz]e|say (?:this|it|that|the following)[^.!?\n]{{0,40}}? in (?:[a-z]+ ){{0,2}}{LANGUAGES}|{LANGUAGES} (?:(?:version|equivalent|rendering|translation|wording|subtitle|caption)s?|for the following)"
    rf"|{TONGUES}|{LANGUAGES}:[^\n]{{0,2000}}\n+{LANGUAGES}(?=:)"
    r"|code|[a-z]{0,8}sql(?:ite)?|regex\w*|scripts?|functions?|python|javascript|typescript|java|html|css|bash|shell|program"
)
_THINGS = (
    r"(?:people|persons?|names?|places?|locations?|cities|countries|organi[sz]ations?|compan(?:y|ies)|firms?|institutions?|brands?|products?"
    r"|dates?|numbers?|amounts?|events?|drugs?|medicines?|diseases?|genes?|proteins?|chemicals?)"
)
_THERE = r"(?:named|mentioned|found|listed|that (?:occur|appear)|occurring|appearing|above|below|(?:in|from) the (?:text|passage|sentence|article))"
_PART_WORDS = (
    r"fill (?:in |out )?(?:the|this) (?:forms?|fields?|blanks?|template)|extract\w*|named entit\w+|entit(?:y|ies)|parse|list (?:all|every|the|each)"
    r"|exactly as (?:[\w']+ ){0,5}?(?:wrote|written|writes?|spel(?:t|led)|typed|given|stated|appears?|stands?)"
    rf"|find (?:all|every)|pull out|(?:(?:pull|collect|gather) (?:(?:all|every|each|the) ){{1,2}}|get (?:all|every|each) (?:the )?)(?:names of (?:the )?)?{_THINGS}"
    rf"|annotate (?:the|this|all|every|each)|proper (?:nouns?|names?)|names only|only (?:the )?names|which [\w -]{{1,40}} (?:occur|appear)(?! to)|(?:tag|mark|highlight|underline) (?:all|every|each)"
    rf"|{_THINGS}(?:,? and |,? or |, |/){_THINGS}[^.!?\n]{{0,40}}? {_THERE}"
    rf"|(?:who|(?:what|which|every|each|all) {_THINGS})(?: (?:is|are|was|were))? (?:named|mentioned) (?:in|above|below)"
    rf"|(?m:^)(?:the |all |any )?{_THINGS} (?:(?:that|who|which) (?:are )?)?(?:named|mentioned|found|listed|occur\w*|appear\w*|in (?:it|here|this|the text))"
    rf"|(?:what|which) (?:{_THINGS}(?:, | and (?:which )?| or )){{0,3}}{_THINGS} (?:occur|appear|are (?:there )?in (?:it|here|this|the text))"
    rf"|{_THINGS} (?:that|which) (?:this|it|the text) (?:mentions|names|lists)|{_THINGS} in (?:the|this) (?:text|passage|sentence|article|story|message|note|letter|e-?mail)"
)
"""Also `people and places named below`, without a verb."""

_LABEL_WORDS = (
    r"classif\w+|categori[sz]\w+|labels?|labell?ing|sentiment|assign|positive or negative|rate|rating|score|intents?|category|categories"
    r"|topics?|(?:decide|determine) (?:whether|which)|positive(?:,| or| ?[/|]) ?(?:neutral(?:,| or| ?[/|]) ?)?(?:or )?negative|pos ?[/|] ?neg"
)
_CHOICE_WORDS = (
    r"which of|(?:exactly )?one of|either|yes or no|yes, no|true or false|choose|select|pick(?! up)|one word|multiple choice"
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
    r"|(?:questions?|statements?|commands?|orders?|requests?)(?:,| or|/| vs\.?) ?(?:an? )?(?:questions?|statements?|commands?|exclamations?|requests?|orders?)"
    r"|digits?|contractions?|commas?|apostrophes?|hyphens?|emojis?|accents?|abbreviations?|acronyms?|punctuat\w+|capitali[sz]\w+|spel(?:t|led|ling)|(?:written|typed) correctly|correctly (?:written|typed)"
    r"|(?:starts?|begins?|ends?|opens?|closes?) (?:with|in) (?:an? )?(?:capital|letter|vowel|consonant|digit|number|full stop|period|word)|(?:first|last) (?:word|letter)|careless|sloppy"
    r"|(?:writer|author|speaker|who wrote [a-z]+) (?:is )?(?:from|comes? from)|how (?:angry|happy|upset|excited|annoyed|frustrated|strong|strongly|intense)|intensity"
)
"""What labels judge the form of a text by, which such a task may not ignore."""


def words(*tables: str) -> re.Pattern[str]:
    """Finds any of these in a text in lower case."""
    return re.compile(rf"\b(?:{'|'.join(tables)})\b")


MARKS, LETTERS, PARTS = map(words, (_MARK_WORDS, _LETTER_WORDS, _PART_WORDS))
LITERALS = words(_MARK_WORDS, _LETTER_WORDS, _PART_WORDS)
LABELS, ANY_LABELS = words(_LABEL_WORDS), words(_LABEL_WORDS, _CHOICE_WORDS)
FORMS = words(_FORM_WORDS)
OPTIONS = re.compile(
    r"[(\[{<]\s*[\w-]{1,40}(?: ?[/|] ?[\w-]{1,40}){1,9}\s*[)\]}>]|(?m:^)[^\w\n]{0,4}[\w-]{1,40}(?: ?[/|] ?[\w-]{1,40}){1,9} ?\?[ \t]*(?m:$)"
    r"|\bwhich\b[^.!?:\n]{1,80}: (?:[\w-]{1,40}(?: [\w&-]{1,40}){0,2}, ){1,19}[\w-]{1,40}(?: [\w&-]{1,40}){0,2},? or [\w-]{1,40}(?: [\w&-]{1,40}){0,2}\?[ \t]*(?m:$)"
)
"""`(good / bad)`; on a line of its own `good/bad?`; `Which desk takes it: sport, science or culture?`"""

NAMED_CHOICE = re.compile(
    r"\b(?:[Aa]nswer|[Rr]eply|[Rr]espond|[Oo]utput|[Rr]eturn|[Ss]ay|[Ww]rite|[Cc]hoose)(?: only)?(?: with| by)?:? "
    r"(?:[A-Z][A-Z_-]+(?:, [A-Z][A-Z_-]+)*,? or [A-Z][A-Z_-]+\b|[\"'][\w -]{1,30}[\"'](?:, [\"'][\w -]{1,30}[\"'])*,? or [\"'][\w -]{1,30}[\"'])"
)
"""`Answer SPAM or HAM`, `Reply "liked" or "disliked"`"""
