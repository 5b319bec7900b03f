"""Mending: a log that has lost events gets them back, each once, in every order and with failures meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import pytest
from msgspec import structs

from registry.clock import Clock
from registry.domain import recent
from registry.domain.errors import BeforeHistory, StoreUnavailable
from registry.domain.events import (
    DependenciesAdded,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    SchemaPut,
    SchemasReplaced,
    ServicePropertiesSet,
    ServiceUnregistered,
    TagSet,
    TagsReplaced,
    encode_event,
)
from registry.domain.model import Policy, Schema
from registry.domain.position import ORIGIN, Position
from registry.domain.snapshot import take
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import RegistryView
from registry.history.choice import Choice
from registry.history.historian import Historian, PageQuery
from registry.history.past import Past
from registry.projection import mending, rebuilding, restoring
from registry.projection.saving import save
from registry.store import leases
from registry.store.lease import LeaseName, Write
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.usecases.repair import examine, mend
from tests.support.builders import instance, instance_body, instance_registered, microservice, service_registered, stamp
from tests.support.memory_replica import (
    VIRTUAL,
    MemoryReplica,
    append,
    cut,
    digests,
    elapse,
    empty,
    log_of,
    restamped,
    virtual_ms,
)

T = DEFAULT_TENANT
NOW = 1_700_000_000_000
LATER = NOW + 1_000_000
#: The lease of an instance that names no other.
TTL_MS = 120_000

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.fixture
async def server() -> MemoryServer:
    """A log of a service and the instances i1 to i9, at the positions 2 to 10."""
    server = MemoryServer(virtual_ms)
    await append(server, *written(cart(), *(comes(f"i{number}") for number in range(1, 10))))
    return server


@pytest.fixture
def few_remembered(monkeypatch: pytest.MonkeyPatch) -> int:
    """Replicas remember four events only."""
    for module in (recent, restoring):
        monkeypatch.setattr(module, "RECENT_MAX", 4)
    return 4


def cart() -> Event:
    return service_registered(microservice("cart"), chosen=True)


def comes(instance_id: str, host: str = "") -> Event:
    return instance_registered(instance("cart", instance_id, properties={"from": host} if host else {}), chosen=True)


def goes(instance_id: str) -> Event:
    return InstanceUnregistered(service_id="cart", instance_id=instance_id, **stamp()._asdict())


def status(instance_id: str, value: str) -> Event:
    return InstanceStatusSet(service_id="cart", instance_id=instance_id, status=value, **stamp()._asdict())


def written(*events: Event, by: str = "w", at_ms: int = NOW) -> Sequence[Event]:
    return restamped(events, by, at_ms)


async def replicas(server: MemoryServer, *names: str) -> list[MemoryReplica]:
    """Replicas that hold what the log holds now."""
    lanes = [MemoryReplica(server, name) for name in names]
    for lane in lanes:
        await lane.follow()
    return lanes


def ids(view: RegistryView) -> list[str]:
    row = view.services.get("cart")
    return sorted(row.instances) if row is not None else []


def names(server: MemoryServer) -> list[str]:
    """What the log says in order: instances that come, or the kind of whatever else happened; nothing told again."""
    found = []
    for _, event in log_of(server):
        if getattr(event, "retold", []):
            continue
        comes = getattr(event, "instance", None)
        found.append(comes.instance_id if comes is not None else type(event).__name__)
    return found


async def agree(server: MemoryServer, *lanes: MemoryReplica) -> RegistryView:
    """All of them, and a replica that starts now, hold the same; the log is dense and names each event once."""
    for lane in lanes:
        await lane.look()
    fresh = MemoryReplica(server, "fresh")
    await fresh.follow()
    for lane in lanes:
        await lane.follow()
        assert lane.view.position == fresh.view.position
        assert digests(lane.view) == digests(fresh.view)
        assert lane.view.instance_count == fresh.view.instance_count
    log = [event for _, event in log_of(server) if not isinstance(event, HistoryResumed)]
    assert len({recent.event_id(event) for event in log}) == len(log), "an event stands in the log twice"
    for (before, _), (after, _) in zip(log_of(server), log_of(server)[1:], strict=False):
        assert after == before.next() or (after.epoch > before.epoch and after.sequence == 1)
    return fresh.view


NINE = [f"i{number}" for number in range(1, 10)]


# -- a lost tail -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_lost_tail_is_put_back_once_in_order_in_a_new_epoch(server: MemoryServer, at_once: bool) -> None:
    """Acknowledged registrations survive a failover to a server that lacked them, however many replicas notice."""
    lanes = await replicas(server, "a", "b", "c")
    epoch = lanes[0].view.position.epoch
    await cut(server, 6)
    if at_once:
        await asyncio.gather(*(lane.look() for lane in lanes))
    view = await agree(server, *lanes)
    assert ids(view) == NINE
    assert names(server) == ["ServiceRegistered", *NINE[:5], "HistoryResumed", *NINE[5:]]
    assert view.position.epoch > epoch
    assert sum(lane.projector.mending.put_back for lane in lanes) == 4
    assert sum(lane.projector.mending.seeded for lane in lanes) == 0


@pytest.mark.parametrize("others", [1, 4, 7])
async def test_what_others_wrote_before_the_cut_was_noticed_stays(server: MemoryServer, others: int) -> None:
    """A replica that starts on the cut log writes at positions that the lost events had: both are to survive."""
    a, b = await replicas(server, "a", "b")
    await cut(server, 6)
    new = [f"n{number}" for number in range(others)]
    await append(server, *written(*map(comes, new), by="x", at_ms=LATER))
    await asyncio.gather(a.after_a_break(), b.after_a_break())
    assert ids(await agree(server, a, b)) == sorted([*NINE, *new])
    assert names(server) == ["ServiceRegistered", *NINE[:5], *new, "HistoryResumed", *NINE[5:]]


async def test_a_replica_that_lost_nothing_does_not_mend(server: MemoryServer) -> None:
    """One that was behind the cut has nothing to give, and must not begin an epoch for it."""
    b = MemoryReplica(server, "b")
    data = server.of(T)
    events, head = list(data.events), data.head
    del data.events[4:]
    await b.follow()
    data.events, data.head = events, head
    (a,) = await replicas(server, "a")
    await cut(server, 6)
    await b.look()
    assert b.view.position.sequence == 6
    assert b.projector.stats().rebuilt == 0
    assert ids(await agree(server, a, b)) == NINE
    assert b.projector.mending.put_back == 0


async def test_a_replica_between_the_cut_and_the_end_ends_where_the_others_do(server: MemoryServer) -> None:
    """It holds some of what was lost, at positions of the broken epoch."""
    (b,) = await replicas(server, "b")
    await append(server, *written(comes("j1"), comes("j2"), by="v"))
    (a,) = await replicas(server, "a")
    await cut(server, 6)
    await b.look()  # the one that holds less is the first
    assert names(server)[-1] == "i9"
    assert ids(await agree(server, a, b)) == sorted([*NINE, "j1", "j2"])
    assert (a.projector.mending.put_back, b.projector.mending.put_back) == (2, 4)


async def test_who_was_told_more_than_anybody_remembers_is_told_that_it_is_not_kept(server: MemoryServer) -> None:
    """Nobody can tell that reader what became of the rest; one that was told what is remembered goes on."""
    (a,) = await replicas(server, "a")
    await append(server, *written(comes("j1"), comes("j2"), by="v"))
    told = server.of(T).head
    await cut(server, 6)
    await a.look()
    historian = Historian(Past(MemoryStore(server)))
    query = PageQuery(Choice(), newest_first=False)
    assert await historian.page(T, structs.replace(query, after=Position(told.epoch, told.sequence - 2)))
    with pytest.raises(BeforeHistory, match="cannot tell it again"):
        await historian.page(T, structs.replace(query, after=told))


async def test_one_that_comes_back_later_puts_back_what_it_alone_holds(server: MemoryServer) -> None:
    """A partition that outlasts the mending: what it alone holds is not lost, and nothing comes twice."""
    a, b = await replicas(server, "a", "b")
    await append(server, *written(comes("j1"), goes("i2"), by="v"))
    (late,) = await replicas(server, "late")
    await cut(server, 6)
    await a.look()
    await b.look()
    await append(server, *written(comes("k1"), by="x", at_ms=LATER))
    assert ids(await agree(server, late, a, b)) == sorted({*NINE, "j1", "k1"} - {"i2"})
    assert late.projector.mending.put_back == 2
    assert names(server).count("HistoryResumed") == 2


async def test_a_tail_that_is_lost_again_is_put_back_again(server: MemoryServer) -> None:
    """Each failover may lose its own tail, that of the mending included."""
    a, b = await replicas(server, "a", "b")
    for length in (6, 8, 3, 7, 10):
        await cut(server, length)
        assert ids(await agree(server, b, a)) == NINE


async def test_only_the_beginning_of_an_epoch_was_lost(server: MemoryServer) -> None:
    """Then nothing is to be put back, and nothing is lost by that either."""
    a, b = await replicas(server, "a", "b")
    head = server.of(T).head
    resumed = HistoryResumed(after=head.text(), at_ms=NOW, replica="r", number=0)
    await a.store.resume_history(T, head, head.epoch + 1, [encode_event(resumed)])
    await a.follow()
    await cut(server, 10)
    assert ids(await agree(server, a, b)) == NINE


async def test_views_answer_as_before_while_the_log_is_mended(server: MemoryServer) -> None:
    """No list is short for a moment: consumers would drop providers that are well."""
    a, b = await replicas(server, "a", "b")
    await cut(server, 2)
    seen: list[list[str]] = []

    async def note(_: str) -> None:
        seen.append(ids(a.view))

    a.store.before = note
    await a.look()
    assert len(seen) > 4
    assert all(found == NINE for found in seen)
    await agree(server, a, b)


async def test_leases_are_whole_before_the_new_epoch_begins(server: MemoryServer) -> None:
    """A replica that reads the put-back instances must not find them without a lease, and expire them a second time."""
    a, b = await replicas(server, "a", "b")
    await append(server, *written(comes("n1"), by="v"))
    await cut(server, 6)
    at_begin: list[list[int]] = []
    probe = MemoryReplica(server, "probe")

    async def ask(name: str) -> None:
        if name == "resume_history":
            at_begin.append(await probe.store.remaining(T, [LeaseName("cart", name) for name in NINE]))

    a.store.before = ask
    await a.look()
    assert at_begin == [[TTL_MS] * 9]
    await agree(server, a, b)


async def test_a_silence_amid_the_rearming_begins_it_anew(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases re-armed before a silence of the store may have lapsed in it."""
    monkeypatch.setattr(leases, "REARM_MAX", 2)
    (a,) = await replicas(server, "a")
    await cut(server, 6)
    rearmed = 0

    async def stall(name: str) -> None:
        nonlocal rearmed
        rearmed += name == "rearm"
        if rearmed == 3:
            rearmed += 1
            await elapse(3)

    a.store.before = stall
    await a.look()
    left = await a.store.remaining(T, [LeaseName("cart", name) for name in NINE])
    assert min(left) == TTL_MS
    assert a.store.calls.count("resume_history") == 1
    await agree(server, a)


