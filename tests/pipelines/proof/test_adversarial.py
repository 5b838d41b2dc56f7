"""Pairs that differ in one thing that matters must never share an answer; pairs that differ in nothing should.

All are our own, in templates and of kinds that no measurement was tuned to; the whole vocabulary judges them.
"""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, EXTRACT, OPEN, STRICT, VERBATIM, canonical_key, decide
from pipelines.proof.instruction import read_task

TASKS = (CLOSED, OPEN, EXTRACT, STRICT, VERBATIM)
FRAMES = ("{}", "Read what follows. {} End.")

pytestmark = pytest.mark.usefixtures("vocabulary")


def merged(a: str, b: str, task: str) -> bool:
    """By key or by proof, in either order."""
    same_key = canonical_key(b"family", a, task) == canonical_key(b"family", b, task)
    return same_key or decide((a,), (b,), task).accept or decide((b,), (a,), task).accept


OTHER = """
The crate weighs 40 kg.|The crate weighs forty-one kg.
My "friend" took the lamp|My friend took the lamp
My 'friend' took the lamp|My friend took the 'lamp'
We learned more from a "free" page|We learned more from a free page
It was a "helpful" answer to us|It was a helpful answer to us
It runs like &quot;new&quot; now|It runs like new now
A perfect "very nice" stay|A perfect very nice stay
"Fresh" fish for nine days|Fresh fish for nine days
Art and "science" are taught|Art and science are taught
He took the "best friend"'s lamp|He took the best friend's lamp
I *did* say that he took it|I did say that *he* took it
I _did_ say that he took it|I did say that **he** took it
Is x = cost *rate* of it?|Is x = cost rate of it?
The pair x,y is odd|The pair x y is odd
It is 1,5 m long|It is 1 5 m long
No,more cuts are needed|No more cuts are needed
Call os.Path of it at once|Call os Path of it at once
See shop.it or shop.is at once|See shop it or shop is at once
He came, asked no.The lamp broke|He came, asked no the lamp broke
The lamp broke\\n\\nIt is new?|The lamp broke\\n\\nIt is new.
The sign says "teh" in red|The sign says "the" in red
What they heard of of late|What they heard of late
AND and OR are gates|AND OR are gates
It is twenty, three and six|It is twenty-three and six
They had thirty, two were broken|They had thirty-two were broken
A room for twenty? Two of us are young.|A room for 22 of us are young.
It is twenty - two|It is twenty-two
It is log₂8|It is log28
The index a₁2 is odd|The index a12 is odd
List the files *report* in it|List the files report in it
Rename _build_ in it|Rename build in it
Correct: we recieve mail|Correct: we receive mail
Find the error: he went to to the shop|Find the error: he went to the shop
Say whether the British write jewellery|Say whether the British write jewelry
It holds ice cream,cake|It holds ice,cream cake
What is 40 - 2 in all?|What is forty-two in all?
He is 40-2 years old|He is forty-two years old
The sign said "later today" in red|The sign said "laetr today" in red
The word "modify" is old|The word "modifys" is old
Open the file message.txt now|Open the file mesage.txt now
Look into debian/message first|Look into debian/mesage first
The user anna_k logged in|The user anna_K logged in
The user anna_k logged in|The user Anna_k logged in
Read the documentations of both|Read the documentation of both
Solve The Equation X = 5 x For Me|Solve The Equation x = 5 X For Me
Formula: X = 5 x. Find it.|Formula: x = 5 X. Find it.
The voltage is V = I R here|The voltage is V = i R here
It costs twelve euros|It costs twenty euros
She came third in the race|She came second in the race
The meeting is on 3 May|The meeting is on 5 March
The meeting is on 03/05/2024|The meeting is on 05/03/2024
Call at 7:30 am|Call at 7:30 pm
Install version 2.1.3|Install version 2.3.1
The fee is $15|The fee is €15
The fee is $15|The fee is 15
Ticket AB-1209 is open|Ticket AB-1290 is open
Add 250 ml of milk|Add 250 mg of milk
The pool is 5 m deep|The pool is 5 km deep
I am able to log in|I am unable to log in
The update was successful|The update was unsuccessful
I have no complaints|I have complaints
The hotel lacks parking|The hotel has parking
I would never go back|I would go back
The tent is hardly waterproof|The tent is waterproof
Nobody likes the soup|Everybody likes the soup
All guests paid|Some guests paid
Most trains were late|Few trains were late
Only adults may enter|Adults may enter
Is rust harder than copper?|Is copper harder than rust?
The second lamp is brighter|The second lamp is dimmer
Enable dark mode|Disable dark mode
Show hidden files|Hide shown files
Lock the door at night|Unlock the door at night
Fly from Oslo to Bergen|Fly from Bergen to Oslo
Convert miles to feet|Convert feet to miles
Anna hired Maria|Maria hired Anna
Tell him about the offer|Tell her about the offer
My brother is ill|My sister is ill
He gave his dog to me|He gave my dog to me
Compute 8 + 3 * 2|Compute 8 * 3 + 2
Compute 7 - 2|Compute 7 + 2
Solve x <= 4|Solve x >= 4
Solve x < 4|Solve x > 4
Is a == b true|Is a = b true
What does foo_bar() do|What does foo_baz() do
What does `sum(x)` return|What does `sum(y)` return
print("a")|print('a ')
Open https://a.org/x|Open https://a.org/y
Open https://a.org/x|Open https://a.org/X
Open https://Ann:Secret@a.org|Open https://ann:secret@a.org
Find cheap hostels near the station|Find cheap hotels near the station
Which modems do you sell?|Which models do you sell?
The law was repealed|The law was repeated
Was it Louis xvii|Was it Louis xviii
Write to ann@example.org|Write to anne@example.org
Great job 👍|Great job 👎
Lovely :)|Lovely :(
Say it in Spanish|Say it in Italian
Write a haiku in Danish|Write a haiku in Dutch
It was bad|It was not bad
It was really nice|It was rarely nice
Keep the receipt|Keep the recipe
Adapt the plan|Adopt the plan
The desert was great|The dessert was great
He lost his job|He lost his jot
We need a bigger oven|We need a larger oven door
The principal called|The principle called
Warm the milk|Warn the milk
The store was closed on Monday|The store was closed on Sunday
The price rose by half|The price rose by a quarter
Two of the five keys work|Five of the two keys work
Between 3 and 5 people|Between 5 and 3 people
Ship it before Friday|Ship it after Friday
It is inside the box|It is outside the box
Prices exclude tax|Prices include tax
I paid twice|I paid once
I paid once|I paid
Is it an A or an AB battery?|Is it an A or a B battery?
Who is the CEO of Shell?|Who was the CEO of Shell?
What is the capital of Niger?|What is the capital of Nigeria?
Where is Brno?|Where is Bruno?
Is Mali near?|Is Bali near?
The cat chased the dog|The dog chased the cat
Why did the USSR leave?|Why did the USA leave?
I think that it works|I think that it works?
You got paid|You got paid?
Delete the row, not the column|Delete the column, not the row
Increase the limit|Decrease the limit
The first 10 rows|The last 10 rows
Reply to all|Reply all but one
How many grams are in an ounce|How many ounces are in a gram
He resigned on principle|He re-signed on principle
What does 10^2 give|What does 102 give
What is 5!|What is 5
Give me the top-5 list|Give me the top 6 list
Is 0.5 enough|Is .5% enough
What is -3 squared|What is 3 squared
The temperature is -4|The temperature is 4
The rate is 5 %|The rate is 5
Sort ascending|Sort descending
Write a function in Java|Write a function in JavaScript
I like the film more than the book|I like the book more than the film
Is it cheaper to rent?|Is it cheap to rent?
The best of the worst|The worst of the best
Can I have my refund?|Can I have your refund?
I'll be there|I'd be there
They were there|They weren't there
It can fail|It can't fail
She has 2 cats|She had 2 cats
The moral choice|The amoral choice
A typical case|Atypical case
Describe the symptoms of hypothermia|Describe the symptoms of hyperthermia
Ethanol use|Methanol use
Treat with prednisone|Treat with prednisolone
Is Lamictal safe?|Is Lamisil safe?
What are the effects of asteroids?|What are the effects of steroids?
Please turn it off|Please turn it on
mistreated patients|treated patients
Does insurance cover the fire?|Does insurance cover the hire?
Find hotels in Paris, Texas|Find hotels in Paris
Send a cheque for the flat|Send a check for the float
Nov 5|Nov 6
at the end of the month|at the end of the year
the under-18 team|the under-19 team
the 90s|the 80s
the 2nd floor|the 3rd floor
IV drip|VI drip
Henry IV|Henry VI
chapter II|chapter III
vitamin B12|vitamin B2
The quick fix|The quick fox
Turn left at the church|Turn right at the church
The hotel north of here|The hotel south of here
I agree|I disagree
Are dogs or cats smarter than the other?|Are dogs and cats smarter than the other?
How can I avoid getting hired?|How can I avoid getting fired?
How do I teach my son math?|How do I learn my son math?
How do we lose weight?|How do we gain weight?
What is the best way to learn?|What is the worst way to learn?
What are some risks of gas?|What are all risks of gas?
When is the shop open?|When is the shop opened?
How does he earn a living?|How do I earn a living?
How do you feel?|How do I feel?
What is the best way to descale a kettle?|How do I descale a kettle?
Intent of "it broke?"?|Intent of "it broke."?
The **bank** of a river|The bank of a **river**
Is the word **bold** here|Is the word bold here
He has two dogs|He has 3 dogs
What can I do with my old phone?|What can you do with my old phone?
Why do you love me?|Why do I love you?
How should I treat my dog's wound?|How should my dog's treat wound?
Group A|Group B
The shop opens at noon though|The shop opens at noon through
He paid as well as I did|He paid and I did not
I see that dog every day|I see the dogs every day
The nurse's on the phone|The nurse was on the phone
Send me the bill for him|Send him the bill for me
Yesterday she won, today she lost|Today she won, yesterday she lost
The mother of Anna is ill|The mother of Hanna is ill
The price of gold's ring rose|The ring of gold's price fell
Ask him whether it works|Ask him whether it worked
The level is 5%|The level is 5 per mille
Tell us about the US|Tell us about the UK
Where can I buy a boat?|Where can I sell a boat?
Who do you think will win?|Who do you think will lose?
How old is the bridge?|How long is the bridge?
How much does a tram cost?|How much does a train cost?
What is your opinion on trams?|What is their opinion on trams?
It holds 5kg|It holds 5 g
It costs $5.00|It costs $500
It costs $5.10|It costs $5
Press &lt; now|Press > now
How is &amp; written in HTML|How is & written in HTML
The lock—2—5 turns|The lock 2 5 turns
{"say": "It broke", "to": "me"}|{"say": "It broke to", "to": "me"}
{"n": 1.5, "say": "it broke"}|{"n": "1.5", "say": "it broke"}
{"n": 1, "n": 2}|{"n": 3, "n": 2}
{"say": ["yes", "no"]}|{"say": ["no", "yes"]}
{"run": "for i in x:\\u000a    a(i)\\u000ab(2)"}|{"run": "for i in x:\\u000a    a(i)\\u000a    b(2)"}
<note>It broke</note>|<notes>It broke</notes>
"""
OTHER += """这家酒店的服务很好|这家酒店的服务不好
我喜欢这个产品|我不喜欢这个产品
三本书|五本书
この店は高いです|この店は安いです
영화가 재미있었어요|영화가 재미없었어요
"""
OTHER += """If x = 4, what is -x?|If x = 4, what is x?
How many ways are n! ways?|How many ways are n ways?
What is f'(3)?|What is f(3)?
Is "x - y" odd?|Is "x y" odd?
Who can take blood type A-?|Who can take blood type A?
Can an AB- patient receive type A blood?|Can an AB patient receive type A blood?
Is the OH- ion stable in cold water?|Is the OH ion stable in cold water?
Let A = 3 and a = 5. What is A?|Let A = 3 and a = 5. What is a?
What does `git branch -d x` do?|What does `git branch -D x` do?
Is bit.ly/AbCdE safe?|Is bit.ly/aBcDe safe?
How many Mb are in a Gb?|How many MB are in a GB?
"""
OTHER_NAMES = """
He works for Apple|He works for apple
I read about the march|I read about the March
How do I get to Bath by train?|How do I get to bath by train?
The polish was nice|The Polish was nice
What is the capital of Turkey?|What is the capital of turkey?
What do people like about Turkey's taste?|What do people like about turkey's taste?
Tell me about an IT-manager job|Tell me about an it-manager job
Is Turkey near Nice?|Is turkey near Nice?
Where is China made?|Where is china made?
Did Tom Cruise go to China?|Did Tom Cruise go to china?
What did IT say about the delay?|What did it say about the delay?
Do you ship to US?|Do you ship to us?
Who is Baker of Bath?|Who is Baker of bath?
Ich habe Sie gestern gesehen|Ich habe sie gestern gesehen
Ist das Ihr neuer Hund?|Ist das ihr neuer Hund?
Is there CO in the room?|Is there Co in the room?
"""
SAME = {
    CLOSED: """
They keep a license for it|They keep a licence for it
He said "it was really a wonderful place for all children" and left|He said "it was realy a wonderful place for all children" and left
"The message came late." It did.|"The mesage came late." It did.
The ticket ab_12 is open|The ticket AB_12 is open
Solve X = 5 Y for me|solve  X = 5 Y for me
THE LAMP BROKE AFTER A WEEK|the lamp broke after a week
The warranty expired|The warrnaty expired
Hi, the lamp broke after a week!!|the lamp broke after a week
It doesn't charge|It does not charge
It doesnt charge|It doesn't charge
Please send the invoice again|Send the invoice again, please
My neighbours were organising a party|My neighbors were organizing a party
The check-out was slow and rude|The check out was slow and rude
“Lovely” staff – truly…|"Lovely" staff - truly...
Our guide Kowalczyk was late|Our guide Kowalcyzk was late
SEE HTTP://WWW.EXAMPLE.ORG/ FOR THE U.S. OFFICE|See http://www.example.org/ for the U.S. office
The parcel went to the U.S.|The parcel went to the U.S .
Their nationalty was asked|Their nationality was asked
The strap broke — again|The strap broke - again
The strap&#39;s gone &amp; so&nbsp;am I|The strap's gone & so am I
It weighs 5kg at 9am, for $5.00!|It weighs 5 kg at 9 a.m., for $5
Where is INV-20991 of @Ann :D|where is inv-20991 of @ann :d
{"say": "The strap broke", "n": 2}|{"say": "the strap  broke!", "n": 2}
<note>The strap broke</note>|<note>the strpa broke.</note>
Broken:\\n- the strap\\n- the lid|Broken:\\n- the strpa\\n- The lid
He said «go» and went|He said go and went
The strap **really** broke|The strap really broke
The strap *really* broke, and _then_ the lid|The strap really broke, and then the lid
It broke after two weeks|It broke after 2 weeks
It broke.The shop laughed!I left|It broke. The shop laughed! I left
IT BROKE.THE SHOP LAUGHED!I LEFT|It broke.The shop laughed!i left
I want my lamp\\n\\nIs the mood of it good or bad?|I want my lamp.\\n\\nIs the mood of it good or bad?
It broke after fourteen weeks of the forty-two|It broke after 14 weeks of the 42
It broke after twenty one weeks|It broke after 21 weeks
Teh strap broke, and wich lid is it|The strap broke, and which lid is it
They recieved the the strap of of the lid|They received the strap of the lid
The strap came w/o a lid|The strap came without a lid
I'd like to keep the strap|I would like to keep the strap
The sceptical judgement was fair|The skeptical judgment was fair
My 'friend' took the lamp|My “friend” took the lamp
MY "FRIEND" TOOK THE LAMP|My "friend" took the lamp
Press the "save" button at once|Press the save button at once
We saw "Hamlet" at night|We saw Hamlet at night
A "Title Page" is the last one|A "title page" is the last one
{"say": "It’s late – the strap"}|{"say": "It's late - the strap"}
Hello team,\\n\\nI lost the strap|I lost the strap
"See https://a.example/x9"|See https://a.example/x9
It\tbroke, says Ann <ann@a.example>.|It broke, says Ann <ann@a.example>.
Answer with one word: is the TV ok?|Answer with one word: is the television okay?
""",
    OPEN: """
How do I descale a kettle?|How can we descale a kettle
What's the deepest lake in Europe?|What is the deepest lake in Europe
Which is the deepest lake in Europe?|What is the deepest lake in Europe?
Is the strap "free" for us?|Is the strap free for us?
What is the "strap rule" of 1917?|What is the strap rule of 1917?
What is the link between tea and coffee?|What is the link between coffee and tea?
Explain how tides work. Answer in one line.|Answer in one line. Explain how tides work.
I read about the March of 1917|i read about the march of 1917
Explain the thermostat to me|Explain the thermostta to me
So: how do I get from here to Bath by train now?|So: how do i get from here to bath by train now?
""",
    EXTRACT: """
Ines flew to Porto on Monday|Ines flew to Porto on Monday!
Ines flew to Porto , then home .|Ines flew to Porto, then home.
Then Ines read http://a.example/x9|Then Ines read http://a.example/x9.
Did Ines fly to Porto?|Did Ines fly to Porto
""",
    STRICT: """
Ines flew to  Porto.|Ines flew to Porto
Where does Ines live ?|Where does Ines live?
Where does Ines live??|Where does Ines live?
Where does Ines live|Where does Ines live?
It\tbroke, says Ann <ann@a.example>.|It broke, says Ann <ann@a.example>.
Ines’s café is “new”|Ines's café is "new"
""",
}
LITERAL_OTHER = {
    EXTRACT: """
Ines flew to Porto|Ines flew to porto
Ines flew to Porto|Ines flew to Porto?
Ines read http://a.example/x9|Ines read http://a.example/x9?b
""",
    STRICT: """
Ines flew to Porto|Ines flew to Porto!
Ines flew to Porto|Ines flew to Porto?
Where does Ines live.|Where does Ines live?
Ines **flew** to Porto|Ines flew to Porto
Ines flew two times|Ines flew 2 times
Ines doesn't fly to Porto|Ines does not fly to Porto
She flew to Porto with me|She flwe to Porto with me
""",
    VERBATIM: """
Ines flew to Porto|Ines flew to Porto.
Where does Ines live|Where does Ines live?
Ines flew to Porto , then home|Ines flew to Porto, then home
""",
}


