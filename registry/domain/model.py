"""Microservice and Instance: what is registered, in the form in which clients read it.

Field order and names are those of the wire (api-rules.md 3.0). Empty members are left out when encoded, as the
clients expect: java clients fail on null, and no client needs an empty member.

What is decoded from bytes is a tree, so nothing here, in `events` or in `request_bodies` can be part of a cycle:
`gc=False` spares the garbage collector a look at the newest 20,000 events, each time.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct, field

STATUSES: Final = ("UP", "DOWN", "STARTING", "OUTOFSERVICE", "TESTING")
#: Of an instance that is new and named none.
STATUS_DEFAULT: Final = "UP"
#: Seconds. A shorter interval is raised to this one (decision D7).
INTERVAL_MIN_S: Final = 5
INTERVAL_DEFAULT_S: Final = 30
TIMES_DEFAULT: Final = 3
#: Seconds. interval x (times + 1) is capped here; both factors may reach 2**31 - 1.
TTL_MAX_S: Final = 2**31 - 1


class HealthCheck(Struct, frozen=True, omit_defaults=True, gc=False):
    """How the instance is to be watched. `interval` in seconds; `times` may be missed before the lease lapses."""

    mode: str = ""
    port: int = 0
    interval: int = 0
    times: int = 0
    url: str = ""

    def ttl_ms(self) -> int:
        """The lease's length: interval x (times + 1), in milliseconds."""
        return min(self.interval * (self.times + 1), TTL_MAX_S) * 1000


DEFAULT_HEALTH_CHECK: Final = HealthCheck("push", 0, INTERVAL_DEFAULT_S, TIMES_DEFAULT)


class DataCenterInfo(Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    name: str = ""
    region: str = ""
    available_zone: str = ""


class Instance(Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """One running process with endpoints. Timestamps are strings of Unix seconds, set by the fold."""

    instance_id: str = ""
    service_id: str = ""
    version: str = ""
    host_name: str = ""
    endpoints: list[str] = field(default_factory=list)
    status: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    #: A factory, so that it is always written: clients read from it how often to send heartbeats, and whether it was
    #: asked for or came by default must not change the bytes (nor the rev).
    health_check: HealthCheck = field(default_factory=lambda: DEFAULT_HEALTH_CHECK)
    data_center_info: DataCenterInfo | None = None
    timestamp: str = ""
    mod_timestamp: str = ""


class Framework(Struct, frozen=True, omit_defaults=True, gc=False):
    name: str = ""
    version: str = ""


class ServicePath(Struct, frozen=True, omit_defaults=True, gc=False):
    path: str = ""
    property: dict[str, str] = field(default_factory=dict)


class ServiceKey(Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """What names a microservice from outside."""

    tenant: str = ""
    environment: str = ""
    app_id: str = ""
    service_name: str = ""
    alias: str = ""
    version: str = ""


class Microservice(Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A registered service *version*."""

    service_id: str = ""
    environment: str = ""
    app_id: str = ""
    service_name: str = ""
    alias: str = ""
    version: str = ""
    description: str = ""
    level: str = ""
    schemas: list[str] = field(default_factory=list)
    paths: list[ServicePath] = field(default_factory=list)
    status: str = ""
    properties: dict[str, str] = field(default_factory=dict)
    timestamp: str = ""
    mod_timestamp: str = ""
    register_by: str = ""
    framework: Framework | None = None
    providers: list[ServiceKey] = field(default_factory=list)
    lb_strategy: dict[str, str] = field(default_factory=dict, name="LBStrategy")

    def allows_cross_app(self) -> bool:
        """Whether consumers of other applications may see its instances."""
        return self.properties.get("allowCrossApp", "").strip().lower() == "true"


class Schema(Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """One interface contract of a microservice. Without `schema` it is declared only."""

    schema_id: str = ""
    summary: str = ""
    schema: str = ""


class Policy(Struct, frozen=True, omit_defaults=True, rename="camel", gc=False):
    """A traffic policy (api-rules.md 3.14). `creatTime` is the API's spelling; times are Unix seconds."""

    name: str = ""
    id: str = ""
    status: str = ""
    creat_time: int = 0
    update_time: int = 0
    selector: dict[str, str] = field(default_factory=dict)
    kind: str = ""
    spec: dict[str, Any] = field(default_factory=dict)


encode_instance = msgspec.json.Encoder().encode
encode_microservice = msgspec.json.Encoder().encode
decode_instance = msgspec.json.Decoder(Instance).decode


def seconds(at_ms: int) -> str:
    """A moment as the wire writes it: a string of Unix seconds."""
    return str(at_ms // 1000)