async def test_a_write_that_waits_to_be_read_back_is_answered_by_the_mended_log(server: MemoryServer) -> None:
    """It was appended behind events that its replica had not read; then the log lost all of them."""
    (a,) = await replicas(server, "a")
    await append(server, *written(comes("n1"), by="v"))
    own = asyncio.create_task(a.instances.register(T, "cart", instance_body(instance_id="own"), "t"))
    while server.of(T).head.sequence < 12:  # noqa: ASYNC110 - the virtual loop has no event for it
        await asyncio.sleep(0)
    (b,) = await replicas(server, "b")
    await cut(server, 10)
    await b.look()
    await a.look()
    assert await own == "own"
    assert ids(await agree(server, a, b)) == sorted([*NINE, "n1", "own"])


# -- what is left out --------------------------------------------------------------------------------------------------


def policy(name: str) -> Event:
    return PolicySaved(policy=Policy(name=name, id="p"), **stamp()._asdict())


def schema(schema_id: str, text: str = "{}") -> Event:
    return SchemaPut(service_id="cart", schema_id=schema_id, schema=text, **stamp()._asdict())


def schemas(*schema_ids: str) -> Event:
    contents = [Schema(schema_id, "", "new") for schema_id in schema_ids]
    return SchemasReplaced(service_id="cart", schemas=contents, **stamp()._asdict())


