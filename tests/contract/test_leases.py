"""The leases' promises: who has one is alive, who has none is removed once, and never for an outage of the registry."""

from __future__ import annotations

import asyncio

import pytest

from registry.domain.model import TTL_MAX_S
from registry.domain.position import ORIGIN, Position
from registry.domain.tenant import DEFAULT_TENANT as TENANT
from registry.domain.tenant import Tenant
from registry.store.lease import Lease, LeaseName, Proposal, Write
from registry.store.port import HistoryChanged, OutageSuspected, Store
from tests.contract.worlds import World

LONG_MS = 600_000
SHORT_MS = 40
OUTAGE_MS = 60_000
A, B, C = LeaseName("s", "a"), LeaseName("s", "b"), LeaseName("s", "c")
#: Service ids are the client's choice: anything without white space.
ODD_NAMES = [LeaseName("a/b", "c"), LeaseName("}:lease:", "i"), LeaseName("ünï-空-{x}", "i-1_2.3"), LeaseName("a", "b")]


def lease(name: LeaseName, ttl_ms: int = LONG_MS) -> Lease:
    return Lease(name.service_id, name.instance_id, ttl_ms)


def proposal(name: LeaseName, registered: str = "1-1") -> Proposal:
    return Proposal(name, registered, f"{name.instance_id} of {registered} expired".encode())


async def begin(store: Store, *leases: Lease, pulse: bool = True) -> Position:
    """A history of one event with these leases, and (unless told otherwise) a fresh pulse."""
    (position,) = await store.commit(TENANT, 0, [Write(b"registered", leases)])
    if pulse:
        await store.pulse(TENANT, OUTAGE_MS, False)
    assert position is not None
    return position


async def alive(store: Store, *names: LeaseName) -> list[bool]:
    return [left > 0 for left in await store.remaining(TENANT, names)]


async def payloads(store: Store) -> list[bytes]:
    return [payload for _, payload in (await store.read({TENANT: ORIGIN}, "", 0)).events.get(TENANT, [])]


# -- beat --------------------------------------------------------------------------------------------------------------


async def test_a_beat_renews_to_the_full_length(world: World) -> None:
    """A provider that sends heartbeats in time is never expired."""
    store = await world.connect()
    await begin(store, lease(A, 5_000), lease(B, 5_000))
    assert await store.beat(TENANT, [lease(A)], "r1") == []
    a, b = await store.remaining(TENANT, [A, B])
    assert b <= 5_000 < LONG_MS - 60_000 < a <= LONG_MS


async def test_a_beat_never_shortens_a_lease(world: World) -> None:
    """A replica that has not seen the newest registration must not take from the lease that it granted."""
    store = await world.connect()
    await begin(store, lease(A))
    assert await store.beat(TENANT, [lease(A, 5_000)], "r1") == []
    assert (await store.remaining(TENANT, [A]))[0] > 5_000


async def test_a_beat_reports_what_has_no_lease_and_creates_none(world: World) -> None:
    """A heartbeat for what was removed must fail, so that the provider registers again."""
    store = await world.connect()
    await begin(store, lease(A), lease(B, SHORT_MS))
    await world.let_lapse(TENANT, B)
    assert await store.beat(TENANT, [lease(C), lease(A), lease(B), lease(A), lease(C)], "r1") == [0, 2, 4]
    assert await alive(store, A, B, C) == [True, False, False]


async def test_a_beat_of_nobody_is_harmless(world: World) -> None:
    """A flush may find that every caller has given up."""
    store = await world.connect()
    assert await store.beat(TENANT, [], "r1") == []
    assert await store.head(TENANT) == ORIGIN


async def test_a_beat_changes_nothing_in_the_log(world: World) -> None:
    """Heartbeats must not move positions nor revs: there are a thousand of them per event."""
    store = await world.connect()
    position = await begin(store, lease(A))
    await store.beat(TENANT, [lease(A), lease(B)], "r1")
    assert await store.head(TENANT) == position


