"""Store: what the log and the leases promise. Proven alike for both adapters by tests/contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from registry.domain.errors import StoreUnavailable
from registry.domain.marks import Mark
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.store.damage import Condition, Damaged, KeyName
from registry.store.lease import Lease, LeaseName, Proposal, Renewed, Write


class Tail(NamedTuple):
    """What `read` found: per tenant its next events in order, and tenants seen for the first time."""

    events: Mapping[Tenant, Sequence[tuple[Position, bytes]]]
    tenants: Sequence[Tenant]
    #: Where to go on with the list of tenants.
    tenants_after: str
    #: Tenants that were taken off the list since, and up to where their logs went then.
    gone: Sequence[tuple[Tenant, Position]] = ()


class Pulse(NamedTuple):
    """For how long no replica could write (ms, 0 for the first pulse of a new part).

    `restarted`: the store is not the process that the last pulse was recorded in. It may have lost what was newest in
    that one, leases first of all. `run` names the process.
    """

    silence_ms: int
    restarted: bool = False
    run: str = ""


#: memory: the store's process has it. disk: it is fsynced. replica: another server of the store has it too.
Durability = Literal["memory", "disk", "replica"]


class NotDurable(StoreUnavailable):
    """The durability that was asked for cannot be had, or is not confirmed in time; the detail says which."""


class HistoryChanged(StoreUnavailable):
    """The log is not the one this replica has followed: other epoch, or its tail is gone."""


class OutageSuspected(StoreUnavailable):
    """No replica could write for longer than allowed: nobody may be expired before leases have been re-armed."""


class About(NamedTuple):
    """What the store is, for people.

    program, version: of its server. mode: `memory`, `server`, `sentinel` or `cluster`. servers: those that hold
    data of their own; the sizes are theirs together, `limit_bytes` 0 when there is none. replicas: their copies.
    persistence: in words.
    """

    program: str
    version: str
    mode: str
    servers: int
    used_bytes: int
    limit_bytes: int
    replicas: int
    persistence: str


class Notice(NamedTuple):
    """An entry of the list of tenants' log: that a tenant is there, or has gone.

    entry: the name of the entry. gone_at: where the tenant's log ended when it was taken off the list, None when it was
    put on it. age_ms: how long ago that was, by the store's clock.
    """

    entry: str
    tenant: Tenant
    gone_at: Position | None
    age_ms: int


class PastSnapshots(Protocol):
    """See `Snapshots`."""

    async def marks(self, tenant: Tenant) -> list[Mark]: ...

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None: ...


class PastLog(Protocol):
    """As much of a store as reading the past takes. See `Store`."""

    @property
    def snapshots(self) -> PastSnapshots: ...

    def key(self, tenant: Tenant | None, name: KeyName) -> str: ...

    async def head(self, tenant: Tenant) -> Position: ...

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail: ...

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None: ...

    async def eldest(self, tenant: Tenant) -> tuple[Position, bytes] | None: ...


class Store(Protocol):
    """Every method raises StoreUnavailable when the store does not answer within its time limit, and Damaged when a
    key that it needs holds something else than the registry has put there.

    A `commit` that raised may still have happened, and so may a `resume_history`; everything else is safe to repeat.
    """

    @property
    def snapshots(self) -> Snapshots: ...

    @property
    def followed_max(self) -> int:
        """Logs that one `read` follows at little cost. More of them take a read for each group of this size or more."""

    def part(self, tenant: Tenant) -> Tenant:
        """The tenant that stands for the part of the store in which this one's data is.

        A part answers, restarts and comes back as a whole, so that all of its tenants have one pulse and one re-arming.
        """

    @property
    def notes(self) -> Notes: ...

    @property
    def upkeep(self) -> Upkeep: ...

    @property
    def leftovers(self) -> Leftovers: ...

    def key(self, tenant: Tenant | None, name: KeyName) -> str:
        """What a key is called in the store, for people."""

    def on_damage(self, listener: Callable[[Damaged], None]) -> None:
        """Call `listener` with every `Damaged` before it is raised here, for every caller."""

    async def open(self) -> None:
        """Connect and check that the store can be relied on (version, eviction policy)."""

    async def close(self) -> None: ...

    async def about(self) -> About:
        """What the store is, and how it is."""

    async def add_tenant(self, tenant: Tenant, most: int = 0) -> bool:
        """Announce the tenant to every reader. Repetition is harmless.

        False, and nothing is done, when it is a new one and there are `most` already (0: there is no limit).
        """

    async def forget_tenant(self, tenant: Tenant, at: Position) -> bool:
        """Take the tenant off the list, and tell every reader that its log went up to `at` then. The log stays.

        False, and nothing is done, when it is not on the list.
        """

    async def tenants(self) -> list[Tenant]:
        """Every tenant on the list, in no order; what else stands among their names is left out."""

    async def inspect(self, tenant: Tenant) -> None:
        """Raise Damaged if a key holds another type than the registry makes, or log and head contradict each other."""

    async def head(self, tenant: Tenant) -> Position:
        """The position of the tenant's newest event, ORIGIN when there is none."""

    async def heads(self, tenants: Sequence[Tenant]) -> list[Position | None]:
        """As `head`, of many in one question. Of what is damaged it may be None, or ORIGIN: `head` tells."""

    async def read(
        self, after: Mapping[Tenant, Position], tenants_after: str | None, block_ms: int, follow: bool = False
    ) -> Tail:
        """Events after the given positions, at most `read_max` per tenant; waits up to `block_ms` for the first.

        An entry that was not made by the registry may have the payload b"". Damaged names one tenant, or the list of
        tenants, that cannot be read; without it the others can.

        Args:
            tenants_after: where to go on with the list of tenants, "" at its beginning, None not to ask for it.
            follow: the caller reads all logs all the time. It has a way of its own, on which nobody's questions are in
                front of it, and one such call at a time.
        """

    async def entry(self, tenant: Tenant, position: Position) -> bytes | None:
        """The event at a position; None when the log does not hold it."""

    async def eldest(self, tenant: Tenant) -> tuple[Position, bytes] | None:
        """The first event that the log still holds; None when it holds none."""

    async def commit(
        self, tenant: Tenant, epoch: int, writes: Sequence[Write], applied: int = 0
    ) -> list[Position | None]:
        """Append the events in order, without gaps, and change their leases: all or nothing.

        Args:
            epoch: that of the history the caller has followed; 0 when it knows of none.
            applied: the sequence up to which the caller has applied it.

        Raises:
            HistoryChanged: the log's epoch is another one, or it ends before `applied`. Nothing was done.
        """

    async def beat(self, tenant: Tenant, leases: Sequence[Lease], replica: str) -> list[int]:
        """Renew leases and record the batch as evidence. Returns the indexes that have no lease; none is created.

        A lease that is longer already stays as it is: a replica that is behind must not shorten it.
        """

    async def revive(self, tenant: Tenant, at: Position, leases: Sequence[Lease]) -> bool:
        """Grant leases again that lapsed, if the log's newest event is still the one at `at`. Else do nothing."""

    async def expire(
        self, tenant: Tenant, epoch: int, proposals: Sequence[Proposal], outage_after_ms: int, applied: int = 0
    ) -> list[Position | None]:
        """Append the proposals whose lease is gone and which no other replica has appended; None for the others.

        Raises:
            OutageSuspected: the part's last pulse is older than `outage_after_ms`. Nothing was done.
            HistoryChanged: as for commit.
        """

    async def remaining(self, tenant: Tenant, names: Sequence[LeaseName]) -> list[int]:
        """Milliseconds left of each lease, -1 where there is none."""

    async def renewed(self, tenant: Tenant, lease: Lease, ago_ms: int | None = None) -> Renewed:
        """How much is left of a lease that is `ttl_ms` long, and which replica brought its last heartbeat.

        Args:
            ago_ms: the lease may have ended: the heartbeat is meant that came about this long ago, by no more than
                `RENEWED_ABOUT_MS` earlier or later.
        """

    async def rearm(self, tenant: Tenant, leases: Sequence[Lease], going_on_ms: int = 0) -> bool:
        """Give each of these instances a lease of its full length from now, whether it has one or not.

        Args:
            going_on_ms: this is not the first batch of the part's resumption; if the one before is longer ago than this
                number of ms, the store has been silent again, nothing is done, and False is returned.
        """

    async def pulse(self, tenant: Tenant, outage_after_ms: int, resume: bool) -> Pulse:
        """Record that a replica can write to the tenant's part of the store, and say for how long none could.

        After a gap longer than `outage_after_ms`, and in a store that has restarted, nothing is recorded unless
        `resume` is set, which the replica sets once it has re-armed the leases; and even then only if the last of them
        were re-armed no longer ago than `outage_after_ms`.
        """

    async def resume_history(
        self, tenant: Tenant, head: Position, epoch: int, payloads: Sequence[bytes], seeded: bool = False
    ) -> None:
        """Begin a new epoch with these events, if the log's newest event is still the one at `head`.

        Args:
            seeded: the epoch stands on the snapshot of its first position, which has to be there.

        Raises:
            HistoryChanged: it is another, or there is no such snapshot. Nothing was done.
        """

    async def cannot(self, tenant: Tenant, durability: Durability) -> str:
        """Why the store, as it is set up now, cannot promise that durability; "" when it can.

        Raises:
            NotDurable: it could, and fails to.
        """

    async def confirm(self, tenant: Tenant, durability: Durability, timeout_ms: int, at: Position) -> bytes | None:
        """Wait until everything that was written before this call has that durability.

        Returns the event at `at` on the server that has confirmed it: if it is another one than was written there, or
        none, then it was written to another server, which is gone.

        Raises:
            NotDurable: not within the time.
        """

    def lapses(self) -> AsyncIterator[tuple[Tenant, LeaseName]]:
        """Prompts that a lease may have lapsed. At most once, perhaps never: never rely on them."""


