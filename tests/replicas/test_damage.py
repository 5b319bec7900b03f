"""Damage in one tenant's data: everybody else is served, and the tenant itself as well as can be, until it is mended.

One Redis with two replicas, and a tenant for each kind of damage. All of them are harmed at the same time; then a third
replica is started, which knows no more than what can still be read. In another scene like it `registry repair` mends
them.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest
from redis import Redis

from registry.domain.events import InstanceStatusSet, encode_event
from registry.domain.marks import decode_mark
from registry.domain.tenant import Tenant
from registry.store.keys import Keys
from registry.store.soundness import TYPES
from tests.support.api import Api, assert_refused, ids, ok
from tests.support.redis_server import RedisServer, redis_server
from tests.support.repair import repair
from tests.support.replica import Replica
from tests.support.waiting import until_sync

#: An agreement round, a look at snapshots, and a look at what is set aside come every few seconds.
NOTICED_WITHIN_S: Final = 25.0
KEYS: Final = Keys("registry:")
ASIDE: Final = "X-Registry-Set-Aside"
#: Events after which a snapshot is due.
EVERY: Final = 10
#: Instances that are part of the snapshot, and such as only the log behind it tells of.
NAMES: Final = [f"i{number}" for number in range(12)]
LATER: Final = ["later0", "later1", "later2"]
EVENT: Final = encode_event(
    InstanceStatusSet(service_id="cart", instance_id="nobody", status="DOWN", at_ms=1, replica="nobody", number=1)
)
PAINTED: Final = msgspec.msgpack.encode({"type": "service-painted", "at_ms": 1, "replica": "newer", "number": 1})


class Harmed:
    """One tenant's keys, to be harmed."""

    def __init__(self, redis: Any, domain: str) -> None:
        self.tenant = Tenant(domain, "default")
        self.redis = redis

    def key(self, name: str) -> str:
        return f"{KEYS.tag(self.tenant)}:{name}"

    def head(self) -> tuple[int, int]:
        epoch, _, sequence = self.redis.get(self.key("head")).decode().partition("-")
        return int(epoch), int(sequence)

    def add(self, beyond: int, fields: dict[str, bytes]) -> None:
        epoch, sequence = self.head()
        self.redis.xadd(self.key("events"), fields, f"{epoch}-{sequence + beyond}")

    def move_head(self, by: int) -> None:
        epoch, sequence = self.head()
        self.redis.set(self.key("head"), f"{epoch}-{sequence + by}")

    def delete(self, ago: int) -> None:
        epoch, sequence = self.head()
        assert self.redis.xdel(self.key("events"), f"{epoch}-{sequence - ago}") == 1

    def retype(self, name: str) -> None:
        self.redis.delete(self.key(name))
        self.redis.rpush(self.key(name), "not yours")


#: By the tenant's domain: what is done to it, the key that is to be named, and a pattern of the reason.
HARMS: Final[dict[str, tuple[Callable[[Harmed], object], str, str]]] = {
    "foreign-entry": (lambda one: one.redis.xadd(one.key("events"), {"foo": "bar"}), "events", "cannot be read"),
    "garbage": (lambda one: one.add(1, {"e": b"garbage"}), "events", "cannot be read"),
    "unknown-type": (lambda one: one.add(1, {"e": PAINTED}), "events", "'service-painted'"),
    "beyond-the-head": (lambda one: one.add(1, {"e": EVENT}), "events", "beyond the log's head"),
    "after-a-gap": (
        lambda one: one.add(2, {"e": EVENT}),
        "events",
        # It is all of this; who looks first says which.
        "no snapshot that can be read reaches it|beyond the log's head|events are missing",
    ),
    "head-garbage": (lambda one: one.redis.set(one.key("head"), "garbage"), "head", "no position"),
    "head-too-far": (lambda one: one.move_head(1), "head", "the log ends at"),
    "head-too-low": (lambda one: one.move_head(-1), "events", "beyond the log's head"),
    "head-missing": (lambda one: one.redis.delete(one.key("head")), "head", "it is missing"),
    "end-deleted": (lambda one: one.delete(0), "head", "the log ends at"),
    **{
        f"retyped-{name}": (lambda one, name=name: one.retype(name), name, f"it is a list and must be a {type_}")  # type: ignore[misc]
        for name, type_ in TYPES.items()
        if name != "rearming"  # which is overwritten before it is read
    },
}
#: This is not noticed by who holds the tenant in memory; only who starts finds that something is missing.
UNNOTICED: Final[dict[str, tuple[Callable[[Harmed], object], str, str]]] = {
    "middle-deleted": (lambda one: one.delete(1), "events", "no snapshot that can be read reaches it"),
}


