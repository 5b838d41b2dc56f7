"""Closed word lists that the duplicate guards read: short tables of English function words, opposites, units and the like."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a table."""
    return frozenset(text.split())


def word_pairs(text: str) -> dict[str, str]:
    """The second words of a table of pairs, by the first."""
    return dict(pair.split() for pair in text.split(" | "))


ARTICLES = word_set("a an the")
SUBJECTS = ARTICLES | word_set("i you he she it we they my your his her our their its")
"""What opens a clause and is no part of the words before it."""

POLITE = word_set("please kindly plz pls")
GREETINGS = word_set("hi hello hey thanks thank")
MODALS = word_set("can could will would shall should may might must")
ASKING = word_set(
    "how what when where which who whom whose why is are am was were do does did can could will would shall should may "
    "might has have had isn't aren't don't doesn't didn't can't couldn't won't wouldn't"
)
"""A sentence that starts with one of these is a question with or without its mark."""

NEGATION = word_set(
    "not no never none nobody nothing nowhere neither nor without cannot hardly barely scarcely seldom rarely lack lacks "
    "lacking except unless refuse refuses refused deny denies denied fail fails failed excluding nor minus false absent"
)
FOREIGN_DENIALS = word_set(
    "nicht kein keine keinen keinem keiner keines nein nie niemals nichts ohne non ne pas jamais rien sans aucun aucune nunca "
    "jam\u00e1s nada ning\u00fan ninguno ninguna mai niente nessuno senza n\u00e3o nem sem niet geen nee nooit inte ingen aldrig ikke nei "
    "nej aldri ei nigdy bez \u043d\u0435 \u043d\u0435\u0442 \u043d\u0435\u043b\u044c\u0437\u044f \u043d\u0438\u043a\u043e\u0433\u0434\u0430 \u043d\u0438 \u0431\u0435\u0437 \u043d\u0456 de\u011fil yok hay\u0131r"
)
"""Denials of other languages, none of which is an English word."""

