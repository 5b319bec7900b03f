"""Damage: what the store holds under a tenant's keys is not what the registry has put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from registry.domain.errors import Withheld
from registry.domain.tenant import Tenant

#: The keys of a tenant beside its leases, and of the list of tenants (the last two).
KeyName = Literal[
    "events", "head", "snapshots", "beats", "pulse", "rearming", "holder", "states", "tenants", "tenants_log"
]
REPAIR: Final = "`registry repair` says what is lost by mending it, and mends it"


class Damaged(Withheld):
    """What the store holds of a tenant, or its list of tenants (None), is not what the registry has put there."""

    message = "The data of this tenant are damaged in the registry's store"

    def __init__(self, tenant: Tenant | None, key: str, reason: str, entry: str = "", remedy: str = REPAIR) -> None:
        place = f"{key}, entry {entry}" if entry else key
        super().__init__(f"{tenant or 'the list of tenants'}: {place}: {reason}; {remedy}")
        self.tenant = tenant
        self.key = key
        self.reason = reason
        self.entry = entry
        self.remedy = remedy

    def anew(self) -> Damaged:
        """The same, to be raised once more; an exception gathers what it has been through."""
        return Damaged(self.tenant, self.key, self.reason, self.entry, self.remedy)


class Condition(NamedTuple):
    """What stands under a tenant's keys at one moment."""

    #: Keys that hold another type of Redis than the registry makes, and which.
    wrong: Mapping[KeyName, str]
    #: As they are written, "" where there is none: the position of the newest event, the newest entry of the log, and
    #: the last id that an entry was given, whether it still stands there or not.
    head: str
    newest: str
    last: str
