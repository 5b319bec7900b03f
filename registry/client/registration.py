"""Registration: where a provider stands between its start and its lease, as a function of values.

    SERVICE -> SCHEMAS -> INSTANCE -> BEAT -> BEAT -> ...

A registry that has forgotten the instance (400017) sends it back to INSTANCE, one that has forgotten the service
(400012) to SERVICE. The instance keeps its id throughout. Everything else that goes wrong is tried again, later each
time.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from registry.client.backoff import beat_again_s, delay_s
from registry.client.errors import INSTANCE_NOT_EXISTS, SERVICE_NOT_EXISTS

#: Seconds. What the registry refuses for another reason is tried again so seldom: somebody has to mend it.
REFUSED_PAUSE_S: Final = 60.0
#: The first beat comes somewhere in the first part of the interval, so that a fleet does not beat together.
FIRST_BEAT_SHARE: Final = 0.5
#: An instance that may miss no heartbeat beats after this part of its lease, not at its end.
LEASE_SHARE: Final = 2 / 3
#: The instance was forgotten, and then the service: both is mended without a pause.
AT_ONCE_MAX: Final = 2


class Step(Enum):
    """What to do next."""

    SERVICE = "register the service"
    SCHEMAS = "send its schemas"
    INSTANCE = "register the instance"
    BEAT = "send a heartbeat"


class Done(Struct, frozen=True):
    """The registry did it. `service_id` is the id that it gave to the service."""

    service_id: str = ""


class Failed(Struct, frozen=True):
    """There was no answer, or one that says nothing about the request. `code`: why the registry refused, else 0."""

    code: int = 0


class Registration(Struct, frozen=True):
    """One instance of one service version, on its way into a registry."""

    #: Seconds between two heartbeats.
    interval_s: float
    #: Seconds that the registry keeps the instance without one.
    lease_s: float
    step: Step = Step.SERVICE
    service_id: str = ""
    #: In a row.
    failures: int = 0
    #: How often the registry had forgotten it, since its lease last began anew.
    sent_back: int = 0
    #: When the step is to be done; seconds of the steady clock.
    due_at: float = 0.0
    #: When the lease last began anew; None: there never was one.
    renewed_at: float | None = None

    @property
    def is_registered(self) -> bool:
        """Whether the registry has it, as far as is known."""
        return self.step is Step.BEAT

    @property
    def pause_s(self) -> float:
        """Seconds from a heartbeat that was answered to the next one."""
        return min(self.interval_s, self.lease_s * LEASE_SHARE)

    @property
    def lease_ends(self) -> float:
        """When the registry forgets it, seconds of the steady clock; infinite before there is a lease."""
        return math.inf if self.renewed_at is None else self.renewed_at + self.lease_s

    def after(self, outcome: Done | Failed, now: float, draw: float) -> Registration:
        """Where it stands after its step was tried. `draw`: a random number in [0, 1)."""
        if isinstance(outcome, Done):
            return self._advanced(outcome, now, draw)
        back = _step_back(self.step, outcome.code)
        if back is not None:
            # At once, but a registry that goes on forgetting is not asked in a circle.
            count = self.sent_back + 1
            pause = 0.0 if count <= AT_ONCE_MAX else delay_s(count - AT_ONCE_MAX, draw)
            return replace(self, step=back, failures=0, sent_back=count, due_at=now + pause)
        failures = self.failures + 1
        if outcome.code and self.step is not Step.BEAT:
            return replace(self, failures=failures, due_at=now + REFUSED_PAUSE_S * (0.5 + draw / 2))
        if self.step is Step.BEAT:
            pause = beat_again_s(failures, self.lease_ends - now, self.pause_s, draw)
        else:
            pause = delay_s(failures, draw, cap_s=self.interval_s)
        return replace(self, failures=failures, due_at=now + pause)

    def _advanced(self, done: Done, now: float, draw: float) -> Registration:
        match self.step:
            case Step.SERVICE:
                return replace(self, step=Step.SCHEMAS, service_id=done.service_id, failures=0, due_at=now)
            case Step.SCHEMAS:
                return replace(self, step=Step.INSTANCE, failures=0, due_at=now)
            case Step.INSTANCE:
                first = self.pause_s * (1 - FIRST_BEAT_SHARE * draw)
                return replace(self, step=Step.BEAT, failures=0, sent_back=0, due_at=now + first, renewed_at=now)
            case Step.BEAT:
                return replace(self, failures=0, sent_back=0, due_at=now + self.pause_s, renewed_at=now)

    def again(self, now: float) -> Registration:
        """From the start, now: another process has taken it over, or its content has changed."""
        return replace(self, step=Step.SERVICE, failures=0, sent_back=0, due_at=now)


def _step_back(step: Step, code: int) -> Step | None:
    """What the registry has forgotten is done again."""
    if code == INSTANCE_NOT_EXISTS and step is Step.BEAT:
        return Step.INSTANCE
    if code == SERVICE_NOT_EXISTS and step is not Step.SERVICE:
        return Step.SERVICE
    return None
