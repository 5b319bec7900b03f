"""Fleet: several registries on one Redis, started at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.support.replica import Replica


@contextlib.contextmanager
def fleet(*each: Sequence[str]) -> Iterator[list[Replica]]:
    """One registry per list of options, all ready; all ended afterwards."""
    with fleet_of([Replica(*options) for options in each]) as replicas:
        yield replicas


@contextlib.contextmanager
def fleet_of(replicas: list[Replica]) -> Iterator[list[Replica]]:
    """These, all ready; all ended afterwards."""
    try:
        for replica in replicas:
            replica.launch()
        for replica in replicas:
            replica.wait_ready()
        yield replicas
    finally:
        with ThreadPoolExecutor(len(replicas)) as pool:
            list(pool.map(Replica.clean_up, replicas))
