"""Figures that are written in two ways, and those that only look so; the whole vocabulary judges them."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, EXTRACT, OPEN, STRICT, canonical_key, decide

pytestmark = pytest.mark.usefixtures("vocabulary")

SAME = """
The shop opens at 09:00 today|The shop opens at 9:00 today
The train left at 07:05:30 sharp|The train left at 7:05:30 sharp
It came on 3rd April 2024 at last|It came on 3 April 2024 at last
It came on April 3rd, late|It came on April 3, late
It came on 3 Apr 2024|It came on 3 April 2024
It came on 3rd Sept.|It came on 3 September.
It came on April 3, 2024 at last|It came on 3 April 2024 at last
It came on the 3rd of April 2024|It came on 3 April 2024
It came on Apr. 3, 2024|It came on 3 April 2024
It came on 2024-04-03 at last|It came on 3 April 2024 at last
Bake for ten mins|Bake for 10 minutes
It cost EUR 5.50 in all|It cost \u20ac5.50 in all
It cost 5.50\u20ac in all|It cost \u20ac5.50 in all
Bake for 20 minutse|Bake for 20 minutes
Open Mon-Fri from 9|Open Monday-Friday from 9
Open Mon - Fri from 9|Open Mon-Fri from 9
Shut Jan-Mar each year|Shut January-March each year
Open Sat 9 am to 2 pm|Open Saturday 9 am to 2 pm
A 10 x 5 cm frame|A 10x5cm frame
A 10 \u00d7 5 cm frame|A 10x5 cm frame
What is 33 + 4 \u00d7 3 - 20|What is 33 + 4 x 3 - 20
What is 3\u00d74?|What is 3 x 4?
Bake for 20 minutes|Bake for 20 mins
Bake for 20min|Bake for 20 minutes
Wait 5 hours now|Wait 5 hrs now
It weighs 5 kilograms in all|It weighs 5 kg in all
The fee is non-refundable|The fee is nonrefundable
A non stick pan|A nonstick pan
A multi-purpose tool|A multipurpose tool
A 6-foot man ran|A 6 foot man ran
A 3-day trip by car|A 3 day trip by car
A 2-pack of socks|A 2 pack of socks
Is sulphur yellow|Is sulfur yellow
She has anaemia and oedema|She has anemia and edema
A paediatric ward|A pediatric ward
It has H\u2082O in it|It has H2O in it
Solve x\u00b2 = 9 now|Solve x^2 = 9 now
It is 10\u207b\u00b3 m long|It is 10^-3 m long
Take 5 \u00b5g at noon|Take 5 \u03bcg at noon
"""
OTHER = """
Genesis 1:09 is nice|Genesis 1:9 is nice
Room 010 is mine|Room 10 is mine
The 3rd April show was best|The 4 April show was best
He won the 3rd race|He won the 3 race
It came on 3 Apr 2024|It came on 3 Aug 2024
The Sun said so|The Sunday said so
It came on 2024-04-03 at last|It came on 4 March 2024 at last
It came on 03/04/2024 at last|It came on 3 April 2024 at last
It came on April 3, 2024|It came on April 13, 2024
In April 2024 it came|In 2024 April it came
It cost EUR 5 in all|It cost $5 in all
It cost \u00a35 in all|It cost 5 pounds in all
Bake for ten mins|Bake for ten hours
Is 2024-04-03 the right format|Is 3 April 2024 the right format
I sat down there|I saturday down there
Open Mon-Fri from 9|Open Mon-Sat from 9
Solve 3 x 4 = x now|Solve 3 \u00d7 4 = x now
Call 0x10 now|Call 0 x 10 now
A 10 x 5 cm frame|A 5 x 10 cm frame
A 10 x 5 cm frame|A 10 5 cm frame
Take 3x the dose|Take 3 \u00d7 the dose
Bake for 20 minutes|Bake for 20 hours
The 5 second rule|The 5 minute rule
It is the second hour|It is the sec h
Take 5 mg now|Take 5 g now
Take 5 \u00b5g now|Take 5 mg now
Meet at 5 h|Meet at 5 min
What is 10\u2082 in all|What is 102 in all
It is 10\u2075 long|It is 105 long
Solve x\u00b2 = 9 now|Solve x2 = 9 now
Solve x\u00b2 = 9 now|Solve x\u00b3 = 9 now
It has H\u2082O in it|It has HO in it
He re-signed today|He resigned today
A non-native plant|A native plant
Order 6-abc is late|Order 6 abc is late
A 6-foot man ran|A 6 inch man ran
The half of 10, plus 2|The half of 10 plus 2
Take 10 divided by 2, plus 3|Take 10 divided by 2 plus 3
It has two twenty-year-old trees|It has two twenty year-old trees
What is (1,) in it|What is (1) in it
Where is $HOME now|Where is $home now
What does ./run do|What does ../run do
Is 09:00 in the right format|Is 9:00 in the right format
Write 3rd April|Write 3 April
Is x\u00b2 a superscript|Is x^2 a superscript
Does the code y = x\u00b2 run?|Does the code y = x^2 run?
She has anaemia now|She has leukaemia now
Is sulphate in it|Is sulphite in it
"""


def pairs(table: str) -> list[tuple[str, str]]:
    return [(a, b) for a, _, b in (line.partition("|") for line in table.strip().split("\n"))]


def merged(a: str, b: str, task: str) -> bool:
    """By key or by proof, in either order."""
    same_key = canonical_key(b"family", a, task) == canonical_key(b"family", b, task)
    return same_key or decide((a,), (b,), task).accept or decide((b,), (a,), task).accept


@pytest.mark.parametrize(("a", "b"), pairs(SAME))
def test_read_alike_where_labels_or_a_free_answer_are_asked_for(a: str, b: str) -> None:
    assert merged(a, b, CLOSED)
    assert merged(a, b, OPEN)


@pytest.mark.parametrize(("a", "b"), [pair for pair in pairs(SAME) if "\u00b5" not in pair[0]])
def test_literal_tasks_keep_how_they_are_written(a: str, b: str) -> None:
    assert not merged(a, b, STRICT)
    assert not merged(a, b, EXTRACT)


@pytest.mark.parametrize(("a", "b"), pairs(OTHER))
def test_read_apart(a: str, b: str) -> None:
    assert [task for task in (CLOSED, OPEN, EXTRACT, STRICT) if merged(a, b, task)] == []
