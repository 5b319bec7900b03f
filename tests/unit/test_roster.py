"""Replicas tell each other how they are, and only of those that speak this language anything is told."""

from __future__ import annotations

import asyncio

from msgspec import structs

from registry.store.memory_server import MemoryServer
from registry.usecases.roster import KEPT_MS, ROSTER, Presence, Roster
from tests.support.builders import microservice, service_registered
from tests.support.memory_replica import MemoryReplica, append, run, virtual_ms


def presence(name: str) -> Presence:
    return Presence(name, f"{name}:1", "1", 2, 1, "0-0", "", 0, 0, 3, 4, 5, 6)


def roster(server: MemoryServer, name: str) -> tuple[MemoryReplica, Roster]:
    replica = MemoryReplica(server, name)
    return replica, Roster(replica.store, replica.projector, lambda: presence(name), replica.writers)


def test_each_tells_of_all_and_itself_comes_first() -> None:
    async def main() -> None:
        server = MemoryServer(virtual_ms)
        (one, first), (_, second) = roster(server, "b"), roster(server, "a")
        await first.tell()
        await second.tell()
        await first.tell()
        assert [found.name for found in await first.present()] == ["b", "a"]
        assert [found.name for found in await second.present()] == ["a", "b"]
        assert await one.store.tenants() == [], "the list stands beside the tenants"

    run(main)


def test_lag_is_what_is_in_the_log_and_not_in_the_view() -> None:
    async def main() -> None:
        server = MemoryServer(virtual_ms)
        replica, own = roster(server, "a")
        await append(server, service_registered(microservice("s1")))
        await replica.follow()
        assert (await own.present())[0].lag == 0
        await append(server, service_registered(microservice("s2")), service_registered(microservice("s3")))
        assert (await own.present())[0].lag == 2

    run(main)


def test_those_that_are_silent_or_speak_otherwise_are_left_out() -> None:
    async def main() -> None:
        server = MemoryServer(virtual_ms)
        (replica, own), (_, other) = roster(server, "a"), roster(server, "b")
        await other.tell()
        await replica.store.snapshots.exchange(ROSTER, "newer", b'{"name":7}', KEPT_MS)
        await own.tell()
        assert [found.name for found in await own.present()] == ["a", "b"]
        await asyncio.sleep(KEPT_MS / 1000 + 1)
        await own.tell()
        assert [found.name for found in await own.present()] == ["a"]

    run(main)


def test_without_the_store_a_replica_tells_of_itself_alone() -> None:
    async def main() -> None:
        server = MemoryServer(virtual_ms)
        (replica, own), (_, other) = roster(server, "a"), roster(server, "b")
        await append(server, service_registered(microservice("s1")))
        await replica.follow()
        await other.tell()
        running = asyncio.create_task(own.run())
        await asyncio.sleep(1)
        assert len(await own.present()) == 2
        replica.store.go_away()
        await asyncio.sleep(3)
        assert await own.present() == [structs.replace(presence("a"), lag=-1)]
        replica.store.come_back()
        await other.tell()
        await asyncio.sleep(3)
        assert len(await own.present()) == 2
        running.cancel()

    run(main)
