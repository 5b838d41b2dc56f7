"""The same words in another order: what English puts either way, and what another order changes."""

from __future__ import annotations

import pytest

from pipelines.dedup import CLOSED, OPEN, STRICT, decide

pytestmark = pytest.mark.usefixtures("vocabulary")

SAME = [
    ("Is the sea party left or right wing?", "Is the sea party left wing or right wing?", "shared noun"),
    (
        "Be brief. What do you like or dislike about ice?",
        "Be brief. What do you like and dislike about ice?",
        "either or both",
    ),
    ("What is the population of Lima?", "What is Lima's population?", "owner"),
    ("i need the time zone of quito", "i need quito's time zone", "owner"),
    ("The roof of the barn leaks again", "The barn's roof leaks again", "owner"),
    ("Please send me the signed form", "Please send the signed form to me", "receiver"),
    ("can you book us a table for two", "can you book a table for two for us", "receiver"),
    ("Yesterday I paid the invoice", "I paid the invoice yesterday", "time in front"),
    ("On Monday the lift broke. Help!", "The lift broke on Monday. Help!", "time in front"),
    ("Three weeks ago my card arrived.", "My card arrived three weeks ago.", "time in front"),
    ("A floor of oak and pine creaks", "A floor of pine and oak creaks", "swapped pair"),
    ("A trade of my old car and your bike", "A trade of your bike and my old car", "swapped pair"),
    ("A floor of dark oak and pale pine", "A floor of pale pine and dark oak", "swapped pair"),
    (
        "What is the difference between Oslo and Bergen?",
        "What is the difference between Bergen and Oslo?",
        "swapped pair",
    ),
    ("The gap between oak and pine in the floor", "The gap between pine and oak in the floor", "swapped pair"),
    ("Can I still pay if the shop is shut?", "If the shop is shut, can I still pay?", "condition in front"),
    ("What do I do if my card breaks?", "If my card breaks, what do I do?", "condition in front"),
]
OTHER = [
    ("I drink coffee or oat milk", "I drink coffee milk or oat milk"),
    ("It is a black and white film", "It is a black film and white film"),
    ("The boy or girl scouts are here", "The boy scouts or girl scouts are here"),
    ("Do you like or dislike ice?", "Do you like and dislike ice?"),
    ("What does True and False evaluate to?", "What does True or False evaluate to?"),
    ("What do more and less mean?", "What do more or less mean?"),
    ("What is the exchange rate of dollars and euros?", "What is the exchange rate of euros and dollars?"),
    ("What is the ratio of cats and dogs in Lahti?", "What is the ratio of dogs and cats in Lahti?"),
    ("What do you eat or drink at noon?", "What do you eat and drink at noon?"),
    ("It is not sweet and salty", "It is salty and not sweet"),
    ("A soup with no salt and pepper", "A soup with pepper and no salt"),
    ("A room for old men and women", "A room for women and old men"),
    ("Free for only staff and guests", "Free for guests and only staff"),
    ("It was slow and hence bad", "It was hence and slow bad"),
    ("Talks between Merkel and Macron failed", "Talks between Macron and Merkel failed"),
    ("Which countries lie in both Asia and Europe?", "Which countries lie in both Europe and Asia?"),
    ("Between tea and coffee, is the former healthier?", "Between coffee and tea, is the former healthier?"),
    ("Between tea and coffee, is the latter healthier?", "Between coffee and tea, is the latter healthier?"),
    ("Who is the home team in Spain vs Italy?", "Who is the home team in Italy vs Spain?"),
    ("Who won Spain versus Italy at home?", "Who won Italy versus Spain at home?"),
    ("Of Ida and Bea, who came first?", "Of Bea and Ida, who came first?"),
    ("Keep the dog. Sell the cat. It is old.", "Sell the cat. Keep the dog. It is old."),
    ("Use the lamp. Ida has a bell. Ring that.", "Ida has a bell. Use the lamp. Ring that."),
    ("Write a poem. Give a summary. Ida likes cats.", "Give a summary. Write a poem. Ida likes cats."),
    ("Ida paid. Then give Bea the key.", "Then give Bea the key. Ida paid."),
    ("I like the picture of Anna", "I like Anna's picture"),
    ("The murder of the witness", "The witness's murder"),
    ("The father of Anna's friend called", "Anna's friend of the father called"),
    ("What is the capital of Peru?", "What is Chile's capital?"),
    ("Send me the form of Anna", "Send Anna the form of me"),
    ("Send him a letter for me", "Send me a letter for him"),
    ("Read me the letter", "Read the letter for me"),
    ("She said yesterday we left", "Yesterday she said we left"),
    ("Do you know if the shop is shut on Monday?", "If the shop is shut on Monday, do you know?"),
    ("Can I only pay if the shop is open?", "If the shop is open, can I only pay?"),
    ("Can I pay if it is shut or late?", "If it is shut, can I pay or late?"),
    ("Ask Ida if the shop is open", "If the shop is open, ask Ida"),
    ("Yesterday he told us that we won", "He told us that we won yesterday"),
    ("On Monday I paid", "I paid on Tuesday"),
    ("Last May I left in June", "I left in June last May"),
    ("First I paid then I ate", "Then I ate first I paid"),
    ("The father of the bride's friend sang", "The bride's father's friend sang"),
    ("Sunday trading laws changed", "Trading laws changed Sunday"),
    ("In March 5 people came", "People came in March 5"),
    ("Now is the time", "Is the time now"),
    ("Monday the shop was open", "The shop Monday was open"),
    ("Give him the letter from me", "Give me the letter from him"),
    ("Ten men saw two dogs", "Two dogs saw ten men"),
    ("It came late. I kept it.", "It came late. I kept it?"),
    ("Classify: You are coming tonight.", "Classify: You are coming tonight?"),
    ("My parcel is lost. You will refund me.", "My parcel is lost. You will refund me?"),
    ("There is salt in the tea and honey in the soup", "There is salt in the honey and tea in the soup"),
    ("The keys of the house and barn of Ida", "The keys of the barn and house of Ida"),
]


@pytest.mark.parametrize(("a", "b", "reason"), SAME)
def test_either_order(a: str, b: str, reason: str) -> None:
    for task in (CLOSED, OPEN):
        assert decide((a,), (b,), task).reason == reason
        assert decide((a,), (b,), task).accept
        assert decide((b,), (a,), task).accept
    assert not decide((a,), (b,), STRICT).accept


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_another_order(a: str, b: str) -> None:
    for task in (CLOSED, OPEN):
        assert not decide((a,), (b,), task).accept
        assert not decide((b,), (a,), task).accept