def tags(**values: str) -> Event:
    return TagsReplaced(service_id="cart", tags=values, **stamp()._asdict())


def tag(key: str, value: str) -> Event:
    return TagSet(service_id="cart", key=key, value=value, **stamp()._asdict())


def service_properties(value: str) -> Event:
    return ServicePropertiesSet(service_id="cart", properties={"k": value}, **stamp()._asdict())


def properties(instance_id: str, value: str) -> Event:
    content = {"k": value}
    return InstancePropertiesSet(service_id="cart", instance_id=instance_id, properties=content, **stamp()._asdict())


def found(*providers: str) -> Event:
    keys = [("", "shop", provider) for provider in providers]
    return DependenciesAdded(consumer_id="cart", providers=keys, **stamp()._asdict())


def lapsed(instance_id: str, sequence: int) -> Event:
    registered = Position(NOW, sequence).text()
    return InstanceExpired(service_id="cart", instance_id=instance_id, registered=registered, **stamp()._asdict())


async def mended(server: MemoryServer, lost: Sequence[Event], meanwhile: Sequence[Event]) -> list[Event]:
    """What is put back of lost events when others have written meanwhile."""
    await append(server, *written(*lost, by="v", at_ms=NOW + 10_000))
    a, b = await replicas(server, "a", "b")
    await cut(server, 10)
    await append(server, *written(*meanwhile, by="x", at_ms=LATER))
    await asyncio.gather(a.after_a_break(), b.after_a_break())
    await agree(server, a, b)
    return [event for _, event in log_of(server) if event.replica == "v"]


