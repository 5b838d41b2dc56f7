"""How a server ends: at once for those who follow a run, soon for those who wait for an answer, and late for the rest."""

from __future__ import annotations

import asyncio

from producer.answers import Answers

STOP_S = 10
"""So long requests in flight may take from then on."""
TELL_S = 8.0
"""So long answers are still waited for: who would be cut off is told instead where his will be."""

stopping = asyncio.Event()


async def release(answers: Answers) -> None:
    """Until the server ends, and then until nobody waits any more."""
    await stopping.wait()
    await asyncio.sleep(TELL_S)
    answers.release()