RANGED = word_set(
    "mon tue tues wed thu thur thurs fri sat sun monday tuesday wednesday thursday friday saturday sunday mondays tuesdays "
    "wednesdays thursdays fridays saturdays sundays jan feb mar apr may jun jul aug sep sept oct nov dec january february march april "
    "june july august september october november december am pm a.m p.m noon midnight today tomorrow morning evening spring summer "
    "autumn winter north south east west"
)
"""A dash between two of these says from where to where: `Mon-Fri` is not `Mon, Fri`."""
QUANTIFIERS = word_set(
    "all every each any some many much few little several most least less more fewer lot lots both either half whole entire "
    "only just enough almost nearly always often sometimes usually once twice thrice double triple single about "
    "approximately exactly roughly least maximum minimum max min over under up too very extremely slightly quite"
)
COMPARATIVES = word_set(
    "more less better worse best worst most least higher lower highest lowest larger smaller largest smallest bigger "
    "biggest older younger oldest youngest earlier later latest first last faster slower longer shorter cheaper "
    "greater great fewest heavier lighter stronger weaker than"
)
PRONOUNS = word_set(
    "i me my mine myself you your yours yourself he him his himself she her hers herself it its itself we us our ours "
    "ourselves they them their theirs themselves this that these those who whom whose someone anyone everyone"
)
GENDERS = word_set(
    "man woman men women boy girl boys girls male female father mother dad mom son daughter brother sister husband wife "
    "uncle aunt nephew niece king queen prince princess actor actress sir madam mr mrs ms miss gentleman lady "
    "grandfather grandmother boyfriend girlfriend waiter waitress"
)
DIRECTIONS = word_set(
    "to from into onto out of off on in at by before after above below over under between through via toward towards "
    "against until till since during up down left right north south east west inside outside within behind ahead "
    "upward downward forward backward with for"
)
NUMBER_WORDS = word_set(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion "
    "dozen dozens half quarter third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth first second "
    "twentieth hundredth thousandth hundreds thousands millions billions once twice thrice double triple pair couple "
    "single thirds quarters halves score"
)
DATES = word_set(
    "january february march april may june july august september october november december jan feb mar apr jun jul aug "
    "sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri "
    "sat sun today tomorrow yesterday tonight now morning noon afternoon evening night midnight daily weekly monthly "
    "yearly hourly annual quarterly spring summer autumn winter weekday weekend am pm bc ad bce ce ago next last previous "
    "current century decade year years month months week weeks day days hour hours minute minutes second seconds"
)
UNITS = word_set(
    "mm cm m km in ft yd mi mg g kg lb lbs oz t ml l dl gal pt qt s ms us ns min h hr hrs b kb mb gb tb pb kib mib gib bit "
    "byte bytes hz khz mhz ghz w kw mw kwh v mv a ma c f k pa kpa bar psi usd eur gbp jpy chf inr cad aud dollar dollars "
    "euro euros pound pounds yen rupee rupees cent cents percent pct degree degrees celsius fahrenheit kelvin gram grams "
    "kilogram kilograms milligram milligrams meter meters metre metres kilometer kilometers kilometre kilometres mile "
    "miles inch inches foot feet yard yards liter liters litre litres gallon gallons cup cups spoon teaspoon tablespoon"
)
UNIT_WORDS = word_set(
    "mm cm km mg kg lb lbs oz ml gal qt ms ns hr hrs kb mb gb tb pb kib mib gib byte bytes hz khz mhz ghz kw mw kwh mv ma "
    "kpa psi usd eur gbp jpy chf inr dollar dollars euro euros pound pounds yen rupee rupees celsius fahrenheit kelvin gram "
    "grams kilogram kilograms milligram milligrams kilometer kilometers kilometre kilometres mile miles inch inches liter "
    "liters litre litres gallon gallons teaspoon tablespoon"
)
"""Units that are units wherever they stand; the others only after a number."""

CASED_UNITS = word_set("b kb mb gb tb pb kbps mbps gbps kbit mbit gbit mw mwh mv mva ma mm mg ms mhz mpa mj mn pa")
"""Units that are others with another case inside: a megabit (Mb) and a megabyte (MB), milliwatts (mW) and megawatts (MW)."""

CONTRACTIONS = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "shan't": "shall not",
    "ain't": "is not",
    "let's": "let us",
    "it's": "it is",
    "that's": "that is",
    "there's": "there is",
    "here's": "here is",
    "what's": "what is",
    "where's": "where is",
    "who's": "who is",
    "how's": "how is",
    "when's": "when is",
    "why's": "why is",
    "he's": "he is",
    "she's": "she is",
    "i'm": "i am",
    "dont": "do not",
    "doesnt": "does not",
    "didnt": "did not",
    "isnt": "is not",
    "arent": "are not",
    "wasnt": "was not",
    "werent": "were not",
    "couldnt": "could not",
    "wouldnt": "would not",
    "shouldnt": "should not",
    "hasnt": "has not",
    "havent": "have not",
    "hadnt": "had not",
    "cant": "can not",
    "whats": "what is",
    "wheres": "where is",
    "theres": "there is",
    "heres": "here is",
    "thats": "that is",
    "im": "i am",
    "ive": "i have",
    "youre": "you are",
    "theyre": "they are",
    "youve": "you have",
    "mens": "men 's",
    "womens": "women 's",
    "childrens": "children 's",
}
"""Also the common spellings without an apostrophe; those that are words of their own (wont, were, ill, its) are left out."""

CONTRACTION_TAILS = {"n't": "not", "'re": "are", "'ve": "have", "'ll": "will", "'m": "am"}

