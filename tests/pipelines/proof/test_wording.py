"""Other words for the same open question."""

from __future__ import annotations

import time

import pytest

from pipelines.dedup import CLOSED, OPEN, STRICT, decide
from pipelines.proof.explain import harmless

pytestmark = pytest.mark.usefixtures("vocabulary")

SAME = [
    ("How do I reset my router?", "How can I reset my router?", "wording"),
    ("How can one learn to swim?", "How to learn to swim", "wording"),
    ("Which is the tallest tree?", "What is the tallest tree?", "wording"),
    ("What are some signs of rust?", "What are the signs of rust?", "wording"),
    ("What is a black hole?", "What is black hole?", "wording"),
    ("How do I feed a cat?", "How do I feed cats?", "wording"),
    ("How can one feed a cat?", "How do I feed cats?", "wording"),
    ("What is the bad thing about snow?", "What are the bad things about snow?", "wording"),
    ("Where can I find amber?", "Where do we find amber?", "wording"),
    ("What is a parabola?", "What is parabola?", "wording"),
    ("How do you knit a hat?", "How can you knit hats?", "wording"),
    ("How do I feed a cat?", "How can we feed cats?", "wording"),
    (
        "What is the difference between tea and coffee?",
        "What is the difference between coffee and tea?",
        "swapped pair",
    ),
    ("Answer yes or no: is ice cold?", "Is ice cold? Answer yes or no.", "sentence order"),
    ("What is the age of tea?", "What is age of tea?", "article"),
    ("What is the best of it?", "Which is the best of it?", "wording"),
    ("What is there in the box?", "What is in the box?", "wording"),
    ("How do I get there and back?", "How can I get there and back?", "wording"),
    ("What is the cost of a new bike", "What is cost of a new bike", "article"),
    ("my top-up is late again", "my top up is late again", "hyphen"),
    ("The Oslo-Bonn train was late again", "The Oslo Bonn train was late again", "hyphen"),
    ("my top-up is late, my card too", "my top up is late, my card too", "hyphen"),
    ("Name three fruits (apples apart)", "Name three fruits, apples apart", "parenthesis"),
    ("Thank you. My card is lost", "My card is lost.", "politeness"),
    ("What are the effects of tea?", "What are some effects of tea?", "wording"),
    ("Could you please send the form", "Could you send the form", "politeness"),
    ("Send me the form please. It is late", "Send me the form. It is late", "politeness"),
    ("Kindly send the form", "Send the form", "politeness"),
    ("Hi! Where is my card?", "Where is my card?", "politeness"),
    ("bread & butter for us", "bread and butter for us", "spelling"),
    ("What can I do to sleep better?", "How can I sleep better?", "wording"),
    ("What is the way to fold a shirt?", "How do I fold a shirt?", "wording"),
    ("Can you tell me where the exit is?", "Where is the exit?", "wording"),
    ("I'd like to know what a quasar is", "What is a quasar?", "wording"),
    ("Do you know why the sky is red?", "Why is the sky red?", "wording"),
    ("What is the meaning of osmosis?", "What does osmosis mean?", "wording"),
    ("How old is the oldest oak?", "What is the age of the oldest oak?", "wording"),
    ("How tall is that tower?", "What is the height of that tower?", "wording"),
    ("What colour is a ripe fig?", "What is the colour of a ripe fig?", "wording"),
    ("How much does a kayak cost?", "What is the cost of a kayak?", "wording"),
    ("How do a crow and a raven differ?", "What is the difference between a crow and a raven?", "wording"),
    ("How is a crow different from a raven?", "What's the difference between ravens and crows?", "wording"),
    ("What do you think about tattoos?", "What is your opinion on tattoos?", "wording"),
    ("Who do you think will win the cup?", "Who will win the cup?", "wording"),
    ("How come the moon is grey?", "Why is the moon grey?", "wording"),
    ("Where do I buy good cheese?", "Where can I buy good cheese?", "wording"),
    ("What is the best way of cleaning suede?", "What is the best way to clean suede?", "wording"),
    ("How do I start running?", "How do I start to run?", "wording"),
    ("What does it feel like to win?", "How does it feel to win?", "wording"),
    ("How am I supposed to fold this shirt?", "How do I fold this shirt?", "wording"),
    ("I think that the shop is closed today", "I think the shop is closed today", "conjunction"),
    ("The card's not working any more", "The card is not working any more", "contraction"),
    ("Q41. Printer on floor 5 is jammed =>", "Q41. The printer on floor 5 is jammed =>", "article"),
    ("What are good ways to dry herbs?", "How can I dry herbs?", "wording"),
    ("How can we dry herbs?", "What are good ways to dry herbs?", "wording"),
    ("Why do heroes always win?", "Why does a hero always win?", "wording"),
    ("What is most useful in winter?", "What is the most useful in winter?", "wording"),
    ("What is most important in winter?", "What is the most imporant in winter?", "wording"),
    ("Why do heroes never sleep?", "Why do hero never sleeps?", "wording"),
    ("What makes a person a liar?", "What makes a person to be a liar?", "wording"),
]
DIFFERENT = [
    ("Q4. My 7 a day", "Q4. My 7 day"),
    ("How many legs do 3 dogs and a bird have?", "How many legs do 3 dogs and birds have?"),
    ("How much do 3 dogs and a bird eat?", "How much do 3 dogs and birds eat?"),
    ("Where do I buy a case for a Pixel 7a in Rome?", "Where can I buy a case for a Pixel 7 in Rome?"),
    ("How can someone hack my phone?", "How can I hack my phone?"),
    ("How do people hack my phone?", "How do I hack my phone?"),
    ("What are ways for people to hack my phone?", "What are ways to hack my phone?"),
    ("How do you work?", "How do I work?"),
    ("How do you charge a card?", "How do I charge a card?"),
    ("How do you charge a card?", "How to charge a card?"),
    ("How do I make you laugh?", "How do I make me laugh?"),
    ("What is the time?", "What is time?"),
    ("What is the matter?", "What is matter?"),
    ("What is the law?", "What is law?"),
    ("What is a paper?", "What is paper?"),
    ("What is the civil war?", "What is civil war?"),
    ("How do I get the job?", "How do I get a job?"),
    ("What is in the box?", "What is the box?"),
    ("How do I get on the train?", "How do I get the train?"),
    ("What is at the door?", "What is the door?"),
    ("What can I do there?", "What can I do?"),
    ("How do I live there?", "How do I live?"),
    ("What is news?", "What is new?"),
    ("What are the odds?", "What is the odd?"),
    ("What works?", "What is work?"),
    ("Who is Roberts?", "Who is Robert?"),
    ("Who is Brooks?", "Who is Brook?"),
    ("Which is your car?", "What is your car?"),
    ("How do I see Wales?", "How do I see a wale?"),
    ("How do I know yours?", "How do I know your?"),
    ("How do I start it?", "How do I stop it?"),
    ("What is love?", "Is love?"),
    ("Are we cool?", "We are cool."),
    ("You're a star", "I'm a star"),
    ("What did he say?", "What did she say?"),
    ("Flights from Rome and Oslo to Bonn", "Flights from Bonn and Oslo to Rome"),
    ("Does Ann trust Bob?", "Does Bob trust Ann?"),
    ("Anna and Bob's car", "Bob and Anna's car"),
    ("They got 3 and 5 points respectively", "They got 5 and 3 points respectively"),
    ("How do you say hello in Greek?", "How do you say in Greek?"),
    ("I have few friends in this town", "I have a few friends in this town"),
    ("Where was it in 1999?", "Where was it 1999?"),
    ("First it rained. Then we left.", "Then we left. First it rained."),
    ("compute (a + b) * c now", "compute a + b * c now"),
    ("What can I do to help?", "What can I do?"),
    ("What is the best way to fold a shirt?", "How do you fold a shirt?"),
    ("Can you tell me where the exit is?", "Can you tell her where the exit is?"),
    ("Do you know the way?", "Do you know away?"),
    ("What does osmosis mean?", "What does osmosis mean to you?"),
    ("How old is the oak?", "How old was the oak?"),
    ("How old is the oak?", "How tall is the oak?"),
    ("Who do you think won?", "Who do you think about?"),
    ("How is a crow different from a raven?", "How is a crow like a raven?"),
    ("When should I eat?", "When can I eat?"),
    ("Where do you live?", "Where do I live?"),
    ("Where do you get your ideas?", "Where do I get my ideas?"),
    ("How does Nina look?", "What does Nina look like?"),
    ("How does Nina feel?", "What does Nina feel like?"),
    ("What do you do to relax?", "How do I relax?"),
    ("How are you able to walk?", "How do I walk?"),
    ("What is the best time for me to call?", "What is the best time for you to call?"),
    ("What is the best way to start?", "What is the best way to stop?"),
    ("Do you know how it works?", "How it worked?"),
    ("What is the reason why it broke?", "Why did it not break?"),
    ("I want to know what you said", "I want to know what he said"),
    ("I know that man from work and like him", "I know man from work and like him"),
    ("The dog's bed is in the hall", "The dog is bed in the house"),
    ("How do I stop to smoke?", "How do I stop smoking?"),
    ("How do I write on glass?", "How do I write about glass?"),
    ("How do I ask for a raise?", "How do I ask about a raise?"),
    ("How do I cancel my subscription?", "How do I cancel your subscription?"),
    ("What should I do after college?", "What should I be after college?"),
    ("What does he like?", "What is he like?"),
    ("Why can't some birds fly?", "Why can't birds fly?"),
    ("Where are my glasses?", "Where is my glass?"),
    ("Who do you think should win?", "Who should win?"),
    ("What are good books about prison?", "What are good books in prison?"),
    ("What are the damages?", "What is the damage?"),
    ("What are the risks of skiing?", "What are the risk of skiing?"),
    ("How do I feed the cat?", "How do I feed the cats?"),
    ("How do I feed a cat?", "How do you feed a cat?"),
    ("How do we feed a cat?", "How do I feed a cat?"),
    ("How should I feed a cat?", "How can I feed a cat?"),
    ("How could I feed a cat?", "How can I feed a cat?"),
    ("The shop opens Mon-Fri all year", "The shop opens Mon, Fri all year"),
    ("The shop opens Mon-Fri all year", "The shop opens Mon Fri all year"),
    ("It is shut november-march each year", "It is shut november, march each year"),
    ("The Oslo-Bonn train was late again", "The Oslo, Bonn train was late again"),
    ("The north-south road is shut now", "The north south road is shut now"),
    ("When you paint, use the brush of a pro", "When you paint, use the brushes of a pro"),
    ("When you paint, look at the brush", "When you paint, look the brush"),
    ("Where there is a will there is a way of life", "Where there is a will there is a way life"),
    ("He said: is it open?", "He said: is it open??? Is it?"),
    ("In 2007a which rate was the highest?", "In 2007 which rate was the highest?"),
    ("What are the best books on bees?", "What is the best book on bees?"),
    ("there is a little hope for the team", "there is little hope for the team"),
    ("thank you for nothing at all", "for nothing at all"),
    ("Thanks to Ida I found it", "To Ida I found it"),
    ("they only want to please", "they only want to"),
    ("they would please", "they would"),
    ("it is out of the question for us now", "it is out of question for us now"),
    ("bring it in the case we bought it in", "bring it in case we bought it in"),
    ("the staff kindly lost my bag", "the staff lost my bag"),
    ("Ida lost half of her pens. How many has she?", "Ida lost half for her pens. How many has she?"),
    ("It is full of bees. What does that mean?", "It is full of bee. What does that mean?"),
    ("Tell me about the knights there. Why?", "Tell me about the knights. Why?"),
    ("How do I close my account?", "How do I close your account?"),
    ("What is new? It rained.", "What is new? It rained?"),
    ("What are the best trips for kids?", "What are the best trips of kids?"),
    ("What is open at 12am in Berlin?", "What is open at 12 in Berlin?"),
    ("What is open at 12 am in Berlin?", "What is open at 12 in Berlin?"),
    ("What is open at 12 a.m. in Berlin?", "What is open at 12 in Berlin?"),
    ("What are bad ways to dry herbs?", "How can I dry herbs?"),
    ("What are good ways to dry herbs?", "How can you dry herbs?"),
    ("What are good ways to remember things?", "How do we remember things?"),
    ("What should I do, rent a flat?", "How should I rent a flat?"),
    ("What should I do, learn Python or Java?", "How do I learn Python or Java?"),
    ("What makes people want to be a nurse?", "What makes people want a nurse?"),
    ("What makes a robot need to be a human?", "What makes a robot need a human?"),
    ("How many died in the attack on the church?", "How many died in the attacks on the churches?"),
    ("When did the team win the cup?", "When did the teams win the cups?"),
    ("What is the most useful tool?", "What is most useful tool?"),
    ("Why do heroes never sleep?", "Why do hero never sleep?"),
    ("What makes a person a liar?", "What makes a person see a liar?"),
]


