"""Slips of the fingers, with the vocabulary that comes with the program."""

from __future__ import annotations

import pytest

from pipelines.proof import lexicon, typos

pytestmark = pytest.mark.usefixtures("vocabulary")

SLIPS = [
    ("estimated", "estimaetd"), ("account", "acount"), ("exchange", "ecxhange"), ("transfer", "transffer"),
    ("delivery", "dellivery"), ("pending", "pendng"), ("cool", "coool"), ("greatness", "gretness"),
    ("asked", "aked"), ("forced", "fored"), ("order", "orer"), ("money", "moey"), ("premier", "premer"),
    ("nationality", "nationalty"), ("probably", "probaby"), ("accessories", "accesories"), ("biochemistry", "biocheistry"),
    ("consequences", "concequences"), ("aluminium", "alumnium"), ("sincerely", "sincerly"), ("updated", "updateed"), ("marbles", "marbbles"),
    ("english", "engish"), ("important", "mportant"), ("technology", "echnology"), ("customre", "custmer"), ("heaating", "heatig"),
    ("first", "firrst"), ("sixteen", "sixten"),
]  # fmt: skip
REAL = [
    ("trail", "trial"), ("casual", "causal"), ("moral", "amoral"), ("order", "orders"), ("walk", "walks"),
    ("form", "from"), ("quiet", "quite"), ("useful", "useless"), ("hoping", "hopping"), ("three", "thre"),
    ("desert", "dessert"), ("adapt", "adopt"), ("statue", "statute"), ("hypertension", "hypotension"), ("cat", "cta"),
    ("possible", "impossible"), ("affect", "effect"), ("lose", "loose"), ("bought", "brought"), ("planing", "planning"),
    ("hostels", "hotels"), ("models", "modems"), ("models", "motels"), ("repealed", "repeated"), ("browning", "browsing"),
    ("genome", "gnome"), ("campaign", "champaign"), ("rants", "ranks"), ("hammer", "hummer"), ("salmon", "saloon"),
    ("applet", "apples"), ("revocation", "relocation"), ("criticise", "criticism"), ("xvii", "xviii"), ("xxvii", "xxviii"),
    ("granada", "grenada"), ("projectors", "protectors"), ("emission", "omission"), ("vesicle", "vehicle"), ("derision", "decision"),
    ("beech", "beach"), ("political", "apolitical"), ("steemed", "esteemed"), ("sundar", "sunar"), ("zorvan", "zorven"), ("rabid", "rapid"), ("report", "repost"), ("cards", "carbs"), ("finance", "fiance"), ("types", "tyres"), ("infections", "injections"), ("investor", "inventor"),
    ("artistic", "autistic"), ("peaches", "peaces"), ("eight", "eigth"), ("ninety", "ninty"), ("million", "milion"), ("vilsit", "viit"),
]  # fmt: skip
OTHER_LETTERS = [
    ("这家酒店的服务很好", "这家酒店的服务不好"), ("我喜欢这个产品", "我不喜欢这个产品"), ("这里有三本书可以看", "这里有五本书可以看"),
    ("この店はとても高いです", "この店はとても安いです"), ("재미있었어요", "재미없었어요"), ("интересный", "интерестный"), ("ενδιαφέρον", "ενδιαφερον"),
    ("funcionó", "funciono"), ("מעניינת", "מענינת"), ("geliyor", "gelmiyor"), ("seviyorum", "sevmiyorum"), ("talossa", "talosta"), ("comprado", "comparado"),
]  # fmt: skip
"""Where a sentence is one word, or one letter or accent denies or tells the time, the tables know nothing."""
TECHNICAL = [
    ("nephrotic", "nephritic"), ("hematoma", "hepatoma"), ("peroneal", "perineal"), ("phosphate", "phosphite"), ("butanol", "butanal"),
    ("hexane", "hexene"), ("iodate", "iodite"), ("toluene", "toluane"), ("ketamine", "ketamide"), ("atenolol", "atenolal"),
    ("gastritis", "gastrotis"), ("cytosine", "cytosite"), ("methanal", "methanol"), ("trachoma", "tracheoma"), ("lamotrigine", "lamotrigene"),
]  # fmt: skip
TECHNICAL_SLIPS = [
    ("nephrotic", "nephrotci"),
    ("hematoma", "hemmatoma"),
    ("phosphate", "phsophate"),
    ("definite", "definate"),
]
NAMES = [("johnson", "jonson"), ("smith", "smyth"), ("canada", "canasa"), ("monday", "munday"), ("france", "franche")]


