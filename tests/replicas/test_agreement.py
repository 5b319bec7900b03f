"""Replicas answer alike: the same bytes and revs from each, at once with the position header (D12)."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

from tests.support.api import Api, ids, ok, wanted, wanted_instance
from tests.support.http import Response
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

SERVICES = ["s1", "s2", "s3", "s4"]
INSTANCES = ["i1", "i2", "i3", "i4", "i5"]
ENDPOINTS = ["rest://a:1", "rest://b:2", "rest://c:3"]
NAMES = ["cart", "till"]
VERSIONS = ["1.0", "1.1", "2.0"]
ENVIRONMENTS = ["", "production"]
#: The kernel spreads connections over workers; this number reaches each of two.
CONNECTIONS_PER_REPLICA = 4


def clients(replicas: list[Replica], tenant: str) -> list[Api]:
    """The tenant's clients over several connections to each replica."""
    return [one.api(tenant) for one in replicas for _ in range(CONNECTIONS_PER_REPLICA)]


def write_at_random(api: Api, random: Random) -> Response:
    """One write; names collide, so that many are refused or merged."""
    service, instance = random.choice(SERVICES), random.choice(INSTANCES)
    path = f"/microservices/{service}/instances/{instance}"
    match random.randrange(10):
        case 0:
            body = {"serviceName": random.choice(NAMES), "appId": "shop", "version": random.choice(VERSIONS)}
            body |= {"serviceId": random.choice([*SERVICES, ""]), "environment": random.choice(ENVIRONMENTS)}
            return api.post("/microservices", {"service": body})
        case 1 | 2 | 3:
            endpoints = random.sample(ENDPOINTS, random.randrange(3))
            return api.register(service, instanceId=instance, endpoints=endpoints)
        case 4 | 5:
            return api.register(service, endpoints=random.sample(ENDPOINTS, random.randrange(1, 3)))
        case 6:
            return api.put(f"{path}/status?value={random.choice(['UP', 'DOWN', 'OUTOFSERVICE'])}")
        case 7:
            return api.put(f"{path}/properties", {"properties": {"k": random.choice("abc")}})
        case 8:
            return api.put(f"/microservices/{service}/properties", {"properties": {"allowCrossApp": "true"}})
    if random.randrange(4):
        return api.delete(path)
    return api.delete(f"/microservices/{service}?force={random.randrange(2)}")


def answers(api: Api, position: str = "") -> dict[str, tuple[int, str, bytes]]:
    """Everything that can be asked, as (status, rev, body), at the given position or beyond."""
    headers = {"X-Registry-Position": position} if position else {}
    paths = ["/microservices"]
    for service in SERVICES:
        paths += [f"/microservices/{service}", f"/microservices/{service}/instances"]
        paths += [f"/microservices/{service}/instances/{instance}" for instance in INSTANCES]
    for name in NAMES:
        for version in ("", "latest", "0%2B", "1.0-2.0", "1.0"):
            paths += [f"/instances?appId=shop&serviceName={name}&version={version}&env={e}" for e in ENVIRONMENTS]
    found = {path: api.get(path, headers) for path in paths}
    body = {
        "services": [wanted(name) for name in NAMES] + [{"service": {"serviceName": "*"}}],
        "instances": [wanted_instance(service, instance) for service in SERVICES for instance in INSTANCES],
    }
    found["batch"] = api.post("/instances/action?type=query", body, headers)
    return {path: (response.status, response.rev, response.body) for path, response in found.items()}


def newest(positions: list[str]) -> str:
    return max((p for p in positions if p), key=lambda p: tuple(map(int, p.split("-"))), default="")


def test_replicas_agree_after_random_writes_through_each(replicas: list[Replica]) -> None:
    """A client may ask any replica: the same bytes, the same revs, the same refusals, workers included.

    Three clients write at the same time through all of them, so their writes race.
    """
    tenant = f"agree-{uuid.uuid4().hex}"

    def write(seed: int) -> str:
        random = Random(seed)
        through = clients(replicas, tenant)
        return newest([write_at_random(random.choice(through), random).position for _ in range(200)])

    with ThreadPoolExecutor(3) as pool:
        position = newest(list(pool.map(write, (1, 2, 3))))
    first, *others = [answers(api, position) for api in clients(replicas, tenant)]
    assert sum(status == 200 for status, _, _ in first.values()) > 20
    assert sum(len(body) > 100 for _, _, body in first.values()) > 10
    for other in others:
        assert other == first