async def test_leases_are_named_by_service_and_instance_and_tenant(world: World) -> None:
    """The same instance id under two services are two instances. An instance id has no slash (decision 4)."""
    store = await world.connect()
    await begin(store, *(lease(name) for name in ODD_NAMES))
    assert await alive(store, *ODD_NAMES) == [True] * len(ODD_NAMES)
    assert await alive(store, LeaseName("a", "c"), LeaseName("s", "b"), LeaseName("b", "c")) == [False] * 3
    assert await store.beat(TENANT, [lease(name) for name in ODD_NAMES], "r1") == []
    assert await store.beat(Tenant("default", "other"), [lease(ODD_NAMES[0])], "r1") == [0]
    for name in ODD_NAMES:
        await store.commit(TENANT, (await store.head(TENANT)).epoch, [Write(None, (), (name,))])
        assert await alive(store, name) == [False]


async def test_the_longest_lease_can_be_granted_by_every_way(world: World) -> None:
    """interval and times may reach 2**31 - 1; 68 years must not come out as no time, nor as an error."""
    store = await world.connect()
    longest = TTL_MAX_S * 1000
    position = await begin(store, lease(A, longest), lease(B))
    await store.rearm(TENANT, [lease(C, longest)])
    assert await store.beat(TENANT, [lease(B, longest)], "r1") == []
    assert min(await store.remaining(TENANT, [A, B, C])) > longest - 60_000
    assert await store.revive(TENANT, position, [lease(LeaseName("s", "d"), longest)])
    assert min(await store.remaining(TENANT, [LeaseName("s", "d")])) > longest - 60_000


# -- remaining, rearm, revive ------------------------------------------------------------------------------------------


async def test_remaining_counts_down_and_says_minus_one_for_none(world: World) -> None:
    """The sweep asks again when a lease can have lapsed, not before."""
    store = await world.connect()
    await begin(store, lease(A, 60_000))
    (before,) = await store.remaining(TENANT, [A])
    await world.pass_time(5)
    after, none = await store.remaining(TENANT, [A, B])
    assert (none, await store.remaining(TENANT, [])) == (-1, [])
    assert 0 < after <= before - 4


async def test_the_replica_of_the_last_heartbeat_is_told(world: World) -> None:
    """A person who asks why an instance lives, or soon will not, wants to know which replica to look at."""
    store = await world.connect()
    await begin(store, lease(A), lease(B))
    assert (await store.renewed(TENANT, lease(A))).replica == "", "it was granted"
    for replica in ("r1", "r2"):
        await world.pass_time(5)
        await store.beat(TENANT, [lease(B), lease(A)], replica)
        assert (await store.renewed(TENANT, lease(A))).replica == replica
    for number in range(50):
        await world.pass_time(number % 3)
        await store.beat(TENANT, [lease(B)] * (1 + number % 7), "r3")
    left_ms, replica = await store.renewed(TENANT, lease(A))
    assert LONG_MS - 60_000 < left_ms < LONG_MS - 40
    assert (replica, (await store.renewed(TENANT, lease(B))).replica) == ("r2", "r3")
    await world.pass_time(5)
    await store.rearm(TENANT, [lease(A)])
    assert (await store.renewed(TENANT, lease(A))).replica == ""
    assert await store.renewed(TENANT, lease(C)) == (-1, "")


async def test_the_replica_of_a_heartbeat_is_told_when_the_lease_has_ended(world: World) -> None:
    """As evidence of an expiry: the lease that told the moment is gone, the heartbeat is kept."""
    store = await world.connect()
    await begin(store, lease(A), lease(B))
    await store.beat(TENANT, [lease(A)], "r1")
    await world.pass_time(600)
    await store.beat(TENANT, [lease(A), lease(B)], "r2")
    await world.pass_time(5)
    await store.commit(TENANT, (await store.head(TENANT)).epoch, [Write(None, (), (A,))])
    assert await store.renewed(TENANT, lease(A)) == (-1, "")
    assert await store.renewed(TENANT, lease(A), 5) == (-1, "r2")
    assert (await store.renewed(TENANT, lease(B), 5)).replica == "r2"
    assert await store.renewed(TENANT, lease(A), 60_000) == (-1, "")
    assert await store.renewed(TENANT, lease(C), 5) == (-1, "")


