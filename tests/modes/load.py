"""Load: clients that go on while a master dies, and remember what they were told and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from tests.modes.serving import LIMIT_S
from tests.support.api import Api, ids, ok
from tests.support.replica import Replica
from tests.support.waiting import until_sync

#: Ten seconds of lease: longer than the registry may be away without saying so, shorter than a test.
LIVING = {"healthCheck": {"mode": "push", "interval": 5, "times": 1}}
#: Six seconds are usual; an election that fails because nobody gets to run is held again after twenty.
RECOVERY_LIMIT_S = 90.0
BEAT_EVERY_S = 0.5
WRITE_EVERY_S = 0.01
LOOK_EVERY_S = 0.05


@dataclass
class Told:
    """What one client was told: when (monotonic seconds), and whether it was a success."""

    answers: list[tuple[float, bool]] = field(default_factory=list)

    def add(self, success: bool) -> None:
        self.answers.append((time.monotonic(), success))

    def first_after(self, moment: float, success: bool) -> float | None:
        return next((at for at, good in self.answers if at > moment and good is success), None)


class Load:
    """One tenant's clients: one registers instance after instance, one beats for those that must stay, one watches."""

    def __init__(self, one: Replica, other: Replica, domain: str, living: int = 10) -> None:
        self._replicas = (one, other)
        self.domain = domain
        self.living = [f"living{n}" for n in range(living)]
        self.acknowledged: list[str] = []
        #: Of the living, who was not found at some time.
        self.expired: set[str] = set()
        self.writes, self.beats, self.ready = Told(), Told(), Told()
        self._stop = threading.Event()
        api = one.api(domain)
        api.service("cart", serviceId="cart")
        for name in self.living:
            api.instance("cart", instanceId=name, **LIVING)
        work: list[tuple[Callable[[Api], None], float]] = [
            (self._write, WRITE_EVERY_S),
            (self._beat, BEAT_EVERY_S),
            (self._look, LOOK_EVERY_S),
        ]
        self._threads = [
            threading.Thread(target=self._repeat, args=(step, replica.api(domain), pause_s))
            for (step, pause_s), replica in zip(work, (one, other, other), strict=True)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        until_sync(lambda: len(self.acknowledged) >= 20, "the load to begin", LIMIT_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _repeat(self, step: Callable[[Api], None], api: Api, pause_s: float) -> None:
        while not self._stop.wait(pause_s):
            step(api)

    def _write(self, api: Api) -> None:
        name = f"new{len(self.writes.answers):06d}"
        answer = api.register("cart", instanceId=name)
        assert answer.status in (200, 500), answer
        if answer.status == 200:
            self.acknowledged.append(name)
        self.writes.add(answer.status == 200)

    def _beat(self, api: Api) -> None:
        body = {"instances": [{"serviceId": "cart", "instanceId": name} for name in self.living]}
        answer = api.put("/heartbeats", body)
        self.beats.add(answer.status == 200 and b"errMessage" not in answer.body)

    def _look(self, api: Api) -> None:
        self.ready.add(api.get("/health/readiness").status == 200)
        found = api.instances_of("cart")
        if found.status == 200:
            self.expired |= set(self.living) - set(ids(found))

    # -- what must hold ------------------------------------------------------------------------------------------------

    def recovers(self, killed_at: float, limit_s: float) -> float:
        """Seconds from the kill to the first write that was acknowledged after one had failed."""

        def back() -> bool:
            failed = self.writes.first_after(killed_at, False)
            return failed is not None and self.writes.first_after(failed, True) is not None

        until_sync(back, "writes to come back", limit_s)
        failed = self.writes.first_after(killed_at, False)
        assert failed is not None
        return (self.writes.first_after(failed, True) or 0.0) - killed_at

    def assert_readiness_turned_and_came_back(self, killed_at: float) -> None:
        def back() -> bool:
            turned = self.ready.first_after(killed_at, False)
            return turned is not None and self.ready.first_after(turned, True) is not None

        until_sync(back, "readiness to turn and to come back", LIMIT_S)

    def assert_nothing_alive_is_gone(self, log: bytes) -> None:
        """Once the load has ended: who beats is there, and so is what was acknowledged and stands in `log`."""
        assert self.expired == set()
        kept = {name for name in self.acknowledged if name.encode() in log}
        for replica in self._replicas:
            api = replica.api(self.domain)
            until_sync(lambda api=api: kept <= set(ids(api.instances_of("cart"))), "what was kept", LIMIT_S)  # type: ignore[misc]
            assert set(self.living) <= set(ids(ok(api.instances_of("cart"))))