@pytest.mark.parametrize(
    ("lost", "meanwhile"),
    [
        (status("i1", "DOWN"), status("i1", "UP")),
        (status("i1", "DOWN"), comes("i1", "new")),
        (status("i1", "DOWN"), goes("i1")),
        (properties("i1", "old"), properties("i1", "new")),
        (properties("i1", "old"), comes("i1", "new")),
        (comes("j", "old"), comes("j", "new")),
        (goes("i1"), comes("i1", "new")),
        (comes("i1", "old"), goes("i1")),
        (policy("old"), policy("new")),
        (policy("old"), PolicyDeleted(policy_id="p", **stamp()._asdict())),
        (schema("x", "old"), schema("x", "new")),
        (schema("x", "old"), schemas("x")),
        (schemas("x"), schemas("y")),
        (tags(a="old"), tags(a="new")),
        (service_properties("old"), service_properties("new")),
        (ServiceUnregistered(service_id="cart", force=True, **stamp()._asdict()), cart()),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_what_was_written_anew_meanwhile_is_not_overwritten(
    server: MemoryServer, lost: Event, meanwhile: Event
) -> None:
    """A client that heard nothing wrote it again, perhaps otherwise: what it wrote last stands."""
    assert await mended(server, [lost], [meanwhile]) == []


async def test_a_lapse_is_not_put_back(server: MemoryServer) -> None:
    """The instance may have beaten since then, and was told that all is well: only its lease may end it."""
    assert await mended(server, [lapsed("i1", 2)], [comes("i2", "new")]) == []


async def test_a_lapse_meanwhile_speaks_against_no_registration(server: MemoryServer) -> None:
    """The lease of the new registration was lost with it, and the old one ran out: the instance is well."""
    assert len(await mended(server, [comes("i1", "new")], [lapsed("i1", 2)])) == 1


async def test_a_service_that_was_used_meanwhile_does_not_leave_again(server: MemoryServer) -> None:
    """A living instance would go with it."""
    gone = ServiceUnregistered(service_id="cart", force=True, **stamp()._asdict())
    assert await mended(server, [gone], [comes("n")]) == []


@pytest.mark.parametrize(
    ("lost", "meanwhile"),
    [
        (status("i1", "DOWN"), status("i2", "UP")),
        (status("i1", "DOWN"), properties("i1", "new")),
        (comes("j"), comes("k")),
        (comes("i1", "new"), status("i1", "DOWN")),
        (goes("i1"), status("i1", "DOWN")),
        (policy("p"), tags(a="b")),
        (schemas("x", "y"), schema("x", "new")),
        (tags(a="b"), service_properties("new")),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_what_nothing_speaks_against_is_put_back(server: MemoryServer, lost: Event, meanwhile: Event) -> None:
    """To leave out too much would lose what was acknowledged."""
    assert len(await mended(server, [lost], [meanwhile])) == 1


@pytest.mark.parametrize(
    ("lost", "meanwhile"),
    [
        (tag("b", "2"), tag("a", "2")),
        (found("x"), found("y")),
        (tags(a="1", b="2", c="3"), tag("a", "2")),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_a_later_change_of_another_key_speaks_against_nothing(
    server: MemoryServer, lost: Event, meanwhile: Event
) -> None:
    """An acknowledged tag, or what a consumer was recorded to have found, would be lost for a change beside it."""
    await append(server, *written(tags(a="1", b="1"), by="u"))
    await append(server, *written(lost, by="v", at_ms=NOW + 10_000))
    (a,) = await replicas(server, "a")
    await cut(server, 11)
    await append(server, *written(meanwhile, by="x", at_ms=LATER))
    await a.after_a_break()
    assert [event.replica for _, event in log_of(server)].count("v") == 1
    view = (await agree(server, a)).services["cart"]
    if isinstance(meanwhile, TagSet):
        assert view.tags["a"] == "2"
        assert view.tags["b"] == "2" or not isinstance(lost, TagSet)


async def test_a_schema_that_was_removed_meanwhile_does_not_come_back(server: MemoryServer) -> None:
    """The client replaced all of them: what it left out, it removed."""
    assert await mended(server, [schema("x")], [schemas("y")]) == []


@pytest.mark.parametrize("ahead_ms", [0, 300])
async def test_events_before_the_cut_speak_against_nothing_whatever_their_clock(
    server: MemoryServer, ahead_ms: int
) -> None:
    """Two replicas' clocks differ, or both wrote within a millisecond: the log's order says which one was last."""
    before = restamped([status("i1", "DOWN")], "v", NOW + 10_000 + ahead_ms)
    await append(server, *before)
    await append(server, *restamped([status("i1", "OUTOFSERVICE")], "w2", NOW + 10_000))
    (a,) = await replicas(server, "a")
    await cut(server, 11)
    row = (await agree(server, a)).instance("cart", "i1")
    assert row is not None
    assert b"OUTOFSERVICE" in row.body


async def test_a_lapse_that_was_lost_with_its_registration_is_void_and_lapses_again(server: MemoryServer) -> None:
    """Its registration has another position now (decision 6): the instance is there with a lease, not without one."""
    await append(server, *written(comes("j"), by="v"))
    registered = server.of(T).head.sequence
    await append(server, *written(lapsed("j", registered), by="w2", at_ms=NOW + 20_000))
    (a,) = await replicas(server, "a")
    assert "j" not in ids(a.view)
    await cut(server, 10)
    assert "j" in ids(await agree(server, a))
    assert await a.store.remaining(T, [LeaseName("cart", "j")]) == [TTL_MS]


# -- failures ----------------------------------------------------------------------------------------------------------


async def tried(lane: MemoryReplica, number: int, happens: bool) -> bool:
    """Whether a look went through although the call of that number failed; afterwards nothing fails any more."""
    lane.store.fail_call(number, happens)
    try:
        await lane.look()
    except StoreUnavailable:
        return False
    finally:
        lane.store.come_back()
    return True


LOSSES: dict[str, Callable[[MemoryServer], Awaitable[None]]] = {
    "tail": lambda server: cut(server, 6),
    "all": empty,
    "fresh": lambda server: cut(server, 0),
}


@pytest.mark.parametrize("happens", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
async def test_a_failure_at_any_call_leaves_a_log_that_a_later_attempt_completes(loss: str, happens: bool) -> None:
    """The store that has just come back goes away again: nothing is lost by it, and nothing is there twice."""
    number, done = 0, False
    while not done:
        server = MemoryServer(virtual_ms)
        await append(server, *written(cart(), *map(comes, NINE)))
        a, b = await replicas(server, "a", "b")
        await LOSSES[loss](server)
        extra = [] if loss != "fresh" else ["n1"]
        if extra:
            await append(server, *written(cart(), comes("n1"), by="x", at_ms=LATER))
        done = await tried(a, number, happens)
        assert ids(a.view) in (NINE, sorted([*NINE, *extra]))
        assert ids(await agree(server, a, b)) == sorted([*NINE, *extra])
        number += 1
    assert number > 6


async def test_a_log_that_moves_between_reading_and_resuming_is_read_again(server: MemoryServer) -> None:
    """What another replica appended just then stays, before what is put back."""
    a, b = await replicas(server, "a", "b")
    await cut(server, 6)
    moves = iter(["n1", "n2"])

    async def move(name: str) -> None:
        if name == "resume_history" and (new := next(moves, "")):
            await append(server, *written(comes(new), by=f"x-{new}", at_ms=LATER))

    a.store.before = move
    await a.look()
    assert ids(await agree(server, a, b)) == sorted([*NINE, "n1", "n2"])
    assert names(server) == ["ServiceRegistered", *NINE[:5], "n1", "n2", "HistoryResumed", *NINE[5:]]
    assert a.projector.stats().rebuilt == 1


async def test_a_log_that_never_stands_still_is_given_up_for_now(
    server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt ends with an error that is tried again, not with a replica that hangs."""
    monkeypatch.setattr(rebuilding, "REBUILDS_MAX", 3)
    (a,) = await replicas(server, "a")
    await cut(server, 6)

    async def move(name: str) -> None:
        if name == "resume_history":
            await append(server, *written(status("i1", "UP"), by=f"x{len(log_of(server))}", at_ms=LATER))

    a.store.before = move
    with pytest.raises(StoreUnavailable, match="changes faster"):
        await a.look()
    a.store.come_back()
    assert ids(await agree(server, a)) == NINE


# -- a lost log --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
async def test_a_lost_log_is_seeded_by_the_replica_furthest_ahead(server: MemoryServer, order: str) -> None:
    """FLUSHALL: no matter who notices first, the state is that of the one that had seen most."""
    (behind,) = await replicas(server, "c")
    await append(server, *written(comes("j1"), comes("j2"), by="v"))
    lanes = {lane.name: lane for lane in (*await replicas(server, "a", "b"), behind)}
    await empty(server)
    await asyncio.gather(*(lanes[name].look() for name in order))
    view = await agree(server, *lanes.values())
    assert ids(view) == sorted([*NINE, "j1", "j2"])
    assert {name: lane.projector.mending.seeded for name, lane in lanes.items()} == {"a": 0, "b": 1, "c": 0}
    assert names(server) == ["HistoryResumed"]
    assert server.tenants == [T]


async def test_replicas_where_the_seeder_stood_go_on_without_a_replay(server: MemoryServer) -> None:
    """Their views are the state with which the epoch begins; no watcher of theirs has to be told anything."""
    a, b = await replicas(server, "a", "b")
    (seeder,) = await replicas(server, "z")
    await empty(server)
    await seeder.look()
    await a.look()
    await b.look()
    assert [lane.projector.stats().rebuilt for lane in (a, b, seeder)] == [0, 0, 0]
    assert ids(await agree(server, a, b, seeder)) == NINE


async def test_one_that_is_behind_rebuilds_and_one_that_is_ahead_puts_back(server: MemoryServer) -> None:
    """The one furthest ahead may come when another has seeded already."""
    behind, middle = await replicas(server, "x", "y")
    await append(server, *written(comes("j1"), by="v"))
    await middle.follow()
    await append(server, *written(comes("j2"), by="v2"))
    (ahead,) = await replicas(server, "a")
    await empty(server)
    await middle.look()
    await behind.look()
    assert ids(behind.view) == sorted([*NINE, "j1"])
    assert behind.projector.stats().rebuilt == 1
    assert ids(await agree(server, ahead, middle, behind)) == sorted([*NINE, "j1", "j2"])
    assert ahead.projector.mending.put_back == 1


async def test_a_replica_that_claimed_more_and_died_is_not_waited_for_long(server: MemoryServer) -> None:
    """Else a log would stay empty for as long as its claim lasts."""
    (a,) = await replicas(server, "a")
    await empty(server)
    claim = Position(NOW + 1, 10**6).text().encode()
    await a.store.snapshots.exchange(T, mending.CLAIMS + "dead", claim, mending.CLAIM_KEPT_MS)
    began = virtual_ms()
    await a.look()
    assert virtual_ms() - began <= mending.CLAIMS_WAITS_MAX * mending.CLAIMS_WAIT_S * 1000 + 1000
    assert a.projector.mending.seeded == 1


async def test_what_is_no_claim_keeps_nobody_from_seeding(server: MemoryServer) -> None:
    """What replicas say of their views is left in the same place."""
    (a,) = await replicas(server, "a")
    await empty(server)
    for name, said in {"x": b"\xff\xfe", "y": b"", "z": b"9-"}.items():
        await a.store.snapshots.exchange(T, mending.CLAIMS + name, said, mending.CLAIM_KEPT_MS)
    await a.look()
    assert a.projector.mending.seeded == 1


async def test_nobody_seeds_while_another_does(server: MemoryServer) -> None:
    """To write a snapshot of a million instances takes a while; two at once would take longer."""
    (a,) = await replicas(server, "a")
    await empty(server)
    await a.store.snapshots.hold(T, "other", 5_000)
    began = virtual_ms()
    await a.look()
    assert virtual_ms() - began >= 5_000
    assert a.projector.mending.seeded == 1


async def test_a_seeded_log_has_every_lease_before_it_begins(server: MemoryServer) -> None:
    """An emptied store has none: the first to read the seeded log would expire everybody."""
    (a,) = await replicas(server, "a")
    await empty(server)
    left: list[list[int]] = []
    probe = MemoryReplica(server, "probe")

    async def ask(name: str) -> None:
        if name == "resume_history":
            left.append(await probe.store.remaining(T, [LeaseName("cart", name) for name in NINE]))

    a.store.before = ask
    await a.look()
    assert left == [[TTL_MS] * 9]


async def test_writes_go_on_after_seeding(server: MemoryServer) -> None:
    """In the new epoch, through every replica."""
    a, b = await replicas(server, "a", "b")
    await empty(server)
    await a.look()
    for lane in (b, a):
        await lane.follow()
        await lane.instances.register(T, "cart", instance_body(instance_id=f"n-{lane.name}"), "t")
    assert ids(await agree(server, a, b)) == sorted([*NINE, "n-a", "n-b"])


async def test_a_write_upon_an_emptied_store_begins_no_history_of_its_own(server: MemoryServer) -> None:
    """Without the instances that are there. It may be refused; once the log is seeded it goes through."""
    (a,) = await replicas(server, "a")
    await empty(server)
    with contextlib.suppress(StoreUnavailable):
        await a.instances.register(T, "cart", instance_body(instance_id="n1"), "t")
    await a.follow()
    await a.instances.register(T, "cart", instance_body(instance_id="n1"), "t")
    assert ids(await agree(server, a)) == sorted([*NINE, "n1"])


@pytest.mark.parametrize("remembered", [100, 4])
async def test_a_history_that_a_fresh_replica_began_is_merged(
    server: MemoryServer, remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knew of nothing and took writes; those and what was here before are both acknowledged."""
    for module in (recent, restoring):
        monkeypatch.setattr(module, "RECENT_MAX", remembered)
    a, b = await replicas(server, "a", "b")
    await empty(server)
    await append(server, *written(cart(), comes("n1"), by="x", at_ms=LATER))
    await a.look()
    assert ids(await agree(server, a, b)) == sorted([*NINE, "n1"])
    assert sum(lane.projector.mending.seeded for lane in (a, b)) == (1 if remembered == 4 else 0)


@pytest.mark.parametrize("begun_anew", [False, True])
async def test_two_that_seed_at_once_leave_one_snapshot_that_can_be_read(
    server: MemoryServer, few_remembered: int, begun_anew: bool
) -> None:
    """A log that goes on from a snapshot which is gone can be started from by nobody."""
    a, b = await replicas(server, "a", "b")
    await cut(server, 0 if begun_anew else 3)
    if begun_anew:
        await append(server, *written(cart(), comes("n1"), by="x", at_ms=LATER))
    await asyncio.gather(a.look(), b.look())
    assert ids(await agree(server, a, b)) == sorted([*NINE, "n1"] if begun_anew else NINE)


async def test_more_lost_than_is_remembered_is_seeded(server: MemoryServer, few_remembered: int) -> None:
    """A backup of yesterday: the events are gone, the state is not."""
    a, b = await replicas(server, "a", "b")
    await cut(server, 3)
    await a.look()
    assert ids(await agree(server, a, b)) == NINE
    assert a.projector.mending.seeded + b.projector.mending.seeded == 1


async def test_as_much_lost_as_is_remembered_is_put_back(server: MemoryServer, few_remembered: int) -> None:
    """The edge: the log holds the event before the eldest that is remembered, and no more."""
    (a,) = await replicas(server, "a")
    await cut(server, 10 - few_remembered)
    assert ids(await agree(server, a)) == NINE
    assert (a.projector.mending.put_back, a.projector.mending.seeded) == (4, 0)


# -- what is no tail ---------------------------------------------------------------------------------------------------


async def lose_in_the_middle(server: MemoryServer, index: int) -> None:
    """An entry is lost, and the log is repaired."""
    store, clock = MemoryStore(server), Clock(virtual_ms, virtual_ms)
    data = server.of(T)
    data.last = data.head
    del data.events[index]
    (finding,) = [finding async for finding in examine(store, clock)]
    await mend(store, finding)


async def test_what_was_lost_in_the_middle_comes_back_where_it_stood(server: MemoryServer) -> None:
    """What was done to it later, and stands in the log without effect, has its effect again; what came since stays."""
    await append(server, *written(status("i3", "DOWN"), by="v"))
    (a,) = await replicas(server, "a")
    await lose_in_the_middle(server, 3)
    await append(server, *written(comes("new"), by="x", at_ms=LATER))
    view = await agree(server, a)
    assert ids(view) == sorted([*NINE, "new"])
    assert b'"status":"DOWN"' in view.services["cart"].instances["i3"].body


async def test_what_was_lost_in_the_middle_comes_back_though_the_log_never_stands_still(server: MemoryServer) -> None:
    """Then there is no time for a snapshot, and it is appended behind what came later."""
    (a,) = await replicas(server, "a")
    await lose_in_the_middle(server, 3)
    others = count()

    async def write(name: str) -> None:
        if name == "exchange":
            await append(server, *written(comes(f"n{next(others):02}"), by=f"x{next(others)}", at_ms=LATER))

    a.store.after = write
    await a.look()
    a.store.come_back()
    assert next(others) > 0
    assert ids(await agree(server, a))[: len(NINE)] == NINE


async def test_a_log_that_cannot_be_merged_wins_and_a_line_says_so(
    server: MemoryServer, few_remembered: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Another registry's backup with a long history: an operator has to learn what was given up."""
    (a,) = await replicas(server, "a")
    await empty(server)
    others = [f"o{number}" for number in range(20)]
    await append(server, *written(cart(), *map(comes, others), by="x", at_ms=LATER))
    assert ids(await agree(server, a)) == sorted(others)
    (line,) = [record for record in caplog.records if record.__dict__.get("action") == "history_given_up"]
    assert "is given up" in line.getMessage()


async def test_a_replay_that_fails_again_and_again_is_one_fact(
    server: MemoryServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The store goes away in the midst of it: the log says once that the history changed, once that it is replayed."""
    (a,) = await replicas(server, "a")
    await cut(server, 8)
    a.store.go_away()
    for _ in range(5):
        with pytest.raises(StoreUnavailable):
            await a.projector.rebuild(T, "a test")
        await elapse(1)
    a.store.come_back()
    await a.look()
    said = [record.__dict__ for record in caplog.records if record.__dict__.get("action", "").startswith("log_")]
    assert [record["action"] for record in said] == ["log_changed", "log_replayed"]
    assert said[1]["times"] == 6


async def test_a_snapshot_for_an_epoch_that_did_not_begin_is_dropped(server: MemoryServer) -> None:
    """It is of a history that there is not."""
    (a,) = await replicas(server, "a")
    await empty(server)

    async def move(name: str) -> None:
        if name == "resume_history":
            a.store.come_back()
            await append(server, *written(cart(), comes("n1"), by="x", at_ms=LATER))

    a.store.before = move
    await a.look()
    assert await a.store.snapshots.marks(T) == []
    assert ids(await agree(server, a)) == sorted([*NINE, "n1"])


# -- snapshots beside a mended log -------------------------------------------------------------------------------------


async def test_a_second_loss_after_seeding_loses_nothing_either(server: MemoryServer) -> None:
    """A replica that started from the seeded snapshot remembers the events since, but holds more than they made."""
    (a,) = await replicas(server, "a")
    await empty(server)
    await a.look()
    (b,) = await replicas(server, "b")
    await append(server, *written(comes("j1"), by="v"))
    await b.follow()
    await empty(server)
    await append(server, *written(cart(), comes("n1"), by="x", at_ms=LATER))
    await b.look()
    assert set(NINE) <= set(ids(b.view))


async def test_a_second_loss_after_merging_loses_nothing_either(server: MemoryServer, few_remembered: int) -> None:
    """The merged view's events begin with the merged-in history's, and so look like the beginning of everything."""
    (a,) = await replicas(server, "a")
    await empty(server)
    await append(server, *written(cart(), comes("n1"), by="x", at_ms=LATER))
    await a.look()
    assert ids(a.view) == sorted([*NINE, "n1"])
    await empty(server)
    await append(server, *written(cart(), comes("n2"), by="y", at_ms=LATER + 1000))
    await a.look()
    assert set(NINE) <= set(ids(a.view))


async def test_a_snapshot_of_a_lost_tail_hinders_nobody(server: MemoryServer) -> None:
    """A replica that had not noticed the cut wrote it; every later start would set the tenant aside."""
    a, b = await replicas(server, "a", "b")
    await cut(server, 6)
    newest = b.projector.newest_event(T)
    assert newest is not None
    chunks = take(b.view, encode_event(newest))
    assert await save(b.store, T, b.view.position, chunks, NOW, "b")
    await a.look()
    assert ids(await agree(server, a, b)) == NINE


async def test_a_seeding_that_broke_off_hinders_nobody(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its snapshot stands, its epoch never began, and another replica put the tail back."""
    (b,) = await replicas(server, "b")
    with monkeypatch.context() as few:
        for module in (recent, restoring):
            few.setattr(module, "RECENT_MAX", 4)
        (a,) = await replicas(server, "a")
        await cut(server, 3)
        a.store.before = _fails_at("resume_history")
        with pytest.raises(StoreUnavailable):
            await a.look()
    await elapse(1)
    await b.look()
    assert ids(await agree(server, b)) == NINE


def _fails_at(call: str) -> Callable[[str], Any]:
    async def fail(name: str) -> None:
        if name == call:
            raise StoreUnavailable(call)

    return fail


async def test_one_that_comes_back_after_a_snapshot_puts_nothing_back_twice(server: MemoryServer) -> None:
    """An instance that was unregistered since would be there again, for as long as its lease lasts."""
    a, late = await replicas(server, "a", "late")
    await cut(server, 6)
    await a.look()
    await append(server, *written(goes("i9"), by="x", at_ms=LATER))
    await a.follow()
    assert await a.snapshotting.write(T, 1)
    await late.look()
    assert late.projector.mending.put_back == 0
    assert "i9" not in ids(late.view)


async def test_nothing_comes_back_without_a_replica_that_held_it(server: MemoryServer) -> None:
    """The limit: what every living replica lacks is gone, and the log goes on as it is."""
    await cut(server, 6)
    (a,) = await replicas(server, "a")
    assert ids(await agree(server, a)) == NINE[:5]
    assert a.projector.mending.put_back == 0
    assert a.view.position != ORIGIN


async def test_a_batch_cut_in_the_middle_is_completed(server: MemoryServer) -> None:
    """A commit of several events is atomic, a lost tail is not: the rest of the batch comes back."""
    (a,) = await replicas(server, "a")
    head = await a.store.head(T)
    batch = written(comes("j1"), comes("j2"), comes("j3"), by="v")
    await a.store.commit(T, head.epoch, [Write(encode_event(event)) for event in batch])
    await a.follow()
    await cut(server, 11)
    assert ids(await agree(server, a)) == sorted([*NINE, "j1", "j2", "j3"])