class Scene:
    """Two replicas that were there before, and one that comes after."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.redis: Any = Redis.from_url(server.url)
        self.before = [Replica(*self.options()) for _ in range(2)]
        self.late = Replica(*self.options())
        #: What each tenant's find answered before the damage.
        self.revs: dict[str, str] = {}

    def options(self) -> list[str]:
        # Of many lines of one kind the log has a number, unless it is to have each.
        options = ["--redis-url", self.server.url, "--snapshot-every", str(EVERY), "--history-s", "0"]
        return [*options, "--log-level", "debug"]


@contextlib.contextmanager
def harmed() -> Iterator[Scene]:
    """A scene in which everything is harmed."""
    with redis_server() as server:
        scene = Scene(server)
        try:
            for one in scene.before:
                one.launch()
            for one in scene.before:
                one.wait_ready()
            apis = {domain: scene.before[0].api(domain) for domain in ("sound", *HARMS, *UNNOTICED)}
            for api in apis.values():
                populate(api)
            for domain, api in apis.items():
                await_snapshot(scene.redis, domain, api)
            for domain, api in apis.items():
                for name in LATER:
                    api.instance("cart", instanceId=name, endpoints=[f"rest://{name}:80"])
                # It never beats, and its lease ends while the tenant is set aside.
                api.instance("cart", instanceId="silent", healthCheck={"mode": "push", "interval": 12, "times": 0})
                rev = scene.revs[domain] = api.find("cart").rev
                other = scene.before[1].api(domain)
                until_sync(lambda other=other, rev=rev: other.find("cart").rev == rev, "both to hold it")  # type: ignore[misc]
            for domain, (harm, _, _) in (HARMS | UNNOTICED).items():
                harm(Harmed(scene.redis, domain))
            yield scene
        finally:
            for one in (*scene.before, scene.late):
                one.clean_up()


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Nothing is mended here, nor changed in another way that others could see."""
    with harmed() as scene:
        yield scene


def populate(api: Api) -> None:
    """A service with instances, more than make a snapshot due."""
    api.service("cart", serviceId="cart")
    for name in NAMES:
        api.instance("cart", instanceId=name, endpoints=[f"rest://{name}:80"])


def await_snapshot(redis: Any, domain: str, api: Api) -> None:
    """Wait for one that holds all instances. Where one was taken in the midst of them, make the next one due."""

    def newest() -> int:
        marks = [decode_mark(data) for data in redis.hvals(KEYS.snapshots(Tenant(domain, "default")))]
        return max((mark.position.sequence for mark in marks if mark), default=0)

    until_sync(lambda: newest() > 0, "a snapshot", NOTICED_WITHIN_S)
    if newest() <= len(NAMES):
        for number in range(EVERY):
            ok(api.put(f"/microservices/cart/instances/i0/status?value={'UP' if number % 2 else 'DOWN'}"))
    until_sync(lambda: newest() > len(NAMES), "a snapshot with all instances", NOTICED_WITHIN_S)


def beat(api: Api, name: str) -> int:
    return api.put(f"/microservices/cart/instances/{name}/heartbeat").status


def is_aside(api: Api) -> bool:
    return api.find("cart").header(ASIDE) != ""


def assert_set_aside(one: Replica, domain: str, key: str, reason: str) -> None:
    """Reads go on and say so, heartbeats are accepted, writes are refused with the reason, and the log names it."""
    api = one.api(domain)

    def noticed() -> bool:
        assert beat(api, "i1") == 200, "a heartbeat of an instance that is held is accepted, whatever happens"
        return is_aside(api)

    until_sync(noticed, f"{domain} to be set aside", NOTICED_WITHIN_S)
    name = KEYS.key(Tenant(domain, "default"), key)  # type: ignore[arg-type]
    refused = api.put("/microservices/cart/instances/i2/status?value=DOWN")
    assert_refused(refused, 500011)
    assert refused.header(ASIDE) != ""
    for said in (re.escape(domain), re.escape(name), reason, "registry repair"):
        assert re.search(said, refused.json()["detail"])
    assert_refused(api.register("cart", instanceId="new"), 500011)
    answer = ok(api.put("/heartbeats", {"instances": [{"serviceId": "cart", "instanceId": "i1"}]})).json()
    assert answer == {"instances": [{"serviceId": "cart", "instanceId": "i1"}]}
    assert_refused(api.find("nobody"), 500011)

    def is_told() -> bool:
        messages = [record["message"] for record in one.said("tenant_set_aside")]
        return any(name in message and re.search(reason, message) for message in messages)

    until_sync(is_told, "the log to name it")


def assert_served(api: Api, name: str) -> None:
    api.instance("cart", instanceId=name)
    assert name in ids(api.find("cart"))
    assert beat(api, name) == 200
    assert ok(api.delete(f"/microservices/cart/instances/{name}")).header(ASIDE) == ""


@pytest.mark.parametrize("domain", HARMS)
def test_replicas_that_hold_the_tenant_go_on_with_it(scene: Scene, domain: str) -> None:
    """Every answer is the one from before the damage, on both; nobody is expired, however long it takes."""
    _, key, reason = HARMS[domain]
    for one in scene.before:
        assert_set_aside(one, domain, key, reason)
        assert one.api(domain).find("cart").rev == scene.revs[domain]
        assert set(ids(one.api(domain).find("cart"))) == {*NAMES, *LATER, "silent"}