async def test_rearm_gives_everyone_a_full_lease(world: World) -> None:
    """After an outage of the registry every provider gets its full time to send the next heartbeat."""
    store = await world.connect()
    position = await begin(store, lease(A, 5_000), lease(B, SHORT_MS))
    await world.let_lapse(TENANT, B)
    assert await store.rearm(TENANT, [lease(A), lease(B), lease(C, 9_000)])
    a, b, c = await store.remaining(TENANT, [A, B, C])
    assert min(a, b) > LONG_MS - 60_000
    assert 0 < c <= 9_000
    assert await store.head(TENANT) == position
    assert await store.rearm(TENANT, [])


async def test_rearming_goes_on_while_its_batches_follow_each_other(world: World) -> None:
    """A million leases are re-armed in many batches; each is measured from the one before, not from the first."""
    store, other = await world.connect(), await world.connect()
    assert await store.rearm(TENANT, [lease(A)])
    for _ in range(3):
        await world.move_rearming(TENANT, 9_000)
        assert await other.rearm(TENANT, [lease(B, 5_000)], going_on_ms=20_000)
    # The same name again, shorter: `rearm` gives what it is told to.
    assert await store.rearm(TENANT, [lease(A, 7_000)], going_on_ms=20_000)
    a, b = await store.remaining(TENANT, [A, B])
    assert (0 < a <= 7_000, 0 < b <= 5_000) == (True, True)


async def test_rearming_that_was_interrupted_begins_anew(world: World) -> None:
    """Clients could not beat meanwhile: leases of the first batches may have lapsed through our fault."""
    store = await world.connect()
    assert not await store.rearm(TENANT, [lease(A)], going_on_ms=20_000)
    assert await store.rearm(TENANT, [lease(A)])
    await world.move_rearming(TENANT, 20_001)
    for _ in range(2):
        assert not await store.rearm(TENANT, [lease(A, 5_000), lease(B)], going_on_ms=20_000)
    a, b = await store.remaining(TENANT, [A, B])
    assert (a > 5_000, b) == (True, -1)
    assert await store.rearm(TENANT, [lease(B)])
    assert await store.rearm(TENANT, [lease(C)], going_on_ms=20_000)
    assert await alive(store, B, C) == [True, True]


async def test_revive_restores_a_lapsed_lease_while_the_log_stands_still(world: World) -> None:
    """A heartbeat that is a moment late must not be answered "does not exist"."""
    store = await world.connect()
    position = await begin(store, lease(A, SHORT_MS))
    await world.let_lapse(TENANT, A)
    assert await store.revive(TENANT, position, [lease(A), lease(B)])
    assert await alive(store, A, B) == [True, True]
    assert await store.head(TENANT) == position


@pytest.mark.parametrize("offset", [-1, 1])
async def test_revive_does_nothing_when_the_log_is_elsewhere(world: World, offset: int) -> None:
    """An event that this replica has not seen may have removed the instance: its lease would be a ghost."""
    store = await world.connect()
    first = await begin(store, lease(A, SHORT_MS))
    (head,) = await store.commit(TENANT, first.epoch, [Write(b"moved on")])
    assert head is not None
    await world.let_lapse(TENANT, A)
    assert not await store.revive(TENANT, Position(head.epoch, head.sequence + offset), [lease(A)])
    assert not await store.revive(TENANT, Position(head.epoch + offset, head.sequence), [lease(A)])
    assert not await store.revive(TENANT, ORIGIN, [lease(A)])
    assert await alive(store, A) == [False]
    assert await store.revive(TENANT, head, [lease(A)])


async def test_revive_does_nothing_after_the_log_was_lost(world: World) -> None:
    """The instance is unknown to the new history, whatever the replica still believes."""
    store = await world.connect()
    position = await begin(store, lease(A))
    await world.lose_log(TENANT)
    assert not await store.revive(TENANT, position, [lease(A)])
    assert await alive(store, A) == [False]


# -- expire ------------------------------------------------------------------------------------------------------------


async def test_expire_appends_only_where_the_lease_is_really_gone(world: World) -> None:
    """A replica that missed a heartbeat must not remove a living provider."""
    store = await world.connect()
    position = await begin(store, lease(A), lease(B, SHORT_MS), lease(C, SHORT_MS))
    await world.let_lapse(TENANT, B, C)
    appended = await store.expire(TENANT, position.epoch, [proposal(B), proposal(A), proposal(C)], OUTAGE_MS)
    assert appended == [Position(position.epoch, 2), None, Position(position.epoch, 3)]
    assert await payloads(store) == [b"registered", b"b of 1-1 expired", b"c of 1-1 expired"]
    assert await store.head(TENANT) == Position(position.epoch, 3)
    # The log goes on behind them without a gap.
    assert await store.commit(TENANT, position.epoch, [Write(b"next")]) == [Position(position.epoch, 4)]


