"""`registry verify`, `export`, `import-log` and `replay`, on real stores."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from registry.domain.events import HistoryResumed, encode_event
from registry.domain.position import Position
from registry.domain.snapshot import take
from registry.domain.tenant import Tenant
from registry.projection.restoring import load_newest
from registry.projection.saving import save
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from registry.upkeep.agreement import STATE_FORMAT, State
from tests.api.test_past import position
from tests.replicas.test_archive import Scene, whole
from tests.support.api import Api, ids, ok
from tests.support.http import Connection
from tests.support.redis_modes import free_port
from tests.support.replica import replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

LIMIT_S = 40.0
TENANT = Tenant("old", "default")


def registry(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "registry", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def scene(redis_url: str, key_prefix: str, tmp_path: Path) -> Iterator[Scene]:
    """A log that was trimmed, with an archive; one instance has left, one is down."""
    scene = Scene(redis_url, key_prefix, tmp_path / "archive")
    try:
        service = scene.api.service("cart", serviceId="cart")
        scene.api.instance(service, instanceId="gone")
        scene.write_until_trimmed(service)
        ok(scene.api.delete(f"/microservices/{service}/instances/gone"))
        ok(scene.api.put(f"/microservices/{service}/instances/i1/status?value=DOWN"))
        scene.write_until_trimmed(service)
        yield scene
    finally:
        scene.close()


def store_of(scene: Scene) -> tuple[str, ...]:
    return ("--redis-url", scene.redis_url, "--redis-prefix", scene.prefix, "--archive-dir", str(scene.folder))


def test_what_is_right_is_verified(scene: Scene) -> None:
    until_sync(lambda: bool(scene.redis.hlen(f"{scene.prefix}{{old/default}}:states")), "it to say its state", LIMIT_S)
    done = registry("verify", *store_of(scene), "--tenant", "old/default")
    assert (done.returncode, done.stderr) == (0, "")
    number = len(whole(scene.api))
    assert f"old/default: {number} events behind 0-0" in done.stdout
    assert "1 replicas agree" in done.stdout
    assert " 0 snapshots" not in done.stdout


def test_a_snapshot_that_is_not_what_the_events_lead_to_is_named(scene: Scene) -> None:
    async def spoil() -> Position:
        """The newest snapshot with an instance less in it."""
        store = RedisStore(scene.redis_url, RedisLimits(prefix=scene.prefix))
        await store.open()
        try:
            (mark, *_) = await store.snapshots.marks(TENANT)
            restored = await load_newest(store, TENANT)
            row = restored.view.services["cart"]
            row.instances.pop("i2")
            await store.snapshots.drop(TENANT, mark)
            chunks = take(restored.view, restored.last)
            assert await save(store, TENANT, mark.position, chunks, mark.at_ms, mark.replica, mark.log_bytes)
            return mark.position
        finally:
            await store.close()

    scene.one.stop()
    place = asyncio.run(spoil())
    done = registry("verify", *store_of(scene), "--tenant", "old/default")
    assert done.returncode == 1
    assert f"the snapshot at {place.text()} is not what the events lead to: microservice cart" in done.stderr


def test_a_replica_that_says_something_else_is_named(scene: Scene) -> None:
    async def lie() -> None:
        store = RedisStore(scene.redis_url, RedisLimits(prefix=scene.prefix))
        await store.open()
        try:
            view = (await load_newest(store, TENANT)).view
            changed = view.services["cart"].changed.text()
            said = State(STATE_FORMAT, (await store.head(TENANT)).text(), {"cart": (changed, b"other")})
            await store.snapshots.exchange(TENANT, "liar", msgspec.msgpack.encode(said), 30_000)
        finally:
            await store.close()

    scene.one.stop()
    asyncio.run(lie())
    done = registry("verify", *store_of(scene), "--tenant", "old/default")
    assert done.returncode == 1
    assert "replica liar holds something else" in done.stderr


def test_an_exported_log_is_the_same_where_it_is_imported(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "log.ndjson.gz"
    done = registry("export", str(file), *store_of(scene), "--tenant", "old/default")
    assert (done.returncode, "; accounts are left out" in done.stderr) == (0, True), done.stderr
    there = ("--redis-url", scene.redis_url, "--redis-prefix", f"{scene.prefix}copy:")
    assert registry("import-log", str(file), *there).returncode == 0
    again = registry("import-log", str(file), *there)
    assert (again.returncode, "has a log already" in again.stderr) == (2, True)
    with replica(*there) as copy:
        api = copy.api("old")
        found, original = api.find("cart"), scene.api.find("cart")
        assert (found.rev, found.body) == (original.rev, original.body)
        kinds = [(event["kind"], event["at"]) for event in whole(scene.api)]
        assert [(event["kind"], event["at"]) for event in whole(api)] == kinds


async def seed_without_i2(scene: Scene) -> None:
    """The log goes on from the memory of a replica that lacked an instance."""
    store = RedisStore(scene.redis_url, RedisLimits(prefix=scene.prefix))
    await store.open()
    try:
        view, head = (await load_newest(store, TENANT)).view, await store.head(TENANT)
        view.services["cart"].instances.pop("i2")
        at = Position(head.epoch + 1000, 1)
        resumed = HistoryResumed(after="", at_ms=at.epoch, replica="r", number=0, actor="registry")
        await save(store, TENANT, at, take(view, encode_event(resumed), at, at.epoch), at.epoch, "r")
        await store.resume_history(TENANT, head, at.epoch, [encode_event(resumed)], seeded=True)
    finally:
        await store.close()


def test_a_log_that_was_seeded_after_a_loss_is_copied_with_that(scene: Scene, tmp_path: Path) -> None:
    """Else the copy would hold what the original had lost. That events are left out is said."""
    scene.one.stop()

    asyncio.run(seed_without_i2(scene))
    file = tmp_path / "log.ndjson"
    assert registry("export", str(file), *store_of(scene), "--tenant", "old/default").returncode == 0
    there = ("--redis-url", scene.redis_url, "--redis-prefix", f"{scene.prefix}copy:")
    done = registry("import-log", str(file), *there)
    assert (done.returncode, "1 events `history-resumed` are left out" in done.stderr) == (0, True), done.stderr
    assert registry("verify", *there).returncode == 0
    with replica(*there) as copy:
        api = copy.api("old")
        assert "i2" not in ids(api.find("cart"))
        assert "i2" in ids(api.find("cart", asOf=whole(api)[-2]["position"]))


def test_an_export_that_is_cut_short_is_told(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "log.ndjson"
    assert registry("export", str(file), *store_of(scene)).returncode == 0
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-2]))
    there = ("--redis-url", scene.redis_url, "--redis-prefix", f"{scene.prefix}cut:")
    done = registry("import-log", str(file), *there)
    assert (done.returncode, "cut short" in done.stderr) == (2, True)
    file.write_bytes(b"nonsense\n")
    done = registry("import-log", str(file), *there)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@contextlib.contextmanager
def replayed(scene: Scene, since: str) -> Iterator[tuple[Api, list[str]]]:
    """The registry that tells once more what was since then, when it has told it; and what the command said."""
    port = free_port()
    command = [sys.executable, "-m", "registry", "replay", *store_of(scene), "--tenant", "old/default"]
    asked = [*command, "--from", since, "--speed", "0", "--on", str(port)]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as replaying:
        try:
            assert replaying.stdout is not None
            said = [replaying.stdout.readline() for _ in range(2)]
            with contextlib.closing(Connection("127.0.0.1", port)) as connection:
                yield Api(connection, "old"), said
        finally:
            replaying.send_signal(signal.SIGINT)
            said += replaying.stdout or ()
            replaying.wait(30)


def test_an_incident_is_replayed_on_another_port(scene: Scene) -> None:
    first = position(scene.api.find("cart", asOf=whole(scene.api)[1]["position"]))
    with replayed(scene, first) as (api, said):
        assert "replaying old/default" in said[0]
        assert "accounts are left out" in said[0]
        assert "events; Ctrl-C ends it" in said[1]
        expected = scene.api.find("cart")
        until_sync(lambda: ids(api.find("cart")) == ids(expected), "the replayed registry to be there", LIMIT_S)
        assert "gone" not in ids(api.find("cart"))
        assert api.find("cart").rev == expected.rev


def test_a_log_that_was_seeded_after_a_loss_is_replayed_with_that(scene: Scene) -> None:
    """Else the replayed registry would hold what the original had lost."""
    first = position(scene.api.find("cart", asOf=whole(scene.api)[1]["position"]))
    held = [instance_id for instance_id in ids(scene.api.find("cart")) if instance_id != "i2"]
    scene.one.stop()
    asyncio.run(seed_without_i2(scene))
    with replayed(scene, first) as (api, said):
        until_sync(lambda: ids(api.find("cart")) == held, "the replayed registry to be there", LIMIT_S)
        assert "i2" in ids(api.find("cart", asOf=whole(api)[-2]["position"]))
    assert "1 events `history-resumed` are left out: they name places of the other log\n" in said


def test_help_says_that_accounts_are_left_out() -> None:
    for verb in ("export", "replay"):
        assert "Accounts, roles and tokens of machines are left out." in " ".join(
            registry(verb, "--help").stdout.split()
        )