class Snapshots(Protocol):
    """What the store keeps beside a log, so that nobody needs the whole of it. Errors as for `Store`."""

    async def marks(self, tenant: Tenant) -> list[Mark]:
        """The complete snapshots, newest first."""

    async def chunk(self, tenant: Tenant, position: Position, index: int) -> bytes | None:
        """One chunk of the snapshot taken at a position."""

    async def put_chunk(self, tenant: Tenant, position: Position, index: int, stored: bytes) -> None:
        """Keep a chunk for an hour; `put_mark` makes it last."""

    async def put_mark(self, tenant: Tenant, mark: Mark) -> bool:
        """The snapshot is complete: from now on readers find it. False when one of its chunks is gone."""

    async def drop(self, tenant: Tenant, mark: Mark) -> None:
        """Forget a snapshot and its chunks."""

    async def trim(self, tenant: Tenant, before: Position) -> int:
        """Drop events before a position, never the one at it. Returns how many; perhaps not all that might go."""

    async def hold(self, tenant: Tenant, replica: str, ttl_ms: int) -> bool:
        """Be the one replica that writes snapshots and trims, for this time; False while another is."""

    async def exchange(self, tenant: Tenant, replica: str, state: bytes, keep_ms: int) -> dict[str, bytes]:
        """Leave what this replica has to say of itself; take what the others have left within `keep_ms`."""