async def test_a_registration_is_expired_once_by_several_proposals(world: World) -> None:
    """Every replica sees the same lease lapse; watchers must be told once."""
    one, other = await world.connect(), await world.connect()
    position = await begin(one, lease(A, SHORT_MS))
    await world.let_lapse(TENANT, A)
    results = await asyncio.gather(
        *(store.expire(TENANT, position.epoch, [proposal(A), proposal(A)], OUTAGE_MS) for store in (one, other, one))
    )
    assert sorted(str(found) for result in results for found in result) == [str(None)] * 5 + [str(position.next())]
    assert await payloads(other) == [b"registered", b"a of 1-1 expired"]


async def test_a_later_registration_of_the_same_instance_can_expire_again(world: World) -> None:
    """Having expired once must not make an instance immortal."""
    store = await world.connect()
    position = await begin(store, lease(A, SHORT_MS))
    await world.let_lapse(TENANT, A)
    await store.expire(TENANT, position.epoch, [proposal(A, "1-1")], OUTAGE_MS)
    await store.commit(TENANT, position.epoch, [Write(b"again", (lease(A, SHORT_MS),))])
    await world.let_lapse(TENANT, A)
    appended = await store.expire(TENANT, position.epoch, [proposal(A, "1-3")], OUTAGE_MS)
    assert appended == [Position(position.epoch, 4)]
    assert await payloads(store) == [b"registered", b"a of 1-1 expired", b"again", b"a of 1-3 expired"]


async def test_what_registered_again_since_is_not_expired(world: World) -> None:
    """A restart within a second must survive the proposal that was under way."""
    store = await world.connect()
    position = await begin(store, lease(A, SHORT_MS))
    await world.let_lapse(TENANT, A)
    await store.commit(TENANT, position.epoch, [Write(b"again", (lease(A),))])
    assert await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [None]
    assert await payloads(store) == [b"registered", b"again"]


async def test_what_was_revived_since_is_not_expired(world: World) -> None:
    """A late heartbeat that was answered 200 must count."""
    store = await world.connect()
    position = await begin(store, lease(A, SHORT_MS))
    await world.let_lapse(TENANT, A)
    await store.revive(TENANT, position, [lease(A)])
    assert await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [None]
    assert await store.head(TENANT) == position


@pytest.mark.parametrize("pulsed", [True, False], ids=["silent", "never pulsed"])
async def test_nobody_is_expired_when_no_replica_could_write_for_too_long(world: World, pulsed: bool) -> None:
    """Leases that lapsed while the store was away lapsed for our fault."""
    store = await world.connect()
    position = await begin(store, lease(A, SHORT_MS), pulse=pulsed)
    await world.let_lapse(TENANT, A)
    if pulsed:
        await world.move_pulse(TENANT, OUTAGE_MS + 1)
    with pytest.raises(OutageSuspected):
        await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS)
    assert await store.head(TENANT) == position
    await store.rearm(TENANT, [lease(B)])
    await store.pulse(TENANT, OUTAGE_MS, True)
    assert await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [position.next()]


async def test_nobody_is_expired_by_a_store_that_was_started_anew(world: World) -> None:
    """It may have lost the newest leases with its memory, however short it was away."""
    store, other = await world.connect(), await world.connect()
    position = await begin(store, lease(A))
    await world.restart()
    for _ in range(2):
        with pytest.raises(OutageSuspected):
            await store.expire(TENANT, position.epoch, [proposal(B)], OUTAGE_MS)
        with pytest.raises(OutageSuspected):
            await other.expire(TENANT, position.epoch, [], OUTAGE_MS)
        # A pulse alone does not make up for what was lost.
        await other.pulse(TENANT, OUTAGE_MS, False)
    assert await store.head(TENANT) == position


