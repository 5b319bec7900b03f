"""Alarms: what went wrong lately on this replica, for those who look after it (api-rules.md 3.15).

In memory, one alarm of each kind: its latest occurrence. Each replica has its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct, structs

from registry.domain.errors import PositionNotReached, RegistryError, StoreUnavailable, Withheld
from registry.store.port import NotDurable

ACTIVATED: Final = "ACTIVATED"
CLEARED: Final = "CLEARED"
#: The store does not answer.
BACKEND_REFUSED: Final = "BackendConnectionRefuse"
#: A request was answered 5xx.
INTERNAL_ERROR: Final = "InternalError"
#: Very many leases lapsed at once, and expiry is paused.
MASS_LAPSE: Final = "MassLapse"
#: This replica's view and another's differ at the same position.
REPLICAS_DIFFER: Final = "ReplicasDiffer"
#: Heartbeats are accepted and remembered, because the store does not take them.
HEARTBEATS_WAITING: Final = "HeartbeatsWaiting"
#: The store answers and is read, but takes no writes.
STORE_REFUSES_WRITES: Final = "StoreRefusesWrites"
#: The store cannot give writes the durability that the deployment has chosen.
DURABILITY_LOST: Final = "DurabilityLost"
#: What the store holds of a tenant, or its list of tenants, is damaged.
TENANT_DAMAGED: Final = "TenantDamaged"
#: A replica that lives has not applied a change of accounts.
ACCOUNTS_LATE: Final = "AccountsLate"
#: What logs lose cannot be written to the archive.
ARCHIVE_FAILS: Final = "ArchiveFails"
#: All there are, in the order of registry/docs/alarms.md.
ALARMS: Final = (
    *(BACKEND_REFUSED, STORE_REFUSES_WRITES, DURABILITY_LOST, HEARTBEATS_WAITING, MASS_LAPSE),
    *(REPLICAS_DIFFER, TENANT_DAMAGED, ACCOUNTS_LATE, ARCHIVE_FAILS, INTERNAL_ERROR),
)
#: Characters kept of a detail.
DETAIL_MAX: Final = 500


class Alarm(Struct, frozen=True):
    status: str
    id: str
    fields: dict[str, str]


class Alarms:
    """Raised by answers, cleared by the store's next answer (`BackendConnectionRefuse`) or by hand (both).

    Args:
        silent_s: seconds since the store last answered this replica.
        steady_ms: a clock that never jumps.
        conditions: what holds at this moment, as the alarm's id and its detail.
    """

    def __init__(
        self,
        silent_s: Callable[[], float],
        steady_ms: Callable[[], int],
        conditions: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._conditions = conditions
        self._silent_s = silent_s
        self._steady_ms = steady_ms
        self._kept: dict[str, Alarm] = {}
        self._refused_ms = 0

    def observe(self, error: RegistryError) -> None:
        """Take note of an error that a client is answered with; its own mistakes are no alarm, nor what has one.

        Neither is a durability that is not confirmed, nor a position that is not reached: it was the client that asked
        for it.
        """
        if error.code // 1000 < 500 or isinstance(error, NotDurable | Withheld | PositionNotReached):
            return
        self._raise(INTERNAL_ERROR, error.detail or error.message)
        if isinstance(error, StoreUnavailable):
            self._raise(BACKEND_REFUSED, error.detail or error.message)
            self._refused_ms = self._steady_ms()

    def refused(self) -> Alarm | None:
        """The alarm that the store does not answer, while it is active."""
        alarm = self._kept.get(BACKEND_REFUSED)
        if alarm is None or alarm.status == CLEARED:
            return None
        if self._silent_s() * 1000 < self._steady_ms() - self._refused_ms:
            # The projector reads all the time, so the store has been heard since: no need to be told.
            self._kept[BACKEND_REFUSED] = structs.replace(alarm, status=CLEARED)
            return None
        return alarm

    def current(self) -> list[Alarm]:
        """Every alarm since the last `clear`, the eldest kind first; those that are over are marked so."""
        self.refused()
        now = self._conditions()
        for id, alarm in self._kept.items():
            if id not in (BACKEND_REFUSED, INTERNAL_ERROR) and id not in now:
                self._kept[id] = structs.replace(alarm, status=CLEARED)
        for id, detail in now.items():
            self._raise(id, detail)
        return list(self._kept.values())

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()

    def _raise(self, id: str, detail: str) -> None:
        self._kept[id] = Alarm(ACTIVATED, id, {"detail": detail[:DETAIL_MAX]})
