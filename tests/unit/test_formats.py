"""Formats: what a living replica cannot read is not written (decision 11)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from registry.clock import Clock
from registry.domain.access_events import AccountDeleted
from registry.domain.errors import NotReadByAll
from registry.domain.events import EVENT_FORMAT
from registry.domain.request_bodies import MicroserviceBody
from registry.domain.tenant import DEFAULT_TENANT
from registry.projection.mending import CLAIMS
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.usecases import formats
from registry.usecases.formats import ALIVE_MS, HEARD_MS, READS, Formats
from tests.support.builders import microservice, service_registered, stamp
from tests.support.memory_replica import VIRTUAL, MemoryReplica, virtual_ms

pytestmark = pytest.mark.anyio

OLD = service_registered(microservice("cart"))
NEW = AccountDeleted(name="ann", **stamp()._asdict())


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return VIRTUAL


@pytest.fixture
async def server() -> MemoryServer:
    return MemoryServer(virtual_ms)


def replica(server: MemoryServer, name: str) -> Formats:
    return Formats(MemoryStore(server), name, Clock(virtual_ms, virtual_ms))


async def say(server: MemoryServer, name: str, said: bytes = b"") -> None:
    """What another replica leaves beside what it holds."""
    await MemoryStore(server).snapshots.exchange(DEFAULT_TENANT, name, said, 3_600_000)


def refuses(one: Formats) -> str:
    """Why the newer type of event is not written; "" when it is."""
    one.check(OLD)  # every version reads it
    try:
        one.check(NEW)
    except NotReadByAll as error:
        return error.detail
    return ""


async def test_a_replica_that_hears_nobody_writes_nothing_new(server: MemoryServer) -> None:
    """It cannot tell who lives: not before it has heard for the first time, nor when that is too long ago."""
    one = replica(server, "a")
    assert "nothing was heard of the other replicas lately" in refuses(one)
    await one.announce()
    assert refuses(one) == ""
    await asyncio.sleep(HEARD_MS / 1000 + 1)
    assert "nothing was heard" in refuses(one)


async def test_what_all_read_is_written(server: MemoryServer) -> None:
    one, other = replica(server, "a"), replica(server, "b")
    await other.announce()
    await one.announce()
    assert refuses(one) == ""


@pytest.mark.parametrize("said", [b"%d 1" % (EVENT_FORMAT - 1), b"1 1", b"garbage"])
async def test_an_older_replica_keeps_it_from_being_written_as_long_as_it_lives(
    server: MemoryServer, said: bytes
) -> None:
    """It is named. One that has announced nothing new for ten seconds has ended."""
    one = replica(server, "a")
    await say(server, f"{READS}old", said)
    await one.announce()
    why = refuses(one)
    assert "replica old reads events up to format 1" in why
    assert "account-deleted is of format 2" in why
    await asyncio.sleep(ALIVE_MS / 1000 + 1)
    await one.announce()
    assert refuses(one) == ""
    await say(server, f"{READS}old", said + b"2")
    await one.announce()
    assert refuses(one) != ""


async def test_a_replica_from_before_there_were_announcements_is_told_by_what_it_holds(server: MemoryServer) -> None:
    """Replicas say what their views hold, in every version. Who claims a lost log says nothing of itself."""
    one = replica(server, "a")
    await say(server, f"{CLAIMS}b", b"7-1")
    await one.announce()
    assert refuses(one) == ""
    await say(server, "old", b"digests")
    await one.announce()
    assert "replica old reads events up to format 1" in refuses(one)
    await say(server, f"{READS}old", b"%d 1" % EVENT_FORMAT)
    await one.announce()
    assert refuses(one) == "", "it has been replaced"
    await asyncio.sleep(ALIVE_MS / 1000 + 1)
    await one.announce()
    assert refuses(one) == "", "what is left of one that has ended says nothing"


async def test_each_announces_and_hears_all_the_time(server: MemoryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is replaced by a newer one is heard of without a restart of the others."""
    one, other = replica(server, "a"), replica(server, "b")
    monkeypatch.setattr(formats, "EVENT_FORMAT", 1)
    await other.announce()
    monkeypatch.undo()
    running = asyncio.create_task(one.run())
    await asyncio.sleep(1)
    assert "replica b" in refuses(one)
    await other.announce()
    await asyncio.sleep(formats.ANNOUNCE_EVERY_S)
    assert refuses(one) == ""
    running.cancel()
    await asyncio.wait((running,))


async def test_nothing_is_appended_that_is_refused(server: MemoryServer) -> None:
    """The one way in which a replica appends asks first."""
    one = MemoryReplica(server, "a")
    with pytest.raises(NotReadByAll) as refused:
        await one.writes.commit(DEFAULT_TENANT, NEW)
    assert refused.value.code == 500011
    assert server.of(DEFAULT_TENANT).events == []
    await one.services.register(DEFAULT_TENANT, MicroserviceBody(service_name="cart"), "test")
    assert len(server.of(DEFAULT_TENANT).events) == 1
