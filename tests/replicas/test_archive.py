"""The archive: the past reaches behind what Redis holds, and nothing is trimmed that is not archived."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from registry.archive import segment
from tests.api.test_past import events, history, position
from tests.support.api import Api, assert_refused, ids, ok
from tests.support.feed import Feed
from tests.support.replica import Replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

LIMIT_S = 30.0
#: Snapshots soon, and no more history in Redis than has to be.
SETTINGS = {"REGISTRY_SNAPSHOT_EVERY": "100", "REGISTRY_SNAPSHOTS_KEPT": "1", "REGISTRY_HISTORY_S": "0"}


class Scene:
    """A replica with an archive, on a prefix of its own."""

    def __init__(self, redis_url: str, prefix: str, folder: Path, **settings: str) -> None:
        self.redis_url, self.prefix, self.folder = redis_url, prefix, folder
        self.settings = {**SETTINGS, "REGISTRY_ARCHIVE_DIR": str(folder), **settings}
        self.redis = Redis.from_url(redis_url)
        self.replicas: list[Replica] = []
        self.one = self.start()
        self.api = self.one.api("old")
        self.number = 0

    def start(self) -> Replica:
        options = ("--redis-url", self.redis_url, "--redis-prefix", self.prefix)
        started = Replica(*options, environment=self.settings).start()
        self.replicas.append(started)
        return started

    def eldest(self) -> int:
        """The sequence of the first event that Redis holds."""
        found: Any = self.redis.xrange(f"{self.prefix}{{old/default}}:events", count=1)
        return int(found[0][0].decode().partition("-")[2])

    def write(self, service: str, many: int) -> None:
        for _ in range(many):
            self.api.instance(service, instanceId=f"i{self.number % 50}", hostName=f"h{self.number}")
            self.number += 1

    def write_until_trimmed(self, service: str) -> None:
        first = self.eldest()

        def is_trimmed() -> bool:
            self.write(service, 50)
            return self.eldest() > first

        until_sync(is_trimmed, "Redis's log to be trimmed", LIMIT_S)

    def files(self, suffix: str) -> list[Path]:
        return sorted(self.folder.rglob(f"*{suffix}"))

    def close(self) -> None:
        for one in self.replicas:
            one.clean_up()
        self.redis.close()


@pytest.fixture
def scene(redis_url: str, key_prefix: str, tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(redis_url, key_prefix, tmp_path / "archive")
    try:
        yield scene
    finally:
        scene.close()


def place_in(segment: Path) -> str:
    """Of an event that this file holds."""
    epoch, _, last = segment.stem.partition("_")[2].partition("-")
    return f"{int(epoch)}-{int(last) - 1}"


def sequence(event: dict[str, Any]) -> int:
    return int(event["position"].partition("-")[2])


def whole(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page = ok(history(api, order="oldest", limit="1000")).json()
    while page["next"]:
        found += page["events"]
        page = ok(history(api, order="oldest", limit="1000", after=page["next"])).json()
    return [*found, *page["events"]]


def test_the_past_reaches_behind_what_redis_holds(scene: Scene) -> None:
    api = scene.api
    service = api.service("cart")
    api.instance(service, instanceId="gone", endpoints=["rest://gone:1"])
    then = api.find("cart")
    place = position(then)
    ok(api.delete(f"/microservices/{service}/instances/gone"))
    for _ in range(3):
        scene.write_until_trimmed(service)
    assert scene.eldest() > 100
    # What was, as it was.
    past = api.find("cart", asOf=place)
    assert (past.rev, past.body, past.header("X-Registry-Position")) == (then.rev, then.body, place)
    # Every event once, from the first one on.
    found = whole(api)
    assert [sequence(event) for event in found] == list(range(1, len(found) + 1))
    assert events(api, instanceId="gone", order="newest", limit="1")[0]["kind"] == "instance-unregistered"
    explained = ok(history(api, "/explain", serviceId=service, instanceId="gone")).json()
    assert explained["state"] == "left"
    # A feed that comes back late.
    feed = Feed((scene.one.host, scene.one.port), "old", place)
    behind = [event for event in found if sequence(event) > sequence({"position": place})]
    told = feed.take(len(behind))
    feed.close()
    assert [sent.data for sent in told] == behind


def test_two_replicas_write_one_archive(scene: Scene) -> None:
    other = scene.start()
    service = scene.api.service("cart")
    for _ in range(4):
        scene.write_until_trimmed(service)
        other.api("old").instance(service, instanceId="of-the-other")
    scene.one.kill()
    scene.api = other.api("old")
    scene.write_until_trimmed(service)
    scene.write_until_trimmed(service)
    found = whole(scene.api)
    assert [sequence(event) for event in found] == list(range(1, len(found) + 1))
    assert not scene.files(".new")


def test_a_writer_that_is_killed_in_the_midst_of_a_file_leaves_the_archive_whole(scene: Scene) -> None:
    """It is killed as soon as a file begins, three times; another replica goes on each time."""
    service = scene.api.service("cart", serviceId="cart")
    for _ in range(3):
        victim, survivor = scene.replicas[-1], scene.start()
        scene.api = survivor.api("old")
        kill_with_the_next_file(scene, victim)
        # It had the right to write for two minutes more.
        scene.redis.delete(f"{scene.prefix}{{old/default}}:holder")
        scene.write_until_trimmed(service)
    found = whole(scene.api)
    assert [sequence(event) for event in found] == list(range(1, len(found) + 1))
    assert ok(history(scene.api, limit="1")).json()["damaged"] == []


def kill_with_the_next_file(scene: Scene, victim: Replica) -> None:
    begun = threading.Event()
    before = set(scene.folder.rglob("*.*"))

    def kill() -> None:
        while set(scene.folder.rglob("*.*")) <= before:
            pass
        victim.kill()
        begun.set()

    def has_begun() -> bool:
        scene.write("cart", 10)
        return begun.is_set()

    killing = threading.Thread(target=kill, daemon=True)
    killing.start()
    until_sync(has_begun, "a file to begin", LIMIT_S)


def spoil_block(path: Path, index: int) -> None:
    """One byte of a block of the file; -1: its last one."""
    data = bytearray(path.read_bytes())
    length = segment.head_bytes(bytes(data[: segment.PREFIX_BYTES]))
    prefix, encoded = data[: segment.PREFIX_BYTES], data[segment.PREFIX_BYTES : segment.PREFIX_BYTES + length]
    head = segment.decode_head(bytes(prefix), bytes(encoded))
    data[segment.offset_of(head, length, index % len(head.blocks))] ^= 1
    path.write_bytes(data)


def test_a_damaged_file_is_named_and_passed_over(scene: Scene) -> None:
    service = scene.api.service("cart")
    then = scene.api.find("cart")
    place, before = position(then), then.body
    while len(scene.files(".segment")) < 3:
        scene.write_until_trimmed(service)
    spoilt = scene.files(".segment")[1]
    spoil_block(spoilt, 0)
    found = whole(scene.api)
    refused = scene.api.find("cart", asOf=place_in(spoilt))
    assert_refused(refused, 410001, "what came next is not")
    assert ok(scene.api.find("cart", asOf=place)).body == before
    assert spoilt.name in refused.json()["detail"]
    assert ok(history(scene.api, limit="1")).json()["damaged"] == [spoilt.name]
    first = sequence(found[0])
    assert first > 1
    assert [sequence(event) for event in found] == list(range(first, first + len(found)))
    # The process that reads the past says so in the log of the replica that started it.
    until_sync(lambda: spoilt.name in scene.one.output(), "the file to be named", LIMIT_S)


def test_what_the_newest_file_held_is_said_not_to_be_kept(scene: Scene) -> None:
    """Nothing leads from the files before it to what Redis holds; put back from a copy it is read again."""
    service = scene.api.service("cart")
    while len(scene.files(".segment")) < 2:
        scene.write_until_trimmed(service)
    number = len(whole(scene.api))
    newest = scene.files(".segment")[-1]
    data = newest.read_bytes()
    newest.write_bytes(data[:-100])
    refused = scene.api.find("cart", asOf=place_in(newest))
    assert_refused(refused, 410001, "what came next is not")
    assert newest.name in refused.json()["detail"]
    assert sequence(whole(scene.api)[0]) >= scene.eldest()
    scene.write_until_trimmed(service)
    told = ok(scene.one.api("default").connection.request("GET", "/metrics", None, {})).body.decode()
    assert "registry_archive_damaged_files 1" in told
    newest.write_bytes(data)
    assert len(whole(scene.api)) > number
    assert ok(history(scene.api, limit="1")).json()["damaged"] == []


def test_nothing_is_trimmed_while_the_archive_cannot_be_written(scene: Scene) -> None:
    service = scene.api.service("cart")
    scene.write_until_trimmed(service)
    eldest, kept = scene.eldest(), whole(scene.api)
    moved = scene.folder.with_name("elsewhere")
    scene.folder.rename(moved)
    scene.folder.write_text("not a folder")

    def is_told() -> bool:
        scene.write(service, 50)
        return bool(scene.one.said("archive_failed"))

    until_sync(is_told, "the failure to be told", LIMIT_S)
    scene.write(service, 500)
    assert scene.eldest() == eldest
    assert "ArchiveFails" in alarm_ids(scene.one)
    scene.folder.unlink()
    moved.rename(scene.folder)
    scene.write_until_trimmed(service)
    assert "ArchiveFails" not in alarm_ids(scene.one)
    found = whole(scene.api)
    assert found[: len(kept)] == kept
    assert [sequence(event) for event in found] == list(range(1, len(found) + 1))


def alarm_ids(at: Replica) -> set[str]:
    answer = at.api("default").connection.request("GET", "/v4/default/admin/alarms", None, {})
    return {alarm["id"] for alarm in ok(answer).json()["alarms"] if alarm["status"] == "ACTIVATED"}


def test_live_service_wins_where_the_log_is_full(redis_url: str, key_prefix: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.write_text("not a folder")
    scene = Scene(redis_url, key_prefix, folder, REGISTRY_LOG_MAX_BYTES=str(1024 * 1024))
    try:
        service = scene.api.service("cart")
        content = {f"k{number}": "x" * 1000 for number in range(20)}

        def is_trimmed() -> bool:
            for _ in range(20):
                body = {"properties": {**content, "n": str(scene.number)}}
                ok(scene.api.put(f"/microservices/{service}/properties", body))
                scene.number += 1
            return scene.eldest() > 1

        until_sync(is_trimmed, "the log to be trimmed", LIMIT_S)
        assert scene.number * 20_000 > 1024 * 1024
        scene.one.tells("archive_failed")
        # What is gone is told as such.
        first = sequence(whole(scene.api)[0])
        assert first > 1
    finally:
        scene.close()


def test_what_is_too_old_goes(redis_url: str, key_prefix: str, tmp_path: Path) -> None:
    """By bytes: of an archive that may have 4 MiB what is older goes, and what stays is whole."""
    settings = {"REGISTRY_ARCHIVE_MAX_BYTES": str(4 * 1024 * 1024)}
    scene = Scene(redis_url, key_prefix, tmp_path / "archive", **settings)
    try:
        service = scene.api.service("cart")

        def has_gone() -> bool:
            for _ in range(100):
                noise = {f"k{n}": os.urandom(400).hex() for n in range(10)}
                scene.api.instance(service, instanceId="a", hostName=f"h{scene.number}", properties=noise)
                scene.number += 1
            return bool(scene.one.said("archive_trimmed"))

        until_sync(has_gone, "old files to go", 60)
        size = sum(path.stat().st_size for path in scene.folder.rglob("*") if path.is_file())
        assert size < 6 * 1024 * 1024
        found = whole(scene.api)
        first = sequence(found[0])
        assert first > 1
        assert [sequence(event) for event in found] == list(range(first, first + len(found)))
        assert ids(scene.api.find("cart")) == ["a"]
    finally:
        scene.close()
