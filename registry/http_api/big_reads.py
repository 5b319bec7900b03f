"""BigReads: answers that take long to make are made in steps, so that nobody else waits for the whole of one."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from registry.domain.errors import AnswerTooLarge
from registry.domain.steps import Steps

#: Seconds of steps without a pause, in which others are answered.
SLICE_S: Final = 0.005
#: Answers that are made at once; the others wait for their turn, in order, and hold nothing meanwhile.
AT_ONCE: Final = 2


class BigReads:
    """
    Args:
        answer_max_bytes: a larger answer is given up as soon as it is.
    """

    def __init__(self, answer_max_bytes: int) -> None:
        self._answer_max_bytes = answer_max_bytes
        #: To be held from the question on, so that what waits for its turn is not out of date when it comes.
        self.turn = asyncio.Semaphore(AT_ONCE)

    async def make(self, steps: Steps) -> list[bytes]:
        """The JSON text that the steps come to, in pieces; the first step is taken at once.

        Raises:
            AnswerTooLarge: it is.
        """
        size = 0
        began = perf_counter()
        while True:
            try:
                size += next(steps)
            except StopIteration as end:
                pieces: list[bytes] = end.value
                return pieces
            if size > self._answer_max_bytes:
                raise AnswerTooLarge(size, self._answer_max_bytes)
            if perf_counter() - began >= SLICE_S:
                await asyncio.sleep(0)
                began = perf_counter()
