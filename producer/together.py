"""Questions that many requests ask at once, asked in one step: what comes in while one step is under way goes with the next.

A step costs far more than a question, so two steps never begin within APART_S. Who asks alone waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


APART_S = 0.005


class Together(Generic[Q, A]):
    """`ask_all` answers several questions, in their order; what it raises, each of them hears."""

    def __init__(self, ask_all: Callable[[list[Q]], Awaitable[list[A]]]) -> None:
        self._ask_all = ask_all
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._asking: asyncio.Task[None] | None = None
        self._next_s = 0.0

    async def ask(self, question: Q) -> A:
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await asyncio.sleep(self._next_s - loop.time())
                self._next_s = loop.time() + APART_S
                group, self._waiting = self._waiting, []
                try:
                    answers = await self._ask_all([question for question, _ in group])
                except Exception as error:
                    for _, answer in group:
                        if not answer.done():
                            answer.set_exception(error)
                    continue
                for (_, answer), found in zip(group, answers, strict=True):
                    if not answer.done():
                        answer.set_result(found)
        finally:
            self._asking = None
