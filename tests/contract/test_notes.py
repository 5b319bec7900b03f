"""The promises about notes: small texts that expire, changed only by one who has seen them, and never too many."""

from __future__ import annotations

from registry.domain.tenant import ACCOUNTS
from tests.contract.worlds import World

LONG_MS = 600_000
SHORT_MS = 30
NAME = "änn::10.0.0.1 }*"
MOST = 20


async def test_a_note_is_read_by_every_replica_until_it_ends(world: World) -> None:
    one, other = await world.connect(), await world.connect()
    assert await one.notes.read(ACCOUNTS, NAME) == b""
    assert await one.notes.all(ACCOUNTS) == {}
    assert await one.notes.write(ACCOUNTS, NAME, b"", b"\0first", SHORT_MS, MOST)
    assert await one.notes.write(ACCOUNTS, "other", b"", b"stays", LONG_MS, MOST)
    await world.pass_time(SHORT_MS + 5)
    assert await other.notes.read(ACCOUNTS, NAME) == b""
    assert await other.notes.all(ACCOUNTS) == {"other": b"stays"}


async def test_a_note_is_changed_only_by_one_who_has_seen_it(world: World) -> None:
    """Two replicas that count failures at the same moment must not lose one."""
    one, other = await world.connect(), await world.connect()
    assert await one.notes.write(ACCOUNTS, NAME, b"", b"1", LONG_MS, MOST)
    assert not await other.notes.write(ACCOUNTS, NAME, b"", b"1", LONG_MS, MOST)
    assert await other.notes.read(ACCOUNTS, NAME) == b"1"
    assert await other.notes.write(ACCOUNTS, NAME, b"1", b"2", LONG_MS, MOST)
    assert await one.notes.all(ACCOUNTS) == {NAME: b"2"}
    assert not await one.notes.write(ACCOUNTS, NAME, b"1", b"", LONG_MS, MOST)
    assert await one.notes.write(ACCOUNTS, NAME, b"2", b"", LONG_MS, MOST)
    assert await one.notes.all(ACCOUNTS) == {}


async def test_where_there_are_too_many_those_go_that_end_soonest(world: World) -> None:
    """Anybody can make notes by wrong passwords: they must not fill the store."""
    store = await world.connect()
    for number in range(MOST):
        assert await store.notes.write(ACCOUNTS, f"n{number:02}", b"", b"x", LONG_MS + 1000 * number, MOST)
    assert len(await store.notes.all(ACCOUNTS)) == MOST
    assert await store.notes.write(ACCOUNTS, "more", b"", b"x", LONG_MS, MOST)
    left = set(await store.notes.all(ACCOUNTS))
    assert left == {f"n{number:02}" for number in range(2, MOST)} | {"more"}
    assert await store.notes.write(ACCOUNTS, "n05", b"x", b"y", LONG_MS, 1), "what is there may change"