async def test_nobody_is_expired_when_the_clock_was_set_back(world: World) -> None:
    """A pulse from the future says that the store's clock cannot be believed."""
    store = await world.connect()
    position = await begin(store)
    await world.move_pulse(TENANT, -2 * OUTAGE_MS)
    with pytest.raises(OutageSuspected):
        await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS)
    assert await store.head(TENANT) == position


@pytest.mark.parametrize("offset", [-1, 1])
async def test_expire_on_another_history_raises_and_does_nothing(world: World, offset: int) -> None:
    """The registration that the proposal concerns is of a history that was lost."""
    store = await world.connect()
    position = await begin(store)
    for followed in (position.epoch + offset, 0):
        with pytest.raises(HistoryChanged):
            await store.expire(TENANT, followed, [proposal(A)], OUTAGE_MS)
    assert await store.head(TENANT) == position
    await world.lose_log(TENANT)
    with pytest.raises(HistoryChanged):
        await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS)
    assert await store.head(TENANT) == ORIGIN


@pytest.mark.parametrize("proposals", [[], [proposal(A)]], ids=["nobody", "somebody"])
async def test_expire_on_a_log_that_has_not_begun_does_not_begin_it(world: World, proposals: list[Proposal]) -> None:
    """A history that began as epoch 0 would come before every lost one, and nobody could tell it from none."""
    store = await world.connect()
    await store.pulse(TENANT, OUTAGE_MS, False)
    assert await store.expire(TENANT, 0, proposals, OUTAGE_MS) == [None] * len(proposals)
    assert await store.head(TENANT) == ORIGIN
    (position,) = await store.commit(TENANT, 0, [Write(b"first")])
    assert position is not None
    assert (position.epoch > 0, position.sequence) == (True, 1)


async def test_expire_without_proposals_changes_nothing(world: World) -> None:
    """A sweep that finds nobody due is the usual case."""
    store = await world.connect()
    position = await begin(store)
    assert await store.expire(TENANT, position.epoch, [], OUTAGE_MS) == []
    assert await store.head(TENANT) == position


async def test_a_lease_that_was_dropped_counts_as_gone(world: World) -> None:
    """`expire` looks at the lease alone; that the instance was unregistered is for the fold to say."""
    store = await world.connect()
    position = await begin(store, lease(A))
    await store.commit(TENANT, position.epoch, [Write(b"unregistered", (), (A,))])
    assert await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [Position(position.epoch, 3)]


# -- pulse -------------------------------------------------------------------------------------------------------------


async def test_the_first_pulse_is_no_outage(world: World) -> None:
    """A new store has not been silent."""
    store = await world.connect()
    assert (await store.pulse(TENANT, OUTAGE_MS, False))[:2] == (0, False)
    await begin(store)
    silence, restarted, _ = await store.pulse(TENANT, OUTAGE_MS, False)
    assert (silence < OUTAGE_MS, restarted) == (True, False)


async def test_a_pulse_after_the_first_registration_is_no_outage_either(world: World) -> None:
    """A tenant's first event and its first pulse come in any order."""
    store = await world.connect()
    position = await begin(store, pulse=False)
    silence, restarted, _ = await store.pulse(TENANT, OUTAGE_MS, False)
    assert (0 <= silence < 10_000, restarted) == (True, False)
    assert await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [position.next()]


@pytest.mark.parametrize("age_ms", [OUTAGE_MS + 10_000, -OUTAGE_MS - 60_000], ids=["older", "of the future"])
async def test_an_older_log_without_a_pulse_has_lost_it(world: World, age_ms: int) -> None:
    """A tenant whose events are of long ago has had pulses; where they went, leases may have gone too."""
    store = await world.connect()
    epoch = await world.now_ms() - age_ms
    await store.resume_history(TENANT, ORIGIN, epoch, [b"restored"])
    for _ in range(2):
        silence, restarted, _ = await store.pulse(TENANT, OUTAGE_MS, False)
        # Nobody is known to have written since the log began.
        assert (0 <= silence - age_ms < 10_000, restarted) == (True, True)
        with pytest.raises(OutageSuspected):
            await store.expire(TENANT, epoch, [proposal(A)], OUTAGE_MS)
    await store.rearm(TENANT, [])
    await store.pulse(TENANT, OUTAGE_MS, True)
    assert await store.expire(TENANT, epoch, [proposal(A)], OUTAGE_MS) == [Position(epoch, 2)]