def test_replica_started_later_answers_alike_once_it_is_ready(replicas: list[Replica], on_redis: list[str]) -> None:
    """Readiness 200 means caught up: a load balancer may send requests at once, without the position header."""
    tenant = f"later-{uuid.uuid4().hex}"
    random = Random(4)
    through = clients(replicas, tenant)
    for _ in range(400):
        write_at_random(random.choice(through), random)
    with replica(*on_redis) as later:
        assert answers(later.api(tenant)) == answers(through[0])


def test_write_on_one_is_read_on_another_at_once(replicas: list[Replica]) -> None:
    """Read your writes over a load balancer: pass the position on (D12)."""
    tenant = f"position-{uuid.uuid4().hex}"
    through = clients(replicas, tenant)
    service_id = through[0].service()
    random = Random(5)
    for number in range(60):
        writer, reader = random.sample(through, 2)
        written = ok(writer.register(service_id, instanceId=f"i{number}"))
        position = {"X-Registry-Position": written.position}
        found = reader.get("/instances?appId=shop&serviceName=cart", position)
        assert f"i{number}" in ids(found)


def test_unknown_on_one_is_looked_up_before_it_is_refused(replicas: list[Replica]) -> None:
    """A client that registers on one replica and goes on with the next is not told that it does not exist (D12)."""
    tenant = f"refuse-{uuid.uuid4().hex}"
    through = clients(replicas, tenant)
    random = Random(6)
    for number in range(30):
        one, two, three = random.sample(through, 3)
        service_id = one.service(f"service{number}")
        instance_id = two.instance(service_id)
        ok(three.put(f"/microservices/{service_id}/instances/{instance_id}/heartbeat"))
        ok(one.find(f"service{number}"))


def test_old_rev_is_answered_with_what_others_know_already(replicas: list[Replica]) -> None:
    """A consumer that holds a newer rev than this replica is not sent the older list (clients.md 0.9)."""
    tenant = f"rev-{uuid.uuid4().hex}"
    through = clients(replicas, tenant)
    service_id = through[0].service()
    random = Random(7)
    for number in range(40):
        writer, reader = random.sample(through, 2)
        writer.instance(service_id, instanceId=f"i{number}")
        rev = writer.find().rev
        assert reader.find(rev=rev).status == 304


def test_killed_replica_loses_no_acknowledged_write(on_redis: list[str], replicas: list[Replica]) -> None:
    """200 means written: another replica has it although the one that said so was killed in the middle of more."""
    tenant = f"kill-{uuid.uuid4().hex}"
    survivor = replicas[0].api(tenant)
    service_id = survivor.service()
    acknowledged: list[str] = []
    enough = Event()

    def write(victim: Replica, writer: int) -> None:
        api = victim.api(tenant)
        for number in range(100_000):
            try:
                acknowledged.append(api.instance(service_id, instanceId=f"w{writer}-{number}"))
            except OSError:
                return
            if len(acknowledged) > 300:
                enough.set()

    with replica(*on_redis) as victim, ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, victim, writer) for writer in range(4)]
        assert enough.wait(20)
        victim.kill()
        for writer in writers:
            writer.result()
    until_sync(lambda: set(acknowledged) <= set(ids(survivor.find())), "every acknowledged write on the survivor", 2.0)


def test_every_replica_is_listed_as_an_instance_of_the_registry(replicas: list[Replica]) -> None:
    """Clients take all addresses from `health`; workers on one port are one address (clients.md 0.19)."""
    expected = {f"rest://127.0.0.1:{one.port}/" for one in replicas}

    def all_listed() -> bool:
        for one in replicas:
            instances = ok(one.api("default").get("/health")).json()["instances"]
            endpoints = [endpoint for instance in instances for endpoint in instance["endpoints"]]
            # A killed replica is listed until its lease ends.
            if not expected <= set(endpoints) or len(endpoints) != len(set(endpoints)):
                return False
        return True

    until_sync(all_listed, "every replica to list every replica once", 2.0)
