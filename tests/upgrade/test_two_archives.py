"""Replicas of two versions on one store and one archive: either writes segments, and both read them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.api.test_past import history, position
from tests.replicas.test_archive import Scene, sequence, whole
from tests.support.api import Api, ids, ok
from tests.support.http import Response
from tests.support.replica import Replica
from tests.upgrade.earlier import earlier_code, earlier_replica

pytestmark = pytest.mark.slow

#: It writes an archive, and its segments do not say what their events name.
ARCHIVING: Final = "402b482"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = earlier_code(tmp_path_factory.mktemp("archiving"), ARCHIVING)
    assert not (found / "registry" / "archive" / "names.py").exists(), "else one format would be tried twice"
    return found


class Mixed(Scene):
    """An archive of two versions. The first replica is of the earlier one."""

    def __init__(self, redis_url: str, prefix: str, folder: Path, code: Path) -> None:
        self._code: Path | None = code
        super().__init__(redis_url, prefix, folder)

    def start(self) -> Replica:
        if self._code is None:
            return super().start()
        options = ("--redis-url", self.redis_url, "--redis-prefix", self.prefix)
        started = earlier_replica(self._code, *options, environment=self.settings).start()
        self.replicas.append(started)
        return started

    def replace(self, running: Replica, code: Path | None) -> Replica:
        """Stop it, and go on with one of that version (None: the present one)."""
        assert running.stop() == 0
        self._code = code
        started = self.start()
        self.api = started.api("old")
        return started

    def archive_some(self, service: str) -> None:
        """Let the only replica that runs write segments."""
        before = set(self.files(".segment"))
        while set(self.files(".segment")) <= before:
            self.write_until_trimmed(service)


@pytest.fixture
def scene(redis_url: str, key_prefix: str, tmp_path: Path, code: Path) -> Iterator[Mixed]:
    scene = Mixed(redis_url, key_prefix, tmp_path / "archive", code)
    try:
        yield scene
    finally:
        scene.close()


def test_either_version_writes_segments_and_both_read_them(scene: Mixed, code: Path) -> None:
    """A rolling upgrade, and a step back: the past is whole at every replica after each."""
    service = scene.api.service("cart", serviceId="cart")
    scene.api.instance(service, instanceId="gone", endpoints=["rest://gone:1"])
    then = scene.api.find("cart")
    ok(scene.api.delete(f"/microservices/{service}/instances/gone"))
    scene.archive_some(service)
    present = scene.replace(scene.one, None)
    check(scene.api, then)
    scene.archive_some(service)
    earlier = scene.replace(present, code)
    check(scene.api, then)
    scene.archive_some(service)
    # Side by side: one of them writes, whichever it is.
    scene._code = None
    present = scene.start()
    scene.archive_some(service)
    for one in (earlier, present):
        check(one.api("old"), then)
    for one in scene.replicas:
        for action in ("archive_unreadable", "archive_failed", "archive_gap", "tenant_set_aside"):
            assert one.said(action) == [], action


def check(api: Api, then: Response) -> None:
    """What was is as it was, and every event is told once, from the first one on."""
    place = position(then)
    past = api.find("cart", asOf=place)
    assert (past.rev, past.body, past.header("X-Registry-Position")) == (then.rev, then.body, place)
    assert ids(past) == ["gone"]
    found = whole(api)
    assert [sequence(event) for event in found] == list(range(1, len(found) + 1))
    explained = ok(history(api, "/explain", serviceId="cart", instanceId="gone")).json()
    assert explained["state"] == "left"