@pytest.mark.parametrize("domain", UNNOTICED)
def test_what_only_a_start_would_miss_disturbs_nobody_who_runs(scene: Scene, domain: str) -> None:
    for one in scene.before:
        assert_served(one.api(domain), "more")


@pytest.fixture(scope="module")
def late(scene: Scene) -> Replica:
    """A replica that starts when all of them are harmed."""
    return scene.late.start()


@pytest.mark.parametrize("domain", HARMS | UNNOTICED)
def test_a_replica_that_starts_answers_from_what_can_be_read(scene: Scene, late: Replica, domain: str) -> None:
    """At worst from the newest snapshot, and where snapshots are no more from what the log still holds."""
    _, key, reason = (HARMS | UNNOTICED)[domain]
    assert_set_aside(late, domain, key, reason)
    found = set(ids(late.api(domain).find("cart")))
    assert found >= set(NAMES)


def test_the_other_tenants_are_served_by_all_replicas(scene: Scene, late: Replica) -> None:
    for number, one in enumerate((*scene.before, late)):
        assert_served(one.api("sound"), f"new{number}")
        one.api(f"fresh-{number}").service("cart")
        assert one.connect().request("GET", "/v4/default/registry/health/readiness").status == 200
        assert one.connect().request("GET", "/v4/default/registry/health").status == 200


def test_the_alarm_names_what_is_damaged_and_what_helps(scene: Scene, late: Replica) -> None:
    for one in (*scene.before, late):
        (alarm,) = [a for a in alarms(one) if a["id"] == "TenantDamaged"]
        assert alarm["status"] == "ACTIVATED"
        assert "registry repair" in alarm["fields"]["detail"]
        assert not [a for a in alarms(one) if a["id"] in ("InternalError", "BackendConnectionRefuse")]


def alarms(one: Replica) -> list[dict[str, Any]]:
    answer = one.connect().request("GET", "/v4/default/admin/alarms")
    found: list[dict[str, Any]] = json.loads(answer.body).get("alarms", [])
    return found


def statuses(one: Replica) -> set[str]:
    return {alarm["status"] for alarm in alarms(one) if alarm["id"] == "TenantDamaged"}


def test_a_dry_run_says_everything_and_changes_nothing(scene: Scene, late: Replica) -> None:
    # In the others' logs something may happen at this moment.
    logs = [KEYS.key(Tenant(domain, "default"), "events") for domain in HARMS]
    before = {key: scene.redis.dump(key) for key in logs}
    said = repair(scene.server.url)
    assert said.returncode == 1, said.stderr
    for domain, (_, key, reason) in HARMS.items():
        about = said.stdout.partition(f"{domain}/default\n")[2].partition("/default\n")[0]
        assert KEYS.key(Tenant(domain, "default"), key) in about  # type: ignore[arg-type]
        assert re.search(reason, about)
    assert "sound/default" not in said.stdout
    assert "Nothing was changed" in said.stdout
    assert {key: scene.redis.dump(key) for key in before} == before


@pytest.fixture(scope="module")
def mended() -> Iterator[Scene]:
    """Another scene, which is mended when all replicas have noticed what they can."""
    with harmed() as scene:
        scene.late.start()
        for one in (*scene.before, scene.late):
            for domain in HARMS if one is not scene.late else HARMS | UNNOTICED:
                api = one.api(domain)
                until_sync(lambda api=api: is_aside(api), f"{domain} to be set aside", NOTICED_WITHIN_S)  # type: ignore[misc]
            assert statuses(one) == {"ACTIVATED"}
        done = repair(scene.server.url, "--apply")
        assert done.returncode == 0, done.stdout + done.stderr
        yield scene


@pytest.mark.parametrize("domain", HARMS | UNNOTICED)
def test_a_mended_tenant_is_taken_back_by_all_with_everything(mended: Scene, domain: str) -> None:
    """Without a restart; what only those remember that were there before is put back."""
    lanes = [one.api(domain) for one in (*mended.before, mended.late)]
    for api in lanes:
        until_sync(lambda api=api: not is_aside(api), f"{domain} to be taken back", NOTICED_WITHIN_S)  # type: ignore[misc]

    def agree() -> bool:
        found = [api.find("cart") for api in lanes]
        return len({answer.rev for answer in found}) == 1 and {*NAMES, *LATER} <= set(ids(found[0]))

    until_sync(agree, "all of them to hold the same", NOTICED_WITHIN_S)
    until_sync(lambda: "silent" not in ids(lanes[0].find("cart")), "the silent one to be expired", NOTICED_WITHIN_S)
    for number, api in enumerate(lanes):
        assert_served(api, f"new{number}")


def test_nothing_is_left_to_mend(mended: Scene) -> None:
    again = repair(mended.server.url)
    assert (again.returncode, again.stdout) == (0, "Nothing is damaged.\n")
    for one in (*mended.before, mended.late):
        until_sync(lambda one=one: statuses(one) == {"CLEARED"}, "the alarm to be cleared")  # type: ignore[misc]
        assert "Traceback" not in one.output()
