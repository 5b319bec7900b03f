"""What stands under the registry's keys is not always what the registry has put there: then a store says whose it is.

And it says so of that tenant alone. What the upkeep does about it is here too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from registry.domain.marks import Mark
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import FORMAT
from registry.domain.tenant import Tenant
from registry.store.damage import Condition, Damaged, KeyName
from registry.store.lease import Lease, LeaseName, Proposal, Write
from registry.store.port import HistoryChanged, Store, Tail
from registry.store.soundness import LIST_TYPES, TYPES
from tests.contract.worlds import World

HARMED = Tenant("team", "harmed/}")
SOUND = Tenant("team", "sound")
LONG_MS = 600_000
LEASE = Lease("s", "i", LONG_MS)
NAME = LeaseName("s", "i")
MARK = Mark(FORMAT, 7, 3, 0, 1, b"\xff", 1, "r")

Call = Callable[[Store, Tenant, Position], Awaitable[Any]]
#: Every call about one tenant, and the keys without which it cannot do its work.
CALLS: dict[str, tuple[Call, set[KeyName]]] = {
    "head": (lambda store, t, at: store.head(t), {"head"}),
    "read": (lambda store, t, at: store.read({SOUND: ORIGIN, t: ORIGIN}, None, 0), {"events"}),
    "follow": (lambda store, t, at: store.read({t: ORIGIN}, None, 1, follow=True), {"events"}),
    "entry": (lambda store, t, at: store.entry(t, at), {"events"}),
    "eldest": (lambda store, t, at: store.eldest(t), {"events"}),
    "commit": (lambda store, t, at: store.commit(t, at.epoch, [Write(b"x")]), {"head", "events"}),
    "leases": (lambda store, t, at: store.commit(t, at.epoch, [Write(None, (LEASE,))]), {"head"}),
    "beat": (lambda store, t, at: store.beat(t, [LEASE], "r"), {"beats"}),
    "revive": (lambda store, t, at: store.revive(t, at, [LEASE]), {"head"}),
    "remaining": (lambda store, t, at: store.remaining(t, [NAME]), set()),
    "renewed": (lambda store, t, at: store.renewed(t, LEASE), {"beats"}),
    # What all tenants of a part share is overwritten, whatever stands there: one tenant must not stop the others.
    "rearm": (lambda store, t, at: store.rearm(t, [LEASE]), set()),
    "pulse": (lambda store, t, at: store.pulse(t, LONG_MS, False), set()),
    "resume": (lambda store, t, at: store.pulse(t, LONG_MS, True), set()),
    "expire": (
        lambda store, t, at: store.expire(t, at.epoch, [Proposal(LeaseName("s", "gone"), "1-1", b"x")], LONG_MS),
        {"head", "events"},
    ),
    "resume_history": (lambda store, t, at: store.resume_history(t, at, at.epoch + 1, [b"x"]), {"head", "events"}),
    "marks": (lambda store, t, at: store.snapshots.marks(t), {"snapshots"}),
    "put_mark": (lambda store, t, at: store.snapshots.put_mark(t, MARK), {"snapshots"}),
    "drop": (lambda store, t, at: store.snapshots.drop(t, MARK), {"snapshots"}),
    "trim": (lambda store, t, at: store.snapshots.trim(t, Position(1, 1)), {"events"}),
    "hold": (lambda store, t, at: store.snapshots.hold(t, "r", 1000), {"holder"}),
    "exchange": (lambda store, t, at: store.snapshots.exchange(t, "r", b"x", 1000), {"states"}),
}


async def begin(store: Store, *tenants: Tenant, events: int = 1) -> Position:
    """Logs with a number of events, a pulse and a lease each; where the last tenant's ends."""
    positions: list[Position | None] = [None]
    for tenant in tenants:
        positions = await store.commit(tenant, 0, [Write(b"event", (LEASE,)) for _ in range(events)])
        await store.rearm(tenant, [LEASE])
        await store.pulse(tenant, LONG_MS, resume=True)
    assert positions[-1] is not None
    return positions[-1]


