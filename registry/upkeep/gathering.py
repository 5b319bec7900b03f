"""Gathering: when most instances have left, what is held of those that stay is made anew, so that it lies together.

Bodies lie among those that have left, and tables are as large as they ever were: the C library can give back only pages
in which nothing is left. All copies are made before anything that they replace is let go, so that they lie together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import Final

from registry.domain.gathering import copied, put
from registry.domain.steps import some_at_a_time
from registry.domain.view import InstanceRow, RegistryView, ServiceRow

#: Instances that are gathered, at most: the copies are there beside the others for a while.
GATHER_MAX: Final = 200_000
#: For how long steps are taken before others get a turn, and for how long these have it.
TURN_S: Final = 0.002
PAUSE_S: Final = 0.004


class Gathering:
    """Makes anew what this replica holds of all instances.

    Args:
        views: those that there are.
        renew: does the same with what is held of instances beside views, step by step, and yields what was there.
    """

    def __init__(self, views: Callable[[], Sequence[RegistryView]], renew: Callable[[], Iterator[object]]) -> None:
        self._views = views
        self._renew = renew

    async def gather(self) -> None:
        if sum(view.instance_count for view in self._views()) > GATHER_MAX:
            return
        began_s = perf_counter()
        for _ in self.steps():
            if perf_counter() - began_s > TURN_S:
                await asyncio.sleep(PAUSE_S)
                began_s = perf_counter()

    def steps(self) -> Iterator[None]:
        """The same, step by step. Anything may change in between."""
        held: list[object] = []
        copies: dict[ServiceRow, tuple[list[InstanceRow], list[InstanceRow]]] = {}
        for service, rows in self._some():
            before, after = copies.setdefault(service, ([], []))
            before += rows
            after += map(copied, rows)
            yield
        for service, (before, after) in copies.items():
            held += (put(service, before, after), before)
            yield
        copies.clear()
        for replaced in self._renew():
            held.append(replaced)
            yield
        while held:
            held.pop()
            yield

    def _some(self) -> Iterator[tuple[ServiceRow, list[InstanceRow]]]:
        """All rows, some of a service at a time."""
        for view in self._views():
            for service in list(view.services.values()):
                for rows in some_at_a_time(list(service.instances.values())):
                    yield service, rows
