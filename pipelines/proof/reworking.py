"""Instructions that ask for a text in another form, in whatever words (`Turn it into the passive`, `Past tense, please`, `What does this
say in Polish?`), and those that ask for an answer of one's own. A text that is given back keeps its case and its marks.

Which other words make a task literal is instruction.py's concern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.proof.words import ASKING, word_set

LANGUAGES = (
    r"(?:english|german|french|spanish|italian|portuguese|dutch|swedish|norwegian|danish|finnish|polish|czech|slovak|hungarian|romanian|bulgarian|greek"
    r"|turkish|russian|ukrainian|arabic|hebrew|persian|farsi|hindi|urdu|bengali|tamil|thai|vietnamese|indonesian|malay|chinese|mandarin|cantonese|japanese"
    r"|korean|latin|swahili|catalan|welsh|irish|esperanto)"
)
_CODES = r"(?:en|de|fr|es|it|pt|nl|pl)"
TONGUES = (
    rf"(?:{LANGUAGES} ?(?:to|into|->|=>|>|\u2192) ?(?:[a-z]+ )?{LANGUAGES}"
    rf"|{_CODES} ?(?:->|=>|>|\u2192) ?(?:[a-z]+ ){{0,2}}(?:{LANGUAGES}|{_CODES}\b))"
)
"""From one language into another one: `Dutch to Thai`, `en > pl`."""
_SOME = rf"(?:(?!plain|simple)[a-z]+ ){{0,2}}{LANGUAGES}"
_KNOWS = r"(?:reads?|speaks?|understands?|knows?)"
_PIECES = r"(?:letters?|characters?|words?|lines?|syllables?|vowels?|consonants?|sentences?|tokens?)"

_REWORKED_WORDS = (
    r"(?:passive|active)(?: voice| form|:)|(?:past|present|future) (?:tense|perfect|continuous|progressive)|(?:reported|indirect) speech"
    r"|(?:first|second|third) person (?:singular|plural)|in the (?:plural|singular|passive|past tense|negative|third person)"
    r"|(?:leave|keep|let) (?:the (?:rest|others?|remainder)|everything else|all else|all other \w+|it otherwise)|change nothing|nothing else changed"
    r"|un(?:changed|touched|altered)|as few (?:words|changes|edits) as|do(?: not|n't) (?:change|alter|touch) (?:any|the|its|other)"
    r"|(?:return|output|print|give back|write out|reproduce|copy out) (?:only )?the (?:full|whole|complete|entire|corrected|edited|revised|new|resulting|final)"
    r" (?:text|sentence|line|paragraph|version|message|passage|string)"
    r"|in reverse(?: order)?|backwards|(?:in )?alphabetical(?:ly| order)|(?:upper|lower|title|camel|snake|kebab)[ -]?case|in (?:all )?(?:capitals|caps)"
    r"|which (?:sentences?|phrases?|lines?|passages?|quotes?|words?)(?! (?:is|are|was) missing)|misspel\w+"
    r"|wrong with (?:this|the|my|it)(?: \w+)? (?:sentence|phrase|text|line|word)|(?:write|spell|type) out|read (?:it )?back|initials"
    r"|the (?:\w+ )?(?:commas|accents|apostrophes|hyphens|full stops|periods|quotation marks)|(?:give|lend) (?:it|this|the \w+) an? (?:more|less|different)"
    r"|(?:say|repeat|respond|reply|answer|return|echo)(?: in \w+)?(?: with)? what (?:i|you hear|the \w+) (?:says?|said|writes?|wrote|types?|typed)|gives? back|sends? (?:it|them|this) back"
    r"|how (?:do|does|would|can|could|might|should) [^.?!\n]{1,30} (?:say|put|express|write|phrase|word|render|spell|pronounce) (?:this|it|that|the following)"
    r"|(?:same|that|this|it) (?:\w+ )?(?:again|once more)|(?:the )?same (?:\w+ )?\w+,? (?:but|only|without|again)"
    r"|(?:alternative|another|different|other|improved|corrected|revised|clean|polished|milder|softer|nicer|shorter|longer|better|simpler|clearer|plainer|stricter)"
    r" (?:versions?|wordings?|phrasings?|formulations?|variants?|renderings?|drafts?|clauses?|sentences?|texts?|titles?|headlines?|ways? (?:in which|of (?:saying|putting)|to (?:say|put)))"
    r"|keep(?:ing)? (?:(?:all|each|every|the|its|their|any|both) )+(?:\w+ )?(?:facts?|figures?|numbers?|names?|meaning|wording|content|details?|format|formatting|sense|information|words?|times|dates)"
    r"|(?:own|same|original|exact|very|using its|using their) (?:words|wording)|in the same (?:format|style)|ways? (?:of saying|to (?:say|put|phrase|word|express))|(?:as|like) (?:it is |they are |it stands |they stand )?in the (?:note|text|original|source|sentence|input)|latex"
    r"|you are (?:an? )?(?:[a-z-]+ ){0,3}(?:lector|poet|scribe|stenographer|subtitler|copywriter|ghostwriter)"
    r"|(?m:^)as an? [^,.:\n]{1,40}(?=:)|like (?:an?|the) [^.?!\n]{1,30} would|[a-z]{2} ?(?:->|=>|→|>) ?[a-z]{2}(?![\w.])"
    r"|in (?:bold|italics?|brackets|quotation marks|small caps)"
    r"|anagrams?|palindromes?|pig latin|morse(?: code)?|rot-?13|base-?64|leet(?:speak)?|caesar cipher|phonetic (?:alphabet|spelling|transcription)|ipa"
    rf"|(?:this|it|that|following|texts?|sentences?|same|one|says?|read|said|sound|look|be|see)(?: \w+){{0,2}} in(?:to)? {_SOME}|in(?:to)? {_SOME}(?= ?\?)"
    rf"|give (?:me |us )?(?:the|an?) {_SOME}|{LANGUAGES} one|between {LANGUAGES} and {LANGUAGES}|only {_KNOWS} {LANGUAGES}|{_KNOWS} (?:only )?{LANGUAGES} only|{_KNOWS} only {LANGUAGES}"
)
"""Of such words one is enough, wherever it stands in an instruction."""

_WORDING_WORDS = (
    r"wordings?|phrasings?|gaps? filled|fill(?:ing)? (?:in )?(?:the |each |every )?gaps?|typos?|tenses?|synonyms?|antonyms?|nouns?|verbs?|adjectives?|adverbs?|pronouns?|prepositions?|conjunctions?|participles?|prefix(?:es)?|suffix(?:es)?"
    r"|commas(?! separated)|semicolons?|apostrophes?|parts? of speech|subject and (?:the )?object|definite articles?|homophones?|homonyms?|collocations?|syntax|fluency|pinyin|romaji|furigana"
    r"|glosses|glossed|a (?:literal )?gloss|diffs?|corrections?|misprints?|cloze|fill-in-the-blanks?|dictation|parod(?:y|ies)|acronyms?|(?:good|better|correct|proper|standard|broken) english"
    r"|(?:spot|find|where is|what is) the (?:errors?|slips?)|(?:strings|sentences|texts|versions|lines|wordings) (?:the same|identical|different|differ)|identical"
    r"|(?:different|differences?|differs?|changed) (?:between|in) (?:these|the|both)(?: two)? (?:strings|sentences|texts|versions|lines)"
    rf"|(?:label|classify|tag|mark|categori[sz]e|rate|score|judge|number|for|of|after|before) (?:each|every|all(?: the| of the)?) (?:[\w-]+ )?{_PIECES}"
    r"|(?:select|pick|choose|find|give|show|mark|name|print)(?: me)? the (?:[\w-]+ ){0,3}(?:words?|sentences?|phrases?|quotes?|quotations?|passages?|lines?|spans?|excerpts?|snippets?)"
    r"|(?:supporting|key|best) (?:sentences?|phrases?|quotes?|quotations?|passages?|lines?|spans?|excerpts?|snippets?|evidence)|followed by the (?:text|title|sentence|message|line)"
    r"|as (?:written|printed|spelled|spelt|typed|worded|it is written)|literal|literally|the exact (?!same)\w+|quoting|by repeating|using only (?:the )?words|clean copy|versions? for"
    rf"|(?:(?<!on )the|each|every|its|their|what's|is) (?:very )?(?:first|second|third|last|longest|shortest|middle) (?:\w+ )?{_PIECES}"
    r"|the (?:past|diminutive|feminine|masculine|genitive) (?:form )?of|the (?:plural|singular|comparative|superlative|infinitive|gerund|participle)|slots|aspect terms|trigger words?"
    r"|(?:is|are|whether) (?:this|it|the following) (?:an? )?valid|(?:addresses|address|json|xml|yaml|urls?|ibans?) (?:is |are )?valid|is (?:this|it) an? (?:complete|full|whole|correct) (?:sentence|phrase)"
    r"|(?:question|exclamation|quotation) marks?|full stops?|capital letters?|(?:two|these|both|the) strings|in other words|(?:its|their|the) negations?|(?:any|no) (?:mistakes|errors|typos)|is (?:my|this|the) (?:sentence|english|phrase|line) (?:ok|okay|correct|right|fine|good)|without (?:any )?(?:errors|mistakes|typos)"
    r"|(?:and|then|,) (?:return|repeat|copy|output|print|quote|give|write) (?:it|this|that|the (?:text|title|sentence|word))|and the (?:text|title|sentence)(?: itself)?(?=\W*(?:$|\n))"
    r"|(?:assign|give)(?: to)? (?:each|every) (?:name|entity|term|mention|field|column|cell)"
)
"""Of words and their forms, and of pieces of a text that are to be given."""

_REWORKED, _WORDING = (re.compile(rf"\b(?:{words})\b") for words in (_REWORKED_WORDS, _WORDING_WORDS))

_FORMS = word_set(
    "replace mask censor redact blank remove delete strip insert swap substitute reverse invert flip scramble shuffle alphabetise alphabetize reorder "
    "rearrange transpose redraft rework recast restate reformulate reword rephrase rewrite shorten lengthen abbreviate condense hyphenate capitalise "
    "capitalize lowercase uppercase encode decode encrypt decrypt encipher decipher pluralise pluralize negate conjugate inflect lemmatise lemmatize merge "
    "concatenate copy retype echo recite reproduce correct fix repair polish edit revise amend adapt modernise modernize anglicise anglicize "
    "port refactor indent unscramble autocorrect punctuate simplify paraphrase translate proofread deduplicate underline highlight annotate bracket truncate hide wrap enclose surround italicise italicize obfuscate romanise romanize"
)
"""An order that begins with one of these is about the form of a text, whatever follows."""

_CHANGES = word_set(
    "make lay turn bring render change alter adjust improve enhance refine tighten add cut drop trim clean tidy split join combine express phrase "
    "type spell expand extend clarify soften strengthen finish complete convert transform format switch put retell"
)
"""So is one of these where a text is what it changes."""

_TEXT = re.compile(
    r"\b(?:it|this|that|these|those|them|following|above|below|texts?|sentences?|phrases?|paragraphs?|passages?|words?|wordings?|lines?|letters?|speech|quotes?"
    r"|quotations?|verbs?|nouns?|adjectives?|pronouns?|tense|gaps?|verses?|strings?|characters?|clauses?|statements?|drafts?|errors?|mistakes?|typos?|commas?|accents?|writing|english|grammar|style)\b"
)
_LISTS = word_set("give name return output show report state provide identify")
_ALL = (" all ", " every ", " each ", " me all ", " me every ", " me each ")
"""`Give me each date in it`"""

_LEADING = (
    r"(?:(?:if|when|where) [^,.:\n]{1,60}, )?"
    r"(?:(?:please|pls|kindly|now|then|next|first|second|finally|lastly|also|and|just|simply|only|hi|hello|hey|(?:could|can|would|will) you(?: please)?"
    r"|i(?:'d| would) like you to|i (?:want|need) you to|your (?:task|job) is to|you(?: (?:must|should|will|are to|always|only|just|simply|never))?|let's|help me(?: to)?|try to"
    r"|\d{1,2}[.)])[,:]? ){0,4}"
)
_WORDS = r"([a-z-]+)\b(?=((?:[ \t]+[\w'/-]+){0,8}))"
_ORDER = re.compile(rf"(?:^|[.!?;\n][ \t]*)[^\w\n]{{0,9}}{_LEADING}{_WORDS}", re.MULTILINE)
_ANY_ORDER = re.compile(
    rf"(?:^|[.!?:;\n][ \t]*|,? (?:and|then|but) (?:also |then )?)[^\w\n]{{0,9}}{_LEADING}{_WORDS}",
    re.MULTILINE,
)
"""A word that may be an order, and what follows; the second also finds those behind *and* or a colon."""

_WANTED = re.compile(
    r"\b(?:needs?|wants?|like|have|get|see|hear|read) (?:this|it|these|(?:the|my) (?:following|text|sentence|line|paragraph|message)) (?:to be )?"
    r"(?:(?:a (?:bit|little)|more|less|much|slightly) )?(?:\w+ed|rewritten|redone|put|cut|spelt|shorter|longer|simpler|friendlier|softer|clearer|nicer)\b"
)
"""`I need this shortened`"""

_FOLLOWED = re.compile(
    r"^[ \t]+(?:(?:out|back|down|up) )?(?:it|this|that|these|those|the (?:following|same)"
    r"|(?:the|each|every|all|my) (?:[\w-]+ )?(?:text|sentence|phrase|paragraph|passage|line|word|string)s?)\b"
    r"(?! (?:is|are|was|were|has|had|will|would|can|does|did|an?|as|one|your) )"
)
_ANSWERS = word_set(
    "write draft compose create generate produce invent suggest propose explain describe summarise summarize answer reply respond tell plan design outline"
)
_IT = re.compile(r"^[ \t]+(?:it|them|this|that|these|those)\b")
"""`Write a poem about the text. Make it rhyme` is about the answer."""

_TOLD = ASKING | word_set(
    "explain describe discuss define analyse analyze evaluate assess interpret comment critique criticise criticize review summarise summarize read answer "
    "reply respond check compare verify solve compute calculate work figure see look consider imagine assume suppose note remember do try prove help think debate "
    "argue justify guess estimate predict understand ask continue classify categorise categorize label rate grade judge score file route assign triage "
    "moderate flag tag decide determine rank study examine inspect research teach name list find identify use invite "
    "like love hate want need know get keep buy call open close stop start leave given provided assumed based according below per via "
    "is are was in on at for from of to by with without as if when while because since once after before that and or but so not about than then although "
    "though until unless all any some each both every does did has have had will would can could should may might must i you we they he she it this these "
    "those there here"
)
"""What may be done with a text, or stand before the word for one, without another text coming of it."""

_OPEN_ORDERS = (
    r"explain|describe|discuss|define|analy[sz]e|evaluate|assess|interpret|comment on|critici[sz]e|critique|argue|debate|outline|summari[sz]e|sum up|review|write|draft"
    r"|compose|create|invent|generate|produce|come up|brainstorm|suggest|propose|recommend|advise|plan|design|imagine|guess|estimate|predict|forecast|solve|calculate"
    r"|compute|work (?:it )?out|figure out|prove|show|find|give|name|list|tell|provide|mention|state|consider|justify|teach|grade|judge|rate|score|rank|invite"
    r"|decide|determine|identify|choose|pick|select|continue|add up|count|sum|answer|reply|respond|help|act|ask|check|verify|infer|deduce|develop|weigh|detect|prepare|craft|match|offer|share|diagnose|reason|contrast|illustrate|persuade|convince|pretend|vote|elaborate|point out"
    r"|say (?:whether|if|how|what|why|who|which|in|when|where|yes)"
    r"|(?:an?|one|two|three|four|five|ten|some|the) (?:[a-z]+ )?(?:titles?|headlines?|slogans?|taglines?|captions?|jokes?|stor(?:y|ies)|poems?|examples?|ideas?|tips|reasons?|hints?|tags|keywords)"
)
_OPEN = re.compile(
    r"\?|\b(?:questions?|answers?|repl(?:y|ies)|respond|responses?|assistant|your help|summar\w+|tl;? ?dr|gist|opinions?|advice|explanations?|hints?|pass or fail"
    r"|(?:no|not) more than|at most \w+ (?:words|sentences)|you (?:work|act|serve|play|write|speak|know|never|always))\b"
    rf"|(?:^|[.!?:;,\n>)][ \t]*|\b(?:and|then|but|to|please|or) )[^\w\n]{{0,9}}(?:you )?(?:{_OPEN_ORDERS})\b"
    r"|(?:^|[.!?;\n>][ \t]*)[^\w\n]{0,9}(?:what|how|why|where|when|who|whom|whose|which|is|are|was|were|does|do you|did|can|should|would|could|has|have|problem|exercise|exam|quiz|maths?|sums?|q)\b",
    re.MULTILINE,
)
"""What asks for an answer: a question, an order that is none to change a text, the word itself."""

ENGLISH = re.compile(
    r"\b(?:the|a|an|is|are|to|of|and|in|for|with|what|how|why|where|when|who|which|do|does|can|i|you|my|your|this|it|only|below|please|briefly|following"
    r"|that|these|those|would|should|one|two|three|four|five|ten|from|about|each|every|all|any|some|words?|sentences?|or|not|by|at|as|be|use|using|tl;? ?dr|answers?|think|concise|solve|calculate|compute|maths?|asks?|our|reply)\b"
)
_SAYS_NOTHING = re.compile(
    r"(?:[\W_]|\b(?:user|human|assistant|ai|bot|customer|agent|question|answer|instructions?|inst|input|output|prompt|response|e-?mail|mail|reply|q|a|s"
    r"|quick|problem|hi|hello|hey|please|thanks|thank you|thx|cheers)\d{0,3}\b)*+",
    re.IGNORECASE,
)
"""A template of one field, or of `User:`, `Assistant:` or a courtesy beside it; only the field can say what to do."""

_PERSONA = re.compile(r"(?:^|(?<=[.!?\n]))[ \t]*you are [^.!?\n]*[.!?]?", re.MULTILINE)
_MANNER = re.compile(
    r"(?:^|(?<=[.!?\n]))[ \t]*(?:please )?(?:be|stay|keep (?:it|your (?:answers?|replies))|think) (?:\w+ ){0,3}?"
    r"(?:brief|concise|short|helpful|honest|kind|nice|polite|friendly|accurate|clear|precise|simple|step by step)\b[^.!?\n]{0,40}[.!?]?"
    r"|(?:^|(?<=[.!?\n]))[ \t]*(?:please )?(?:just|only) (?:give me )?the (?:final )?(?:numbers?|answers?|results?|totals?)(?:,? please)?[ \t]*(?:[.!]|$)",
    re.MULTILINE,
)
"""`You are a clerk. Be brief.` says nothing of what is to be done."""

_SENTENCE = re.compile(r"[^.!?:\n]+")
_DOUBTFUL = word_set("in i an do is a to can of for by at as be or all my me it on so")
_FOREIGN = re.compile(
    r"\b(?:der|das|dem|und|ist|nicht|ein|eine|einen|einem|einer|auf|mit|für|von|zu|zum|zur|wie|bitte|sich|auch|nur|ins|im|es|sie|wir|ihr|ich|dass|daß|kein"
    r"|keine|welche\w?|um|aus|nach|über|mir|sind|wird|werden|le|la|les|une|est|et|dans|avec|que|qui|pas|cette|ces|au|aux|du|en|il|elle|nous|vous|sa|ses|dis"
    r"|el|los|las|una|del|por|para|como|cómo|lo|al|su|esto|este|esta|gli|di|della|che|per|non|è|questo|si|dice|nel|uma|não|da|em|het|een|van|niet|met|voor"
    r"|dit|zeg|nie|jest|się|na|och|att|det|som|på|är|ikke)\b"
)


_ASIDE = re.compile(
    r"\b(?:ignor(?:e|ing)|disregard\w*|regardless|consider|despite|beware|take into account|pay attention|look at|keep (?:the|your) (?:wording|phrasing|syntax)|do(?: not|n't) (?:mind|count|penali[sz]e|care)|(?:get|come|comes) (?:straight )?to the point)\b"
)
"""A sentence that says what is not judged, or what may be met with."""


_TELLING = re.compile(
    r"(?:the|an?|some|many|most|it|they|this|these|those|if|when|where|note|remember|sometimes|often|do not|don't|never|always|reviews?|texts?|writers?"
    r"|customers?|people|comments?|messages?)\b"
)
_GUIDE_SENTENCES = 3
_BULLETS = "-*•#>()[]\"'“”` \t"


def is_about_words(low: str, labels: bool) -> bool:
    """An instruction in small letters names a form of the text, or pieces of it, that are asked for; where labels are asked for, what
    a longer guide tells is not asked."""
    said = _sentences(low)
    if labels and len(said) >= _GUIDE_SENTENCES:
        said = [one for one in said if _TELLING.match(one) is None]
        low = "\n".join(said)
    if _REWORKED.search(low) is not None:
        return True
    return _WORDING.search(low) is not None and any(
        _WORDING.search(one) is not None and _ASIDE.search(one) is None for one in said
    )


def _sentences(low: str) -> list[str]:
    """Those that have a word, from their first letter on."""
    found = (one.strip().lstrip(_BULLETS) for one in _SENTENCE.findall(low))
    return [one for one in found if any(map(str.isalnum, one))]


def reworks(low: str) -> bool:
    """An instruction in small letters orders a change of the text."""
    return any(_changes(verb, after) for verb, after in _orders(_ANY_ORDER, low)) or _WANTED.search(low) is not None


def orders_rework(low: str) -> bool:
    """So does a text that may hold the real instruction, at the beginning of a sentence."""
    return any(_changes(verb, after) for verb, after in _orders(_ORDER, low))


def perhaps_reworks(low: str) -> bool:
    """A verb that nobody knows stands in front of a text, `Piratify this:`, or something is put into another form."""
    return any(
        verb == "put" or (verb not in _TOLD and not verb.endswith("ing") and _FOLLOWED.search(after) is not None)
        for verb, after in _orders(_ANY_ORDER, low)
    )


def asks_openly(low: str) -> bool:
    """Some word says that an answer of one's own is wanted, and in English: an instruction without one may be any that nobody knows."""
    told = _without_manner(low)
    if (_OPEN.search(told) is None and any(map(str.isalnum, told))) or ENGLISH.search(low) is None:
        return False
    return not is_foreign(low)