class Notes(Protocol):
    """Small texts that expire, beside a log: nothing is lost with them. Errors as for `Store`."""

    async def read(self, tenant: Tenant, name: str) -> bytes:
        """The note of that name, b"" when there is none."""

    async def write(self, tenant: Tenant, name: str, seen: bytes, note: bytes, lasts_ms: int, most: int) -> bool:
        """Put a note (b"": none) in the place of `seen`; False, and nothing is done, when another stands there.

        Where there are `most` already, a tenth of them goes, those first that would end soonest.
        """

    async def all(self, tenant: Tenant) -> dict[str, bytes]:
        """Every note by its name."""


class Leftovers(Protocol):
    """What tenants leave in the store that were taken off the list. Errors as for `Store`."""

    async def notices(self, after: str, most: int) -> list[Notice]:
        """The next entries of the list of tenants' log behind that entry ("": its first ones)."""

    async def strike(self, entries: Sequence[str]) -> None:
        """Delete entries of the list of tenants' log. Only the last one on each tenant counts for any reader."""

    async def clear(self, tenant: Tenant, at: Position) -> bool:
        """Delete all that there is of a tenant which is not on the list, if its log ends at `at`, or is gone already.

        False, and nothing is done, when it is on the list, or its log goes on. One that is put on the list in the same
        moment may find its log gone. That is a `HistoryChanged` to the next `commit`.
        """


class Upkeep(Protocol):
    """What mending a damaged store by hand takes. Errors as for `Store`, but nothing is too damaged for it."""

    async def condition(self, tenant: Tenant) -> Condition:
        """What stands under the tenant's keys now."""

    async def found(self) -> list[Tenant]:
        """Every tenant of which there is a log or a head, even if the list of tenants does not name it."""

    async def forget(self, tenant: Tenant, name: KeyName) -> None:
        """Delete one key."""

    async def cut(
        self, tenant: Tenant, seen: Condition, keep_to: Position, epoch: int, payloads: Sequence[bytes]
    ) -> None:
        """Drop every entry after `keep_to`, and begin a new epoch with these events. With none, leave no log at all.

        Args:
            seen: what `condition` has told.

        Raises:
            HistoryChanged: log or head have changed since. Nothing was done.
        """

    async def rewrite_tenants(self, tenants: Sequence[Tenant]) -> None:
        """Put these in the place of the list of tenants."""
