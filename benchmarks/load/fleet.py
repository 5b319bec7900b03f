"""Fleet: the same job in several processes, where one event loop cannot send enough."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def run(job: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """The results of a job for every part, each in a process of its own; a single part is done here.

    Args:
        job: a function of a module; it, the parts and the results must pickle.
    """
    if len(parts) == 1:
        return [job(parts[0])]
    # Spawned, not forked: a fork would take our own sockets and threads along.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(parts), mp_context=context) as pool:
        return list(pool.map(job, parts))
