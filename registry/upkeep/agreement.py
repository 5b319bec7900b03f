"""Agreement: replicas prove to each other that they hold the same, and one that differs is put right.

Each replica goes through its views part by part - every service, and the rest - and tells the others the digest of each
part and where the part last changed. Two replicas whose part changed last at the same position must hold the same: the
fold is a function of the log. Where they do not, one of them is wrong, and none can know which; so both replay the log,
from a snapshot that is older than the difference. Nothing here holds up a request: a part is read in steps, and a part
that changes meanwhile waits for the next round.

Views that do not change cannot come to differ, so that quiet tenants are compared seldom where there are many: some of
them at a time, the same ones on all replicas, by the clock on the wall.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Struct

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.position import Position, parse_position
from registry.domain.sections import REST, PartDigest, rest_sections, service_sections
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.episode import Actions, Episode
from registry.projection.projector import Projector
from registry.store.damage import Damaged
from registry.store.port import Store
from registry.store.soundness import read_position
from registry.upkeep.snapshotting import Snapshotting

logger = logging.getLogger(__name__)

#: Seconds from the end of one round to the next.
ROUND_EVERY_S: Final = 4.0
#: Seconds of silence after which a round is given up: no tenant can be compared.
AWAY_S: Final = 2.0
#: Instances digested before other tasks get a turn, and the seconds of that turn: about a fiftieth of a core.
STEP_ROWS: Final = 500
STEP_PAUSE_S: Final = 0.03
#: Tenants compared before such a pause: each costs two questions to the store.
STEP_TENANTS: Final = 2
#: A tenant is compared in this number of rounds after its last news: who speaks first hears the others next time.
ROUNDS_AFTER_NEWS: Final = 3
#: Quiet tenants compared in one round, at most. They stay for `ROUNDS_AFTER_NEWS` rounds, too.
QUIET_MAX: Final = 32
#: How long what another replica said counts: ms, or rounds where a round takes long.
STATE_KEPT_MS: Final = 30_000
STATE_KEPT_ROUNDS: Final = 3
#: A replay starts from a snapshot older than this (ms) and this number of rounds: the difference was not there yet.
HEAL_FROM_MS: Final = 60_000
HEAL_FROM_ROUNDS: Final = 3
#: How long the next replay waits after one that did not help, ms: replicas of different versions may differ.
HEAL_AGAIN_MS: Final = 600_000


#: Of what replicas say to each other. It moves when digests are made otherwise: of other sections, for one.
STATE_FORMAT: Final = 2


class State(Struct, frozen=True, array_like=True):
    """What a replica says of one tenant: per part its digest and where it last changed. Of one format only: replicas
    of versions that differ in it are not compared."""

    format: int
    position: str
    parts: dict[str, tuple[str, bytes]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(State).decode


@dataclass(slots=True)
class AgreementStats:
    rounds: int = 0
    #: Parts found to differ, and replays because of it.
    differences: int = 0
    healed: int = 0


class Agreement:
    """One replica's part in it."""

    def __init__(self, store: Store, projector: Projector, snapshotting: Snapshotting, clock: Clock) -> None:
        self._store = store
        self._projector = projector
        self._snapshotting = snapshotting
        self._clock = clock
        self._replayed_ms: dict[Tenant, int] = {}
        #: Tenants that had news lately, and for how many rounds they are still to be compared.
        self._lively: dict[Tenant, int] = {}
        #: Those that this round compares for their news.
        self._under_way: list[Tenant] = []
        #: How long the last round of each kind took.
        self._lively_ms = 0
        self._quiet_ms = 0
        self.stats = AgreementStats()
        self._failing = Episode(
            logger,
            Actions("compare_failed", "compare_recovered"),
            projector.refusing,
            logging.INFO,
            clock.steady_ms,
        )
        self._differing: dict[Tenant, Episode] = {}
        projector.listen_for_news(self._note)
        projector.listen_for_leaves(self._leave)

    def _note(self, tenant: Tenant) -> None:
        self._lively[tenant] = ROUNDS_AFTER_NEWS

    def _leave(self, tenant: Tenant) -> None:
        for held in (self._lively, self._replayed_ms, self._differing):
            held.pop(tenant, None)
        self._snapshotting.distrusted.discard(tenant)

    @property
    def lively(self) -> int:
        """Tenants that had news lately and are still to be compared for it."""
        return len(self._lively.keys() | self._under_way)

    async def run(self) -> None:
        """Compare, round after round, until cancelled."""
        await asyncio.gather(self._rounds(self._compare_lively), self._rounds(self._compare_quiet))

    async def _rounds(self, compare: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(ROUND_EVERY_S)
            await compare()

    async def _compare_lively(self) -> None:
        self._under_way = list(self._lively)
        for tenant in self._under_way:
            self._lively[tenant] -= 1
            if self._lively[tenant] <= 0 and tenant not in self._snapshotting.distrusted:
                del self._lively[tenant]
        self._lively_ms = await self._compare_some(self._under_way)
        self._under_way = []
        self.stats.rounds += 1

    async def _compare_quiet(self) -> None:
        turn = int(self._clock.wall_ms() / (1000 * ROUND_EVERY_S))
        some = [tenant for tenant in quiet(self._projector.tenants, turn) if tenant not in self._lively]
        self._quiet_ms = await self._compare_some(some)

    async def _compare_some(self, tenants: Iterable[Tenant]) -> int:
        """Returns how long it took, ms."""
        began = self._clock.steady_ms()
        failed = False
        for number, tenant in enumerate(tenants, 1):
            if number % STEP_TENANTS == 0:
                await asyncio.sleep(STEP_PAUSE_S)
            if tenant in self._projector.aside.tenants or not self._projector.knows(tenant):
                continue
            try:
                await self.compare(tenant)
            except StoreUnavailable as error:
                failed = True
                self._failing.occurs("not compared with other replicas: %s", error.detail)
                if self._projector.reading.silent_s > AWAY_S:
                    break
        if not failed:
            self._failing.ends("compared with other replicas again")
        return self._clock.steady_ms() - began

    @property
    def _round_ms(self) -> int:
        return max(self._lively_ms, self._quiet_ms)

    async def compare(self, tenant: Tenant) -> None:
        """Say what this replica holds, hear what the others do, and replay the log where they differ."""
        mine = await self._state(tenant)
        if await self._store.head(tenant) < parse_position(mine.position):
            # The log has lost events. What is said of that is said by `mending`, in the same place.
            return
        differing = await self._exchange(tenant, mine)
        if not differing:
            self._snapshotting.distrusted.discard(tenant)
            if tenant in self._differing:
                self._differing.pop(tenant).ends("replicas agree on %s again", tenant, tenant=str(tenant))
            return
        self.stats.differences += len(differing)
        self._snapshotting.distrusted.add(tenant)
        self._note(tenant)
        self._differing.setdefault(tenant, self._difference()).occurs(
            "replicas differ in %d parts of %s, e.g. %s",
            len(differing),
            tenant,
            differing[0] or "dependencies and policies",
            tenant=str(tenant),
        )
        now = self._clock.steady_ms()
        if now - self._replayed_ms.get(tenant, -HEAL_AGAIN_MS) < HEAL_AGAIN_MS:
            return
        self._replayed_ms[tenant] = now
        before_ms = self._clock.wall_ms() - max(HEAL_FROM_MS, HEAL_FROM_ROUNDS * self._round_ms)
        try:
            await self._projector.rebuild(tenant, "replicas differ at the same position", before_ms)
        except Damaged as error:
            # Nothing says that it is this view that is wrong, and there is none to take its place: the alarm stays on.
            logger.error("%s cannot be replayed: %s", tenant, error.detail, extra={"action": "heal_failed"})
            return
        self.stats.healed += 1
        self._snapshotting.suspect(tenant, before_ms, self._clock.wall_ms())
        await self._exchange(tenant, await self._state(tenant))

    def _difference(self) -> Episode:
        actions = Actions("replicas_differ", "replicas_agree")
        return Episode(logger, actions, level=logging.ERROR, steady_ms=self._clock.steady_ms)

    async def _exchange(self, tenant: Tenant, mine: State) -> list[str]:
        """The parts in which another replica differs."""
        keep_ms = max(STATE_KEPT_MS, STATE_KEPT_ROUNDS * self._round_ms)
        others = await self._store.snapshots.exchange(tenant, self._projector.replica, _encode(mine), keep_ms)
        differing: set[str] = set()
        readers: dict[str, Position] = {}
        for name, said in others.items():
            state = read_state(said)
            if state is None:
                continue
            readers[name] = parse_position(state.position)
            differing.update(
                part
                for part, (changed, digest) in state.parts.items()
                if part in mine.parts and mine.parts[part][0] == changed and mine.parts[part][1] != digest
            )
        self._snapshotting.readers[tenant] = readers
        return sorted(differing)

    async def _state(self, tenant: Tenant) -> State:
        view = self._projector.view(tenant)
        position = view.position.text()
        parts: dict[str, tuple[str, bytes]] = {}
        rest = PartDigest()
        for section in rest_sections(view):
            rest.add(section)
        parts[REST] = (view.rest_changed.text(), rest.digest())
        rows = 0
        for service_id in list(view.services):
            rows += 1 + _size(view, service_id)
            for digest in _service_part(view, service_id):
                if digest is not None:
                    parts[service_id] = digest
                if digest is None or rows >= STEP_ROWS:
                    rows = 0
                    await asyncio.sleep(STEP_PAUSE_S)
        return State(STATE_FORMAT, position, parts)


def quiet(tenants: Sequence[Tenant], turn: int) -> Iterator[Tenant]:
    """The tenants that every replica compares in the round of this number, whether they had news or not."""
    # A power of two: replicas one of which has heard of another tenant already have the same turns, nearly always.
    turns = 1 << (len(tenants) * ROUNDS_AFTER_NEWS // QUIET_MAX).bit_length() if len(tenants) > QUIET_MAX else 1
    return (tenant for tenant in tenants if (_spread(tenant) + turn) % turns < ROUNDS_AFTER_NEWS)


def _spread(tenant: Tenant) -> int:
    """A number of the tenant's, the same on every replica; the last bits of a checksum alone are too much alike."""
    return (crc32(str(tenant).encode()) * 2_654_435_761) >> 16


def _size(view: RegistryView, service_id: str) -> int:
    row = view.services.get(service_id)
    return len(row.instances) if row is not None else 0


def _service_part(view: RegistryView, service_id: str) -> Iterator[tuple[str, bytes] | None]:
    """The digest of a service's row, after a None for each step; nothing when the row changes meanwhile."""
    row = view.services.get(service_id)
    if row is None:
        return
    changed, part = row.changed, PartDigest()
    for section in service_sections(row):
        part.add(section)
        if len(row.instances) >= STEP_ROWS:
            yield None
            if row.changed != changed:
                return
    yield changed.text(), part.digest()


def read_state(said: bytes) -> State | None:
    """What another replica said, if it is of this version and no claim of `mending`."""
    try:
        state = _decode(said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return state if state.format == STATE_FORMAT and read_position(state.position) else None
