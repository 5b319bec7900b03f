"""Picker: which instance a consumer calls next, and what it remembers of the calls before."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from registry.client.addresses import NOWHERE, Zone
from registry.client.calls import steady
from registry.client.choosing import SKIPPED_S, candidates, in_turn, less_busy
from registry.client.errors import NoInstance
from registry.domain.model import Instance

By = Literal["turn", "less busy"]


class Picker:
    """Picks among the instances of one provider. Threads may share it."""

    def __init__(self, name: str, zone: Zone = NOWHERE) -> None:
        self._name = name
        self._zone = zone
        self._turns = itertools.count(random.randrange(1 << 16))
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        #: Until when each is skipped; those of instances that are gone are forgotten with time.
        self._failed: dict[str, float] = {}

    def pick(
        self, instances: Sequence[Instance], by: By, accepts: Callable[[Instance], bool] = lambda _: True
    ) -> Instance:
        """One instance that is up, near, and has not failed lately.

        Raises:
            NoInstance: none is up.
        """
        with self._lock:
            self._failed = {key: until for key, until in self._failed.items() if until > steady()}
            choices = candidates(instances, self._zone, self._failed, accepts)
            if not choices:
                raise NoInstance(f"no instance of {self._name} is up")
            if by == "turn":
                return in_turn(choices, next(self._turns))
            return less_busy(choices, self._busy, (random.random(), random.random()))

    def failed(self, instance: Instance) -> None:
        """The instance did not serve: it is skipped for a while."""
        with self._lock:
            self._failed[instance.instance_id] = steady() + SKIPPED_S

    @contextmanager
    def using(self, instance: Instance) -> Iterator[Instance]:
        """A call is under way; when it raises, the instance has failed."""
        with self._lock:
            self._busy[instance.instance_id] += 1
        try:
            yield instance
        except Exception:
            self.failed(instance)
            raise
        finally:
            with self._lock:
                self._busy[instance.instance_id] -= 1
                if not self._busy[instance.instance_id]:
                    del self._busy[instance.instance_id]
