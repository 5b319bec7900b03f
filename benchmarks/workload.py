"""The data of the scenes: seeded, and the same in every time zone and on every machine."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from typing import Any, Final

from benchmarks.wire import Request

BASE: Final = "/v4/default/registry"
SEED: Final = 20261121
#: Every service of a run starts with this, so that a run against somebody's registry touches nothing else.
PREFIX: Final = "bench-"
#: Interval × (times + 1): an hour of lease, so that nothing expires between its set-up and the end of its scene.
HEALTH_CHECK: Final = {"mode": "push", "interval": 30, "times": 119}


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def create_service(name: str) -> Request:
    """Register a service whose id is its name."""
    service = {"serviceId": name, "appId": "default", "serviceName": name, "version": "1.0.0", "level": "BACK"}
    return Request("POST", f"{BASE}/microservices", _dumps({"service": service}))


def delete_service(name: str) -> Request:
    """Take a service away together with its instances."""
    return Request("DELETE", f"{BASE}/microservices/{name}?force=1")


def instance_body(service: str, number: int, instance_id: str | None = None) -> dict[str, Any]:
    """Instance `number` of a service: two endpoints, two properties, a data centre; about 450 bytes in a find."""
    chance = random.Random(f"{SEED}:{service}:{number}")
    address = ".".join(["10", *(str(chance.randrange(100, 250)) for _ in range(3))])
    body: dict[str, Any] = {
        "hostName": f"host-{number:06d}",
        "endpoints": [f"rest://{address}:8080/{number:010d}", f"highway://{address}:7070/{number:010d}"],
        "properties": {"zone": chance.choice(("red", "tan", "sky")), "build": f"{chance.getrandbits(32):08x}"},
        "healthCheck": HEALTH_CHECK,
        "dataCenterInfo": {"name": "beijing", "region": "beijing", "availableZone": "az1"},
    }
    return body if instance_id is None else body | {"instanceId": instance_id}


def numbered_body(instance_id: str, number: int, build: str = "1", times: int = 119) -> dict[str, Any]:
    """An instance of a large population: like `instance_body`, but cheap to make by the million.

    Args:
        build: a property by which a later registration differs.
        times: of the health check; the lease is 30 s × (times + 1).
    """
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {
        "instanceId": instance_id,
        "hostName": f"host-{number:07d}",
        "endpoints": [f"rest://{address}:8080/{number:010d}", f"highway://{address}:7070/{number:010d}"],
        "properties": {"zone": ("red", "tan", "sky")[number % 3], "build": build},
        "healthCheck": HEALTH_CHECK | {"times": times},
        "dataCenterInfo": {"name": "beijing", "region": "beijing", "availableZone": "az1"},
    }


def register_instance(service: str, body: dict[str, Any]) -> Request:
    """Register an instance of a service."""
    return Request("POST", f"{BASE}/microservices/{service}/instances", _dumps({"instance": body}))


def list_instances(service: str) -> Request:
    """All instances of a service, to count them."""
    return Request("GET", f"{BASE}/microservices/{service}/instances")


def statistics() -> Request:
    """How many services and instances there are."""
    return Request("GET", "/v4/default/govern/microservices?options=statistics&withShared=1")


def heartbeat(service: str, instance_id: str) -> Request:
    """Renew one lease. PUT without content, sent with `Content-Length: 0` as clients do."""
    return Request("PUT", f"{BASE}/microservices/{service}/instances/{instance_id}/heartbeat", "")


def heartbeat_set(members: Iterable[tuple[str, str]]) -> Request:
    """Renew many leases at once; members are pairs of service and instance id."""
    instances = [{"serviceId": service, "instanceId": instance_id} for service, instance_id in members]
    return Request("PUT", f"{BASE}/heartbeats", _dumps({"instances": instances}))


def set_properties(service: str, instance_id: str, properties: dict[str, str]) -> Request:
    """Change an instance, so that everyone who polls or watches its service has something to learn."""
    path = f"{BASE}/microservices/{service}/instances/{instance_id}/properties"
    return Request("PUT", path, _dumps({"properties": properties}))


def get_instance(service: str, instance_id: str) -> Request:
    """One instance as it is now."""
    return Request("GET", f"{BASE}/microservices/{service}/instances/{instance_id}")


def find(service: str, rev: str = "", consumer: str = "", trace: str = "") -> Request:
    """Find the instances of a service; `rev` is what an earlier answer carried."""
    query = f"appId=default&serviceName={service}&version=0%2B" + (f"&rev={rev}" if rev else "")
    return Request("GET", f"{BASE}/instances?{query}", consumer=consumer, trace=trace)


def depend(consumer: str, providers: Iterable[str]) -> Request:
    """What a consumer has found, as if it had: no later find has anything to record."""
    found = [{"appId": "default", "serviceName": provider, "version": "0+"} for provider in providers]
    dependency = {"consumer": {"appId": "default", "serviceName": consumer, "version": "1.0.0"}, "providers": found}
    return Request("PUT", f"{BASE}/dependencies", _dumps({"dependencies": [dependency]}))


def batch_find(revs: Mapping[str, str], consumer: str = "") -> Request:
    """Ask for many services at once, each with the rev that is known of it."""
    services = [
        {"service": {"appId": "default", "serviceName": name, "version": "0+"}, "rev": rev}
        for name, rev in revs.items()
    ]
    return Request("POST", f"{BASE}/instances/action?type=query", _dumps({"services": services}), consumer)