@pytest.mark.parametrize(("call", "name"), list(itertools.product(CALLS, TYPES)))
async def test_a_key_of_another_type_fails_the_calls_that_need_it_by_its_name(
    world: World, call: str, name: KeyName
) -> None:
    """Anything else would be an error about which nobody knows what to mend, or that ends who asked."""
    store = await world.connect()
    at = await begin(store, SOUND, HARMED)
    heard: list[Damaged] = []
    store.on_damage(heard.append)
    await world.spoil(HARMED, name)
    ask, needs = CALLS[call]
    if call == "expire" and store.part(HARMED) == HARMED:
        needs = needs | {"pulse"}  # its own; elsewhere all tenants have one
    if name in needs:
        with pytest.raises(Damaged) as raised:
            await ask(store, HARMED, at)
        damage = raised.value
        assert (damage.tenant, damage.key, damage.entry) == (HARMED, store.key(HARMED, name), "")
        assert f"{damage.key}: it is a list and must be a {TYPES[name]}" in damage.detail
        assert "registry repair" in damage.detail
        assert heard == [damage]
    else:
        await ask(store, HARMED, at)
        assert heard == []
    await ask(store, SOUND, await store.head(SOUND))


@pytest.mark.parametrize("name", TYPES)
async def test_an_inspection_finds_each_key_of_another_type(world: World, name: KeyName) -> None:
    store = await world.connect()
    await begin(store, SOUND, HARMED)
    await world.spoil(HARMED, name)
    await store.inspect(SOUND)
    with pytest.raises(Damaged) as raised:
        await store.inspect(HARMED)
    assert raised.value.key == store.key(HARMED, name)
    assert (await store.upkeep.condition(HARMED)).wrong == {name: "list"}


async def test_a_log_that_was_written_and_trimmed_by_the_registry_is_sound(world: World) -> None:
    """And so is one that there is not: a tenant that was merely asked about is not damaged."""
    store = await world.connect()
    await store.inspect(HARMED)
    assert await store.upkeep.condition(HARMED) == Condition({}, "", "", "")
    at = await begin(store, HARMED, events=4)
    await store.inspect(HARMED)
    await store.snapshots.trim(HARMED, at)
    await store.resume_history(HARMED, at, at.epoch + 1, [b"x", b"y"])
    await store.inspect(HARMED)
    end = f"{at.epoch + 1}-2"
    assert await store.upkeep.condition(HARMED) == Condition({}, end, end, end)


async def test_a_head_that_is_no_position_is_named(world: World) -> None:
    store = await world.connect()
    at = await begin(store, HARMED)
    await world.write_head(HARMED, "garbage")
    asked: list[Awaitable[Any]] = [store.head(HARMED), store.inspect(HARMED)]
    for ask in asked:
        with pytest.raises(Damaged, match="it holds 'garbage', which is no position") as raised:
            await ask
        assert raised.value.key == store.key(HARMED, "head")
    for change in (
        store.commit(HARMED, at.epoch, [Write(b"x")]),
        store.expire(HARMED, at.epoch, [Proposal(LeaseName("s", "gone"), "1-1", b"x")], LONG_MS),
        store.resume_history(HARMED, at, at.epoch + 1, [b"x"]),
    ):
        with pytest.raises(HistoryChanged):
            await change
    assert await store.revive(HARMED, at, [LEASE]) is False
    assert len((await store.read({HARMED: ORIGIN}, None, 0)).events[HARMED]) == 1


@pytest.mark.parametrize(
    ("sequence", "said"),
    [(2, r"events, entry \d+-3: the entry stands beyond the log's head \d+-2"), (4, r"says \d+-4, .* ends at \d+-3")],
)
async def test_a_head_beside_the_end_of_the_log_is_found(world: World, sequence: int, said: str) -> None:
    """They change in one step: there is no moment in which they differ."""
    store = await world.connect()
    at = await begin(store, HARMED, events=3)
    await world.write_head(HARMED, Position(at.epoch, sequence).text())
    with pytest.raises(Damaged, match=said):
        await store.inspect(HARMED)


async def test_a_head_that_is_missing_is_found(world: World) -> None:
    store = await world.connect()
    at = await begin(store, HARMED)
    await store.upkeep.forget(HARMED, "head")
    assert await store.head(HARMED) == ORIGIN
    with pytest.raises(Damaged, match=f"it is missing, and the log ends at {at.text()}"):
        await store.inspect(HARMED)