SLIPS = word_pairs(
    "teh the | hte the | taht that | wich which | yuo you | recieve receive | recieved received | recieves receives | seperate separate | "
    "seperately separately | definately definitely | occured occurred | sucess success | adress address | tommorow tomorrow | lenght length | "
    "recomend recommend | tounge tongue"
)
"""Slips so common that vocabularies hold them to be words, or too short or long to be judged by their letters."""

CASE_PAIRS = word_set(
    "polish turkey china march may us it who apple windows amazon orange visa bush rice bill mark rose will jack frank "
    "grace hope faith joy amber ruby august may nice reading mobile bath job jordan chad georgia cuba java python rust "
    "go swift ruby perl basic mercury mars earth target gap shell ford delta total subway chase discover aids ram rom "
    "signal slack zoom teams outlook notion stripe ice pet salt prince "
    "pat sue rob drew guy art miles baker cook smith wade lane stone wolf fox turkey lent co sie ihr ihnen ihre ihrem ihren ihrer"
)
"""Words that mean another thing with a capital letter; the German ones are `you` instead of `she`, `her` or `they`."""

_OPPOSITES = """
accept reject | accept refuse | accept decline | approve reject | approve deny | allow forbid | allow deny | allow block |
allow prevent | permit forbid | ask answer | arrive depart | arrive leave | ascend descend | attack defend | begin end |
start stop | start finish | start end | begin finish | borrow lend | bring take | build destroy | buy sell | bought sold |
purchase sell | catch miss | close open | closed open | come go | connect disconnect | enable disable | create delete |
create destroy | add remove | add subtract | add delete | insert delete | append remove | encrypt decrypt | encode decode |
enter exit | enter leave | expand shrink | expand collapse | fail pass | fail succeed | fill empty | find lose | forget
remember | freeze melt | freeze unfreeze | gain lose | gain loss | profit loss | win lose | won lost | win loss | give take |
give receive | send receive | sent received | grow shrink | hate love | hated loved | like dislike | hide show | hire fire |
import export | include exclude | including excluding | increase decrease | increased decreased | increasing decreasing |
inhale exhale | install uninstall | join leave | laugh cry | lead follow | learn teach | live die | alive dead | lock
unlock | login logout | lower raise | raise reduce | reduce increase | mount unmount | multiply divide | open shut |
pack unpack | plus minus | praise criticize | praise blame | pull push | push pop | put remove | read write | rise fall |
rose fell | rising falling | save spend | save delete | save waste | subscribe unsubscribe | switch-on switch-off | turn-on
turn-off | upload download | upgrade downgrade | withdraw deposit | withdrawal deposit | wake sleep | zoom-in zoom-out |
good bad | better worse | best worst | great terrible | excellent awful | big small | large small | huge tiny | long short |
tall short | high low | higher lower | highest lowest | larger smaller | largest smallest | wide narrow | thick thin |
heavy light | deep shallow | strong weak | hard soft | hard easy | difficult easy | simple complex | fast slow | faster
slower | quick slow | rapid slow | early late | earlier later | old new | old young | older younger | ancient modern | hot
cold | warm cool | wet dry | full empty | rich poor | cheap expensive | clean dirty | bright dark | light dark | black white |
loud quiet | happy sad | happy unhappy | safe dangerous | safe unsafe | healthy sick | healthy ill | true false | right
wrong | correct incorrect | right left | same different | similar different | equal unequal | positive negative | active
passive | active inactive | public private | internal external | domestic foreign | local global | local remote | national
international | single married | single double | single multiple | legal illegal | guilty innocent | male female | man woman |
men women | boy girl | boys girls | husband wife | father mother | brother sister | son daughter | king queen | he she | his
her | him her | inside outside | indoor outdoor | in out | on off | up down | upward downward | above below | over under |
before after | pre post | front back | top bottom | first last | next previous | near far | here there | north south | east
west | northern southern | eastern western | now then | today tomorrow | today yesterday | day night | morning evening |
always never | often rarely | often seldom | usually rarely | all none | everything nothing | everyone nobody | everybody
nobody | some none | many few | more less | most least | more fewer | maximum minimum | max min | major minor | majority
minority | with without | to from | for against | pro con | and or | yes no | agree disagree | appear disappear | possible
impossible | able unable | likely unlikely | certain uncertain | lucky unlucky | useful useless | careful careless | hopeful
hopeless | harmful harmless | helpful unhelpful | interesting boring | entertaining boring | exciting boring | exciting dull |
funny unfunny | beautiful ugly | pretty ugly | nice nasty | kind cruel | friendly hostile | polite rude | honest dishonest |
brave cowardly | proud ashamed | wise foolish | smart stupid | smart dumb | clever stupid | intelligent stupid | sane insane |
sweet bitter | sweet sour | fresh stale | raw cooked | sharp blunt | sharp dull | smooth rough | tight loose | straight
curved | vertical horizontal | odd even | visible invisible | natural artificial | real fake | genuine fake | permanent
temporary | temporary lasting | fixed variable | constant variable | static dynamic | minimum maximum | gross net | income
expense | asset liability | debit credit | credit debt | supply demand | buyer seller | teacher student | parent child |
employer employee | doctor patient | host guest | victory defeat | success failure | succeed fail | success fail | peace war |
friend enemy | ally enemy | love hate | hope despair | joy sorrow | pleasure pain | praise criticism | birth death | life
death | heaven hell | beginning end | beginning ending | entrance exit | arrival departure | question answer | cause effect |
problem solution | strength weakness | advantage disadvantage | advantages disadvantages | pros cons | benefit drawback |
benefits risks | truth lie | order chaos | war peace | input output | row column | client server | ascending descending |
synchronous asynchronous | prefix suffix | head tail | begin complete | incomplete complete | complete unfinished | accepted
rejected | approved denied | approved declined | opened closed | started stopped | started finished | won lost | passed
failed | present absent | included excluded | enabled disabled | allowed forbidden | allowed denied | hotter colder |
stronger weaker | expensive free | paid free | paid unpaid | busy free | vacant occupied | available unavailable | online
offline | manual automatic | wireless wired | portable fixed | solid liquid | hit miss | love loathe | adore detest | like
hate | recommend avoid | improve worsen | strengthen weaken | tighten loosen | widen narrow | lengthen shorten | deepen
shallow | heat cool | heating cooling | gather scatter | attract repel | float sink | tie untie | fasten unfasten | wrap
unwrap | dress undress | cover uncover | veil unveil | fold unfold | load unload | plug unplug | zip unzip | check uncheck |
mute unmute | pause resume | follow unfollow | archive unarchive | block unblock | pin unpin | select deselect | activate
deactivate | engage disengage | inherit bequeath | nearest farthest | ahead behind | closest farthest | cheapest dearest | tallest
shortest | longest shortest | oldest youngest | fastest slowest | richest poorest | biggest smallest | hottest coldest
"""
OPPOSITES = frozenset(frozenset(pair.split()) for pair in " ".join(_OPPOSITES.split()).split(" | "))
NEGATIVE_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non", "anti", "mis", "de", "a", "counter")
NEGATIVE_SUFFIXES = ("less", "free", "proof")
PREFIXES = (*NEGATIVE_PREFIXES, "re", "pre", "post", "sub", "super", "hyper", "hypo", "inter", "intra", "over", "under", "out",
            "up", "micro", "macro", "mono", "bi", "tri", "multi", "poly", "ex", "en", "co", "per", "pro", "ante")  # fmt: skip
SUFFIXES = ("s", "es", "d", "ed", "r", "er", "st", "est", "ing", "ly", "y", "n", "en", "al", "ful", "less", "ness", "ment",
            "ion", "or", "ist", "ism", "ish", "able", "ible", "ive", "ous", "ity", "ty", "th", "ee", "ess", "e", "a", "i",
            "o", "um", "us", "ian", "ic", "'s")  # fmt: skip