def is_foreign(low: str) -> bool:
    """It is in another language than English, or one of its ends is: where nothing is known to be constant, an instruction stands there."""
    if _FOREIGN.search(low) is None:
        return False
    said = _sentences(low)
    return any(map(_is_foreign, (low, said[0], said[-1])))


def says_nothing(constant: str) -> bool:
    """What all prompts share is headings alone, or marks."""
    return _SAYS_NOTHING.fullmatch(constant) is not None


def says_only_how(text: str) -> bool:
    """It says who answers and in what manner, and nothing of what is to be done."""
    return any(map(str.isalnum, text)) and not any(map(str.isalnum, _without_manner(text.lower())))


def _without_manner(low: str) -> str:
    return _MANNER.sub(" ", _PERSONA.sub(" ", low) if "you are" in low else low)


def _is_foreign(low: str) -> bool:
    """More small words are of other languages; what English and they have in common is no sign of either."""
    others = len(_FOREIGN.findall(low))
    return others > 0 and others > sum(word not in _DOUBTFUL for word in ENGLISH.findall(low))


def _orders(pattern: re.Pattern[str], low: str) -> Iterator[tuple[str, str]]:
    """Words that may be orders, with what follows, but for those that say how the answer should be."""
    answered = False
    for found in pattern.finditer(low):
        verb, after = found[1], found[2]
        its = _IT.search(after) is not None
        answered = answered or (verb in _ANSWERS and not its)
        if not (answered and its and verb not in _FORMS):
            yield verb, after


def _changes(verb: str, after: str) -> bool:
    if verb in _FORMS or (verb in _LISTS and after.startswith(_ALL)):
        return True
    return verb in _CHANGES and _TEXT.search(after) is not None