@pytest.mark.parametrize(("a", "b", "reason"), SAME)
def test_the_same_question(a: str, b: str, reason: str) -> None:
    assert decide((a,), (b,), OPEN) == decide((b,), (a,), OPEN)
    assert decide((a,), (b,), OPEN).reason == reason
    assert decide((a,), (b,), OPEN).accept
    assert not decide((a,), (b,), STRICT).accept


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_another_question(a: str, b: str) -> None:
    for task in (OPEN, CLOSED):
        assert not decide((a,), (b,), task).accept
        assert not decide((b,), (a,), task).accept


def test_frames_are_for_open_tasks_only() -> None:
    a, b = "How do I reset my router?", "How can I reset my router?"
    assert not decide((a,), (b,), CLOSED).accept


@pytest.mark.parametrize(
    "template", ["Answer in one sentence.\n\nQuestion: {}\nAnswer:", "## Question\n{}\n\n## Answer"]
)
def test_a_frame_is_found_behind_a_template(template: str) -> None:
    a, b = (template.format(text) for text in ("How do I knit a hat?", "How to knit a hat?"))
    assert decide((a,), (b,), OPEN).accept


HOSTILE = [
    "How does a car and a van run. ",
    "how does a and b and c ",
    "How is a and b different to c from d ",
    "What does it mean ",
    "how do differ from than ",
    "Keep it. Use it. ",
    "may 5 ",
    "and ",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", HOSTILE)
def test_no_pair_takes_long_to_compare(piece: str) -> None:
    """Seconds of one core for two prompts of 50 KB; the frames once took hours."""
    body = piece * (50_000 // len(piece))
    begun = time.process_time()
    for a, b in (
        ("Answer. " + body + "cat", "Answer. " + body + "cod"),
        ("monday " + body + "cat", "cat " + body + "monday"),
    ):
        assert harmless(a, b, OPEN) is None
    assert time.process_time() - begun < 10