async def test_an_entry_beyond_the_head_is_named_and_stops_commits(world: World) -> None:
    """`XADD … *` by hand: its id is beyond all that the registry gives, so that it can append nothing more."""
    store = await world.connect()
    at = await begin(store, HARMED)
    foreign = Position(at.epoch + 5, 0)
    await world.put_entry(HARMED, foreign, None)
    assert (await store.read({HARMED: at}, None, 0)).events[HARMED] == [(foreign, b"")]
    assert await store.entry(HARMED, foreign) == b""
    for ask in (store.inspect(HARMED), store.commit(HARMED, at.epoch, [Write(b"x")])):
        with pytest.raises(Damaged, match="stands beyond the log's head") as raised:
            await ask
        assert (raised.value.key, raised.value.entry) == (store.key(HARMED, "events"), foreign.text())
    await world.delete_entry(HARMED, foreign)
    with pytest.raises(Damaged, match="nothing can be appended"):
        await store.commit(HARMED, at.epoch, [Write(b"x")])
    with pytest.raises(Damaged, match="nothing can be appended"):
        await store.inspect(HARMED)


async def test_an_end_of_the_log_that_was_deleted_is_found(world: World) -> None:
    store = await world.connect()
    at = await begin(store, HARMED, events=2)
    await world.delete_entry(HARMED, at)
    with pytest.raises(Damaged, match=rf"head: it says \d+-2, and the log ends at {at.epoch}-1"):
        await store.inspect(HARMED)
    await world.delete_entry(HARMED, Position(at.epoch, 1))
    with pytest.raises(Damaged, match=r"the log is empty, and its head says"):
        await store.inspect(HARMED)


async def test_a_log_that_is_none_does_not_keep_the_others_from_being_read(world: World) -> None:
    """One read asks for all of them. The damage names the one without which it works."""
    store = await world.connect()
    at = await begin(store, HARMED, SOUND)
    await world.spoil(HARMED, "events")
    for block_ms, follow in ((0, False), (1, True)):
        with pytest.raises(Damaged) as raised:
            await store.read({HARMED: ORIGIN, SOUND: ORIGIN}, "", block_ms, follow)
        assert raised.value.tenant == HARMED
        assert (await store.read({SOUND: ORIGIN}, "", block_ms, follow)).events[SOUND] == [(at, b"event")]


async def test_a_read_of_nothing_takes_its_time(world: World) -> None:
    """Where all is damaged nothing is left to be asked for; a reader must neither fail nor turn in circles."""
    store = await world.connect()
    began = time.monotonic()
    assert await store.read({}, None, 50, follow=True) == Tail({}, [], "")
    assert time.monotonic() - began >= 0.05


# -- the list of tenants -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LIST_TYPES)
async def test_a_list_of_tenants_of_another_type_is_named(world: World, name: KeyName) -> None:
    """Logs are read all the same, and of the two places in which the names stand the other one still tells them."""
    store = await world.connect()
    await store.add_tenant(SOUND)
    at = await begin(store, SOUND)
    await world.spoil(None, name)
    with pytest.raises(Damaged) as raised:
        await store.add_tenant(HARMED)
    assert (raised.value.tenant, raised.value.key) == (None, store.key(None, name))
    assert (await store.read({SOUND: ORIGIN}, None, 0)).events[SOUND] == [(at, b"event")]
    if name == "tenants":
        assert (await store.read({}, "", 0)).tenants == [SOUND]
        with pytest.raises(Damaged):
            await store.tenants()
    else:
        assert await store.tenants() == [SOUND]
        with pytest.raises(Damaged):
            await store.read({SOUND: ORIGIN}, "", 0)


async def test_an_announcement_of_nobody_is_named(world: World) -> None:
    store = await world.connect()
    await store.add_tenant(SOUND)
    await world.announce_nobody()
    await store.add_tenant(HARMED)
    with pytest.raises(Damaged, match="it announces no tenant") as raised:
        await store.read({}, "", 0)
    assert (raised.value.tenant, raised.value.key) == (None, store.key(None, "tenants_log"))
    assert raised.value.entry
    assert set(await store.tenants()) == {SOUND, HARMED}


# -- upkeep ------------------------------------------------------------------------------------------------------------


