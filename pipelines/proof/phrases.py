"""Phrases without content of their own that English uses alike: `in order to` and `to`, `whilst` and `while`, `TV` and `television`.

Each is read as its common form. A text that talks about words keeps them all: there the phrase itself is the point.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import eq

from pipelines.proof import lexicon, typos
from pipelines.proof.reading import Token
from pipelines.proof.words import word_set

_Words = tuple[str, ...]

_ALIKE = """
in order to = to | so as to = to | prior to = before | in spite of = despite | whether or not = whether
on account of = because of | with regard to = about | with regards to = about
in regard to = about | regarding = about | at the moment = now | at present = now | currently = now
each other = one another | till = until | whilst = while | amongst = among | towards = toward
anybody = anyone | everybody = everyone | somebody = someone | no one = nobody | even though = although | though = although
lots of = a lot of | for instance = for example | have got = have | has got = has | 've got = have
per cent = percent | % = percent | okay = ok | all right = alright | as soon as possible = asap | versus = vs
wanna = want to | gonna = going to | gotta = have to | gimme = give me | lemme = let me | cuz = because | coz = because
dunno = do not know | thru = through | tho = although
is there any = is any | are there any = are any | was there any = was any | were there any = were any
deserve to have = deserve
prime minster = prime minister | alot = a lot
would like to = want to | wont = will not | i'd like to = i want to | we'd like to = we want to
per second = a second | per minute = a minute | per hour = an hour | per day = a day | per week = a week | per month = a month | per year = a year
each day = every day | each week = every week | each month = every month | each year = every year | each hour = every hour | each time = every time
each morning = every morning | each evening = every evening | each night = every night | each weekend = every weekend
know if = know whether | ask if = ask whether | asked if = asked whether | wonder if = wonder whether | wondering if = wondering whether
check if = check whether | tell if = tell whether | see if = see whether | sure if = sure whether
tell me if = tell me whether | ask me if = ask me whether
two = 2 | three = 3 | four = 4 | five = 5 | six = 6 | seven = 7 | eight = 8 | nine = 9 | ten = 10 | eleven = 11 | twelve = 12
thirteen = 13 | fourteen = 14 | fifteen = 15 | sixteen = 16 | seventeen = 17 | eighteen = 18 | nineteen = 19
w / o = without | w / = with | acct = account | rly = really | ppl = people | abt = about | luv = love
the the = the | a a = a | there is is = there is | an an = an | and and = and | to to = to
of of = of | of of course = of of course | of of late = of of late | of of old = of of old
e - mail = email | e - mails = emails | e mail = email | e mails = emails | a.m = am | p.m = pm | television = tv | televisions = tvs | photograph = photo | photographs = photos
telephone = phone | telephones = phones | mathematics = math | maths = math | advertisement = ad | advertisements = ads
advert = ad | adverts = ads | refrigerator = fridge | examination = exam | examinations = exams | aeroplane = airplane
aeroplanes = airplanes | memorandum = memo | influenza = flu | wi - fi = wifi | wi fi = wifi
the united states of america = the us | the united states = the us | the usa = the us | the u.s.a = the us | the u.s = the us | united kingdom = uk | u.k = uk
united nations = un | u.n = un | european union = eu | e.u = eu
"""
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ONES = "one two three four five six seven eight nine"
_WHO = "i you he she we they"
_WOULD = "like love prefer appreciate want need recommend suggest have be"
"""Behind `'d` these are no participles, so that it can only be `would`."""

_WILL = "be start work open let go turn load connect take come get stop close charge boot sync print update install"
"""Before these `wont` is no habit."""

_MIGHT = "could would should must might"
"""Behind these `of` is `have`."""

_BEHIND = {("would", "like", "to"): word_set("i we"), ("wont",): word_set(f"it {_WHO}")}
"""Phrases that are only read so behind one of these words."""

_DOUBLED = word_set("my your our with from at we you this if or as")
"""A slip where they come twice; `in`, `on` and `is` may be meant: `log in in Rome`."""

_COMPOUNDS = """
web site | work force | data base | pass word | note book | lap top | smart phone | cell phone
time zone | home page | user name | life style | health care | child care | down load | up load | on line | off line | hard drive
head quarters | air line | text book | week end | pay check | play list | up date | up grade | voice mail | suit case | air port
bed room | bath room | foot ball | basket ball | motor cycle | news paper | credit card | class room | over night | mail box | sun glasses
"""
_VERBS = "log in | sign up | set up | back up | check out | check in | break down | sign in | log out | pick up | turn out | work out | lay out"
"""Of these two words are the usual form, in which a slip may be: `chekc out`."""

_ABOUT_WORDS = word_set(
    "abbreviation abbreviations acronym acronyms synonym synonyms grammar spell spells spelled spelt spelling pronounce pronounced phrase phrases "
    "formal informal casual slang dialect slip slips typo typos edit polish proofread expand"
)
_OF_WORDS = word_set(
    "word words term terms mean means meaning meanings stand stands correct write written difference differences differ sentence"
)
_PREFIXES = word_set("non multi semi anti")
"""With them a word is one word, with or without a dash; `re-sign` and `resign` are two."""

_NEAR = 12
_COUNTED = word_set("word words sentence term terms")
_HOW_MANY = word_set("one single own few two three 2 3")
"""`Answer with one word.` says nothing about words."""


def _rows(table: str) -> list[str]:
    return table.strip().replace("\n", "|").split("|")


def _numbers() -> Iterator[str]:
    """`forty = 40`, and with a unit behind it, with or without a hyphen: `20 - 2` is no `twenty-two`."""
    for ten, said in enumerate(_TENS.split(), 2):
        yield f"{said} = {10 * ten}"
        for one, unit in enumerate(_ONES.split(), 1):
            yield f"{said} - {unit} = {10 * ten + one}"
            yield f"{said} {unit} = {10 * ten + one}"


def _table() -> dict[str, list[tuple[_Words, _Words]]]:
    """By the first word of a phrase, the longest first: the phrase and its common form."""
    found: defaultdict[str, list[tuple[_Words, _Words]]] = defaultdict(list)
    would = (f"{who}'d {verb} = {who} would {verb}" for who in _WHO.split() for verb in _WOULD.split())
    will = [f"wont {verb} = will not {verb}" for verb in _WILL.split()]
    have = (f"{verb} {of}" for verb in _MIGHT.split() for of in (f"of = {verb} have", f"of course = {verb} of course"))
    for row in (*_rows(_ALIKE), *_numbers(), *would, *will, *have):
        phrase, short = (tuple(side.split()) for side in row.split("="))
        found[phrase[0]].append((phrase, short))
    for row in _rows(_COMPOUNDS):
        one, two = row.split()
        for ending in ("", "s"):
            joined = (f"{one}{two}{ending}",)
            found[one] += [((one, two + ending), joined), ((one, "-", two + ending), joined)]
    for row in _rows(_VERBS):
        one, two = row.split()
        found[one].append(((one, "-", two), (one, two)))
        found[one + two].append(((one + two,), (one, two)))
    return {first: sorted(pairs, key=lambda pair: -len(pair[0])) for first, pairs in found.items()}


_PHRASES = _table()
_meant = typos.mender(word for pairs in _PHRASES.values() for phrase, _ in pairs for word in phrase)
"""The word of a phrase that another one is a slip of: `even thuogh`."""


def common(tokens: Sequence[Token]) -> tuple[Token, ...]:
    """The tokens with every phrase in its common form."""
    norms = [token.norm for token in tokens]
    if lexicon.installed():
        norms = [_meant(norm) if token.raw.islower() else norm for token, norm in zip(tokens, norms, strict=True)]
    doubled = any(map(eq, norms, norms[1:]))
    if not doubled and _PHRASES.keys().isdisjoint(norms) and _PREFIXES.isdisjoint(norms):
        return tuple(tokens)
    if not _ABOUT_WORDS.isdisjoint(norms):
        return tuple(tokens)
    about = _places_about_words(norms)
    out: list[Token] = []
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if norms[at] not in _PHRASES and norms[at] not in _PREFIXES and not doubled:
            out.append(token)
            at += 1
            continue
        length, short = _found(norms, at)
        if _prefixed(norms, at) and at not in about:
            joined = tokens[at + 1 + (norms[at + 1] == "-")]
            out.append(_in_place(token, token.norm + joined.norm, first=token.first))
            length = 2 + (norms[at + 1] == "-")
        elif length and at not in about and not _named(tokens[at : at + length]):
            out += [_in_place(token, norm, first=token.first and n == 0) for n, norm in enumerate(short)]
        else:
            out.append(token)
            length = 1
        at += length
    return tuple(out)


def _prefixed(norms: Sequence[str], at: int) -> bool:
    """`non-stick` and `non stick`, which are `nonstick`."""
    if norms[at] not in _PREFIXES or at + 1 >= len(norms):
        return False
    dashed = norms[at + 1] == "-"
    return at + 1 + dashed < len(norms) and norms[at + 1 + dashed].isalpha() and (dashed or norms[at] == "non")


def _named(phrase: Sequence[Token]) -> bool:
    """`The The` is a band and `AND and` an operator, `the the` a slip."""
    one, two = phrase[0], phrase[-1]
    return len(phrase) == 2 and one.norm == two.norm and (one.raw.isupper() or not two.raw.islower())


def _in_place(token: Token, norm: str, *, first: bool) -> Token:
    return token._replace(norm=norm, kind="number" if norm.isdigit() else "word", first=first)


def _places_about_words(norms: Sequence[str]) -> set[int]:
    """Where a text talks about words, near which it may name some; not where it says how many words an answer has."""
    if _OF_WORDS.isdisjoint(norms):
        return set()
    places = [
        at
        for at, norm in enumerate(norms)
        if norm in _OF_WORDS
        and not (norm in _COUNTED and (norms[max(0, at - 1)] in _HOW_MANY or norms[at - 1].isdigit()))
    ]
    return {near for at in places for near in range(at - _NEAR, at + _NEAR + 1)}


def _found(norms: Sequence[str], at: int) -> tuple[int, _Words]:
    """How many words the phrase takes that begins here, and what stands for it; 0: none does."""
    for phrase, short in _PHRASES.get(norms[at], ()):
        if tuple(norms[at : at + len(phrase)]) == phrase and (
            phrase not in _BEHIND or (at > 0 and norms[at - 1] in _BEHIND[phrase])
        ):
            return len(phrase), short
    if norms[at] in _DOUBLED and norms[at + 1 : at + 2] == [norms[at]]:
        return 2, (norms[at],)
    return 0, ()