def pairs(table: str) -> list[tuple[str, str]]:
    return [(a, b) for a, _, b in (line.replace("\\n", "\n").partition("|") for line in table.strip().split("\n"))]


@pytest.mark.parametrize(("a", "b"), pairs(OTHER))
def test_what_differs_in_something_is_never_merged(a: str, b: str) -> None:
    assert [(t, f) for t in TASKS for f in FRAMES if merged(f.format(a), f.format(b), t)] == []


@pytest.mark.parametrize(("a", "b"), pairs(OTHER_NAMES))
def test_a_capital_letter_makes_a_name_where_the_answer_is_free(a: str, b: str) -> None:
    assert not any(merged(a, b, task) for task in (OPEN, EXTRACT, STRICT))
    assert merged(a, b, CLOSED)
    assert all(merged(a, form, OPEN) for form in (a.lower(), a.upper(), a.title())), "these say nothing about names"


@pytest.mark.parametrize(
    ("a", "b"),
    [('What does the word "PACKAGE" mean here?', 'What does the word "package" mean here?'),
     ('A "Title Page" means the last one', 'A "TITLE PAGE" means the last one')],
)  # fmt: skip
def test_a_short_quotation_keeps_its_case_where_the_answer_is_free(a: str, b: str) -> None:
    assert not merged(a, b, OPEN)
    assert merged(a, b, CLOSED)
    assert all(merged(a, form, OPEN) for form in (a.lower(), a.upper())), "these say nothing about it"
    said = '"The package is here," she wrote, and that the Package was "in the Title Page of the book that he had given to her".'
    assert merged(said, said.replace("Title Page", "title page"), OPEN), "a long one is told, not meant by its letters"


@pytest.mark.parametrize(("task", "a", "b"), [(task, *pair) for task, table in SAME.items() for pair in pairs(table)])
def test_what_differs_in_nothing_is_merged(task: str, a: str, b: str) -> None:
    assert merged(a, b, task)


@pytest.mark.parametrize(
    ("task", "a", "b"), [(task, *pair) for task, table in LITERAL_OTHER.items() for pair in pairs(table)]
)
def test_literal_tasks_keep_what_their_answer_may_repeat(task: str, a: str, b: str) -> None:
    assert not merged(a, b, task)


@pytest.mark.parametrize(
    "instruction",
    ["Fix the punctuation of the sentence.", "Proofread this.", "How many letters are in the word?", "Count the words.",
     "Repeat the line after me."],
)  # fmt: skip
def test_tasks_about_marks_keep_every_mark(instruction: str) -> None:
    assert read_task(instruction) == VERBATIM