async def test_a_pulse_in_time_starts_the_silence_anew(world: World) -> None:
    """Replicas that pulse often enough never suspect an outage."""
    one, other = await world.connect(), await world.connect()
    await one.pulse(TENANT, OUTAGE_MS, False)
    await world.move_pulse(TENANT, OUTAGE_MS - 10_000)
    silence = (await other.pulse(TENANT, OUTAGE_MS, False)).silence_ms
    assert OUTAGE_MS - 10_000 <= silence <= OUTAGE_MS
    assert (await one.pulse(TENANT, OUTAGE_MS, False)).silence_ms < 10_000


@pytest.mark.parametrize("moved_ms", [OUTAGE_MS + 1, -2 * OUTAGE_MS], ids=["silent", "clock set back"])
async def test_after_an_outage_the_silence_lasts_until_a_replica_resumes(world: World, moved_ms: int) -> None:
    """No replica may expire anybody before one has given every provider a new lease."""
    one, other = await world.connect(), await world.connect()
    position = await begin(one)
    await world.move_pulse(TENANT, moved_ms)
    for store in (one, other, one):
        assert abs((await store.pulse(TENANT, OUTAGE_MS, False)).silence_ms) > OUTAGE_MS
        with pytest.raises(OutageSuspected):
            await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS)
    await other.rearm(TENANT, [lease(B)])
    assert abs((await one.pulse(TENANT, OUTAGE_MS, False)).silence_ms) > OUTAGE_MS
    assert abs((await other.pulse(TENANT, OUTAGE_MS, True)).silence_ms) > OUTAGE_MS
    assert abs((await one.pulse(TENANT, OUTAGE_MS, False)).silence_ms) <= OUTAGE_MS
    assert await one.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [position.next()]


async def test_a_store_that_was_started_anew_is_told_until_a_replica_resumes(world: World) -> None:
    """However short the silence: every replica must know that leases may be missing."""
    one, other = await world.connect(), await world.connect()
    position = await begin(one)
    before = (await one.pulse(TENANT, OUTAGE_MS, False)).run
    assert before == (await other.pulse(TENANT, OUTAGE_MS, False)).run
    await world.restart()
    for store in (one, other, one):
        silence, restarted, run = await store.pulse(TENANT, OUTAGE_MS, False)
        assert (silence <= OUTAGE_MS, restarted) == (True, True)
        assert run
    await other.rearm(TENANT, [lease(B)])
    assert (await other.pulse(TENANT, OUTAGE_MS, False)).restarted
    assert (await other.pulse(TENANT, OUTAGE_MS, True)).restarted
    assert not (await one.pulse(TENANT, OUTAGE_MS, False)).restarted
    assert await one.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [position.next()]
    # And so again, each time.
    await world.restart()
    assert (await one.pulse(TENANT, OUTAGE_MS, False)).restarted


@pytest.mark.parametrize("fault", ["silence", "restart"])
@pytest.mark.parametrize(
    "rearmed_ms", [None, OUTAGE_MS + 1, -2 * OUTAGE_MS], ids=["never", "too long ago", "clock set back"]
)
async def test_a_resume_counts_only_when_leases_were_rearmed_just_now(
    world: World, fault: str, rearmed_ms: int | None
) -> None:
    """A replica that stalled between re-arming and resuming would have everybody expired whom it was to protect."""
    store = await world.connect()
    position = await begin(store)
    if rearmed_ms is not None:
        await store.rearm(TENANT, [lease(B)])
        await world.move_rearming(TENANT, rearmed_ms)
    await (world.move_pulse(TENANT, 2 * OUTAGE_MS) if fault == "silence" else world.restart())
    for _ in range(2):
        await store.pulse(TENANT, OUTAGE_MS, True)
        with pytest.raises(OutageSuspected):
            await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS)
    await store.rearm(TENANT, [])
    await store.pulse(TENANT, OUTAGE_MS, True)
    assert await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS) == [position.next()]


async def test_a_resume_where_nothing_was_amiss_is_a_pulse(world: World) -> None:
    """Another replica was faster to resume; the slower one does no harm."""
    store = await world.connect()
    await begin(store)
    await world.move_pulse(TENANT, OUTAGE_MS - 10_000)
    await store.pulse(TENANT, OUTAGE_MS, True)
    assert (await store.pulse(TENANT, OUTAGE_MS, False)).silence_ms < 10_000


