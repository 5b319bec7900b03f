"""Any single damaged entry, at any place in any tenant's log, leaves everybody else served; and it can be mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.events import Event, HistoryResumed, InstanceExpired, encode_event
from registry.domain.position import Position
from registry.domain.request_bodies import MicroserviceBody
from registry.domain.snapshot import take
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.projection.saving import save
from registry.store.memory_server import MemoryServer
from registry.usecases.repair import examine, mend
from tests.support.memory_replica import MemoryReplica, digests, restamped, run, virtual_ms
from tests.support.strategies import logs

HARMED = Tenant("team", "harmed")
SOUND = Tenant("team", "sound")
#: What may stand in the place of an event; None: nothing at all.
SPOILT = [b"", b"garbage", b"\x80", b"\x91" * 100_000, msgspec.msgpack.encode({"type": "painted", "at_ms": 1}), None]


#: Expiries are never put back, and an epoch begins at its first position only.
plain_logs = logs().map(
    lambda events: restamped(
        [event for event in events if not isinstance(event, (InstanceExpired, HistoryResumed))], "w", 1000
    )
)


@st.composite
def harms(draw: st.DrawFn) -> tuple[Sequence[Event], int, bytes | None, int]:
    """A log, the place in it that is harmed, what stands there then, and after how many events a snapshot was taken."""
    events = draw(plain_logs)
    place = draw(st.integers(0, len(events) - 1))
    payload = bytearray(encode_event(events[place]))
    payload[draw(st.integers(0, len(payload) - 1))] = draw(st.integers(0, 255))
    spoilt = draw(st.sampled_from([*SPOILT, bytes(payload)]))
    return events, place, spoilt, draw(st.integers(0, len(events)))


async def fill(server: MemoryServer, tenant: Tenant, events: Sequence[Event], snapshot_after: int = 0) -> None:
    """A log in one epoch, and a snapshot in the midst of it."""
    writer, data = MemoryReplica(server, "w"), server.of(tenant)
    await writer.store.add_tenant(tenant)
    for number, event in enumerate(events, 1):
        data.events.append((Position(7, number), encode_event(event)))
        data.head = Position(7, number)
        if number == snapshot_after:
            await writer.follow()
            view = writer.projector.view(tenant)
            assert await save(writer.store, tenant, data.head, take(view, encode_event(event)), 1, "w")


def harm(server: MemoryServer, place: int, spoilt: bytes | None) -> None:
    data = server.of(HARMED)
    data.last = data.head
    data.events[place : place + 1] = [] if spoilt is None else [(Position(7, place + 1), spoilt)]


def content(view: RegistryView) -> tuple[dict[str, Any], Any, Any]:
    """What clients see: everything but where it was written."""
    return (
        {
            id: (row.body, row.tags, row.schemas, {i: r.body for i, r in row.instances.items()})
            for id, row in view.services.items()
        },
        {consumer: set(keys) for consumer, keys in view.providers.items()},
        view.policies,
    )


async def look(*lanes: MemoryReplica) -> None:
    """What replicas do all the time."""
    for lane in lanes:
        await lane.follow()
        await lane.pulses.pulse()
        await lane.projector.aside.look()


@given(harms(), plain_logs, st.booleans())
def test_one_damaged_entry_costs_nobody_else_anything(
    harmed: tuple[Sequence[Event], int, bytes | None, int], others: Sequence[Event], busy: bool
) -> None:
    """Neither who follows nor who starts afterwards ends; the other tenant is served; and after a repair the harmed one
    is too, by all replicas alike, with everything that one of them held - also when it is `busy`: written to before
    that one has looked.
    """
    events, place, spoilt, snapshot_after = harmed

    async def live() -> None:
        server = MemoryServer(virtual_ms)
        await fill(server, SOUND, others)
        await fill(server, HARMED, events, snapshot_after)
        before, after = MemoryReplica(server, "before"), MemoryReplica(server, "after")
        await look(before)
        whole, sound = content(before.projector.view(HARMED)), digests(before.projector.view(SOUND))
        harm(server, place, spoilt)
        for _ in range(2):
            await look(before, after)
        for lane in (before, after):
            assert digests(lane.projector.view(SOUND)) == sound
        for lane in (before, after):
            await lane.follow()
            await lane.services.register(SOUND, MicroserviceBody(service_name=lane.name), "test")
        assert content(before.projector.view(HARMED)) == whole
        findings = [finding async for finding in examine(after.store, after.clock)]
        assert [finding.tenant for finding in findings] in ([], [HARMED])
        assert findings or not after.projector.aside.tenants
        for finding in findings:
            await mend(after.store, finding)
        assert [finding async for finding in examine(after.store, after.clock)] == []
        expected = whole
        if busy and findings:
            await look(after)
            added = await after.services.register(HARMED, MicroserviceBody(service_name="added"), "test")
            services, *_ = content(after.projector.view(HARMED))
            expected = ({**whole[0], added: services[added]}, *whole[1:])
        for _ in range(3):
            await look(before, after)
        new = MemoryReplica(server, "new")
        await look(new)
        for lane in (before, after, new):
            assert not lane.projector.aside.tenants
        same = [digests(lane.projector.view(HARMED)) for lane in (before, after, new)]
        if findings:
            assert same[0] == same[1] == same[2]
            assert content(new.projector.view(HARMED)) == expected
        await after.services.register(HARMED, MicroserviceBody(service_name="again"), "test")

    run(live)