@pytest.mark.parametrize(("right", "wrong"), SLIPS)
def test_slips_of_ordinary_words(right: str, wrong: str) -> None:
    assert typos.typo(right, wrong)
    assert typos.typo(wrong, right)


@pytest.mark.parametrize(("right", "wrong"), TECHNICAL_SLIPS)
def test_slips_that_make_no_other_technical_word(right: str, wrong: str) -> None:
    assert typos.typo(right, wrong)
    assert typos.typo_for_labels(wrong, right)


@pytest.mark.parametrize(("a", "b"), [*REAL, *OTHER_LETTERS, *TECHNICAL])
def test_two_real_words_are_no_slip(a: str, b: str) -> None:
    for check in (typos.typo, typos.typo_for_labels, typos.typo_of_name):
        assert not check(a, b)
        assert not check(b, a)


@pytest.mark.parametrize(("a", "b"), NAMES)
def test_a_name_is_not_corrected(a: str, b: str) -> None:
    assert not typos.typo(a, b)
    assert not typos.typo_of_name(a, b)


def test_where_only_a_label_is_asked_a_name_may_be_misspelt() -> None:
    assert typos.typo_for_labels("dresden", "drsden")
    assert typos.typo_for_labels("kowalczyk", "kowalcyzk"), "nor does a dictionary hold it"
    assert typos.typo_for_labels("passcode", "psscode"), "nor every compound"
    assert typos.typo_for_labels("evns", "evans")
    assert not typos.typo_for_labels("johnson", "thomson")
    assert not typos.typo_for_labels("monzo", "mono"), "a short word with a letter more is a brand"
    assert not typos.typo_for_labels("skoda", "soda")


def test_two_slips_of_one_word_are_the_same() -> None:
    assert typos.typo_for_labels("cihna", "chnia")
    assert typos.typo("heatig", "heaating")
    assert not typos.typo("heatig", "heayting"), "another letter may be another name"
    assert not typos.typo_for_labels("zorvan", "zorven"), "which are slips of no word"
    assert not typos.typo("heatig", "ehating"), "of another first letter"


OTHERS = [
    ("execa", "execp"), ("minio", "miniq"), ("signale", "signalr"), ("changde", "changle"), ("daqing", "daxing"),
    ("moser", "moyer"), ("redoc", "redom"), ("batna", "batam"), ("korba", "korla"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), OTHERS)
def test_two_names_that_nobody_knows_are_no_slips_of_what_lies_between(a: str, b: str) -> None:
    for check in (typos.typo, typos.typo_for_labels, typos.typo_of_name):
        assert not check(a, b)


@pytest.mark.parametrize(("a", "b"), [("poole", "opole"), ("terni", "tenri"), ("salta", "salat"), ("krebs", "kerbs")])
def test_short_names_with_swapped_letters_are_other_names(a: str, b: str) -> None:
    assert not typos.typo_of_name(a, b)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("thsee", "three"),
        ("thrse", "three"),
        ("elven", "eleven"),
        ("thorugh", "though"),
        ("logn", "login"),
        ("wannt", "wanna"),
    ],
)
def test_a_slip_of_two_words_is_mended_to_none(wrong: str, right: str) -> None:
    assert typos.mender([right])(wrong) == wrong


def test_only_a_long_word_is_known_without_its_first_letter() -> None:
    assert typos.typo("important", "mportant")
    assert not typos.typo("country", "ountry")
    assert not typos.typo("strange", "trange")
    assert not typos.typo_of_name("english", "anglish"), "nor with another one"


def test_a_number_is_not_one_of_which_another_word_is_as_near() -> None:
    assert typos.typo("firrst", "first")
    assert not typos.typo("elven", "eleven")
    assert not typos.typo("thsee", "three")
    assert typos.typo_of_name("firrst", "first")
    assert typos.mender(["though"])("thhough") == "though"


@pytest.mark.parametrize(
    ("right", "wrong"), [("Dresden", "Drseden"), ("Berlin", "Belrin"), ("English", "Engish"), ("Australia", "Autralia")]
)
def test_slips_that_can_hardly_be_another_name(right: str, wrong: str) -> None:
    assert typos.typo_of_name(right.lower(), wrong.lower())


@pytest.mark.parametrize(
    ("a", "b"), [("johnson", "johnsen"), ("hansen", "hanssen"), ("smith", "smih"), ("english", "englisher")]
)
def test_names_of_persons_have_variants(a: str, b: str) -> None:
    assert not typos.typo_of_name(a, b)


def test_without_a_vocabulary_nothing_is_forgiven() -> None:
    lexicon.forget()
    found = typos.typo("estimated", "estimaetd")
    lexicon.load()
    assert not found