async def test_tenants_are_found_by_their_logs(world: World) -> None:
    """Whatever the list says; what only has leases or a pulse is none."""
    store = await world.connect()
    await begin(store, HARMED, SOUND)
    await store.beat(Tenant("only", "beats"), [LEASE], "r")
    assert set(await store.upkeep.found()) == {HARMED, SOUND}
    await world.spoil(None, "tenants")
    await world.spoil(None, "tenants_log")
    await store.upkeep.rewrite_tenants([HARMED, SOUND])
    assert set(await store.tenants()) == {HARMED, SOUND}
    assert set((await store.read({}, "", 0)).tenants) == {HARMED, SOUND}
    await store.add_tenant(HARMED)
    await store.add_tenant(Tenant("new", "one"))
    assert len((await store.read({}, "", 0)).tenants) == 3


@pytest.mark.parametrize("name", TYPES)
async def test_a_key_that_was_forgotten_is_sound(world: World, name: KeyName) -> None:
    store = await world.connect()
    await begin(store, HARMED)
    await world.spoil(HARMED, name)
    await store.upkeep.forget(HARMED, name)
    assert (await store.upkeep.condition(HARMED)).wrong == {}


@pytest.mark.parametrize("keep", [0, 2, 4])
@pytest.mark.parametrize("far", [0, 10**15])
async def test_a_cut_drops_the_end_and_begins_an_epoch(world: World, keep: int, far: int) -> None:
    """Also behind an entry whose id is beyond every epoch that begins in this century."""
    store = await world.connect()
    at = await begin(store, HARMED, events=4)
    await world.put_entry(HARMED, Position(at.epoch + 1 + far, 7), None)
    seen = await store.upkeep.condition(HARMED)
    await store.upkeep.cut(HARMED, seen, Position(at.epoch, keep), at.epoch + 2, [b"x", b"y"])
    epoch = at.epoch + 2
    kept = [(Position(at.epoch, n), b"event") for n in range(1, keep + 1)]
    begun = [(Position(epoch, 1), b"x"), (Position(epoch, 2), b"y")]
    assert list((await store.read({HARMED: ORIGIN}, None, 0)).events[HARMED]) == kept + begun
    await store.inspect(HARMED)
    assert await store.commit(HARMED, epoch, [Write(b"z")]) == [Position(epoch, 3)]


@pytest.mark.parametrize("name", ["events", "head"])
async def test_a_cut_takes_the_place_of_whatever_stands_there(world: World, name: KeyName) -> None:
    store = await world.connect()
    at = await begin(store, HARMED)
    await world.spoil(HARMED, name)
    seen = await store.upkeep.condition(HARMED)
    await store.upkeep.cut(HARMED, seen, at, at.epoch + 1, [b"x"])
    kept = [] if name == "events" else [(at, b"event")]
    assert list((await store.read({HARMED: ORIGIN}, None, 0)).events[HARMED]) == [
        *kept,
        (Position(at.epoch + 1, 1), b"x"),
    ]
    await store.inspect(HARMED)


async def test_a_cut_without_events_leaves_no_log(world: World) -> None:
    """Then replicas that hold the tenant seed it, as after any loss of all of it."""
    store = await world.connect()
    at = await begin(store, HARMED)
    await world.write_head(HARMED, "garbage")
    await store.upkeep.cut(HARMED, await store.upkeep.condition(HARMED), ORIGIN, at.epoch + 1, [])
    assert await store.head(HARMED) == ORIGIN
    assert (await store.read({HARMED: ORIGIN}, None, 0)).events == {}


async def test_a_cut_of_a_log_that_has_changed_does_nothing(world: World) -> None:
    """What was decided on is not what is there any more."""
    store = await world.connect()
    at = await begin(store, HARMED)
    await world.write_head(HARMED, "garbage")
    seen = await store.upkeep.condition(HARMED)
    for change in (world.put_entry(HARMED, at.next(), b"x"), world.write_head(HARMED, "other")):
        await change
        with pytest.raises(HistoryChanged):
            await store.upkeep.cut(HARMED, seen, ORIGIN, at.epoch + 1, [b"x"])
        seen = await store.upkeep.condition(HARMED)
    assert seen == Condition({}, "other", at.next().text(), at.next().text())