async def test_reviving_one_lease_is_no_rearming_of_all(world: World) -> None:
    """A late heartbeat in the middle of an outage must not let a replica resume without the other leases."""
    store = await world.connect()
    position = await begin(store)
    await world.move_pulse(TENANT, 2 * OUTAGE_MS)
    assert await store.revive(TENANT, position, [lease(A)])
    await store.beat(TENANT, [lease(A)], "r1")
    await store.pulse(TENANT, OUTAGE_MS, True)
    with pytest.raises(OutageSuspected):
        await store.expire(TENANT, position.epoch, [proposal(B)], OUTAGE_MS)
    assert not await store.rearm(TENANT, [], going_on_ms=OUTAGE_MS)


async def two_parts(world: World) -> tuple[Store, Tenant]:
    """A store, and a tenant that is in another part of it than `TENANT`."""
    store, other = await world.connect(), Tenant("other", "project")
    if store.part(other) == store.part(TENANT):
        pytest.skip("this store has one part")
    return store, other


async def test_the_rearming_of_one_part_resumes_no_other(world: World) -> None:
    """The leases of another shard have not been re-armed by that."""
    store, other = await two_parts(world)
    position = await begin(store)
    await store.rearm(other, [lease(B)])
    await world.restart()
    await store.pulse(TENANT, OUTAGE_MS, True)
    with pytest.raises(OutageSuspected):
        await store.expire(TENANT, position.epoch, [proposal(A)], OUTAGE_MS)
    assert not await store.rearm(TENANT, [], going_on_ms=OUTAGE_MS)


async def test_each_part_has_a_pulse_of_its_own(world: World) -> None:
    """Tenants may live on different shards, of which one was away."""
    store, other = await two_parts(world)
    await store.pulse(TENANT, OUTAGE_MS, False)
    await store.pulse(other, OUTAGE_MS, False)
    await world.move_pulse(TENANT, 2 * OUTAGE_MS)
    assert (await store.pulse(TENANT, OUTAGE_MS, False)).silence_ms > OUTAGE_MS
    assert (await store.pulse(other, OUTAGE_MS, False)).silence_ms < OUTAGE_MS
    await world.restart()
    for tenant in (TENANT, other):
        assert (await store.pulse(tenant, OUTAGE_MS, False)).restarted
    await store.rearm(other, [])
    await store.pulse(other, OUTAGE_MS, True)
    assert (await store.pulse(TENANT, OUTAGE_MS, False)).restarted
    assert not (await store.pulse(other, OUTAGE_MS, False)).restarted


async def test_all_tenants_of_a_part_have_one_pulse(world: World) -> None:
    """Tenants on one server are silent together: what holds for the one that stands for them holds for all."""
    store = await world.connect()
    tenant = Tenant("other", "project")
    part = store.part(tenant)
    assert store.part(part) == part
    (position,) = await store.commit(tenant, 0, [Write(b"registered", (lease(A, SHORT_MS),))])
    assert position is not None
    await store.pulse(part, OUTAGE_MS, False)
    await world.let_lapse(tenant, A)
    await world.move_pulse(part, 2 * OUTAGE_MS)
    with pytest.raises(OutageSuspected):
        await store.expire(tenant, position.epoch, [proposal(A)], OUTAGE_MS)
    assert await store.rearm(tenant, [])
    assert await store.rearm(part, [], going_on_ms=OUTAGE_MS)
    await store.pulse(part, OUTAGE_MS, True)
    assert await store.expire(tenant, position.epoch, [proposal(A)], OUTAGE_MS) == [position.next()]


async def test_the_heads_of_many_tenants_are_read_together(world: World) -> None:
    """In any order, also of tenants that do not exist and twice of the same."""
    store = await world.connect()
    tenants = [Tenant(f"d{number}", "ü}{") for number in range(5)]
    written = {}
    for tenant in tenants[1:4]:
        (written[tenant],) = await store.commit(tenant, 0, [Write(b"e")])
    asked = [*reversed(tenants), tenants[2]]
    assert await store.heads(asked) == [written.get(tenant, ORIGIN) for tenant in asked]
    assert await store.heads([]) == []
