"""Replicas: what each replica of a registry says of itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from registry.client import AsyncRegistry
from registry.client.addresses import registry_url
from registry.client.async_registry import Options
from registry.client.errors import ClientError, Unreachable
from registry.domain.model import Instance

#: What a table and `top` show; the rest of /metrics is for Prometheus.
FIGURES: Final = (
    "registry_services",
    "registry_instances",
    "registry_watchers",
    "registry_connections",
    "registry_store_silent_seconds",
    "registry_events_applied_total",
    "registry_log_lag_events",
)
#: Those that each worker has for itself.
OF_CLIENTS: Final = frozenset({"registry_watchers", "registry_connections"})


class Replica(Struct, frozen=True, rename="camel"):
    """One replica: where it is, whether it may be sent requests, and its figures. `problem`: why it may not."""

    address: str
    version: str = ""
    zone: str = ""
    problem: str = ""
    figures: dict[str, float] = {}

    @property
    def is_ready(self) -> bool:
        return not self.problem


async def replicas(client: AsyncRegistry) -> list[Replica]:
    """Every replica that the registry names, each asked for itself; the addresses that were given where it names none.

    A registry that is not well names none: then it matters most what each address says.
    """
    options = client.options
    try:
        named = list(_named(await client.api.health()))
    except Unreachable:
        named = []
    found = named or [Replica(address.url) for address in options.book().addresses]
    return list(await asyncio.gather(*(_asked(replica, options) for replica in found)))


def _named(instances: Iterable[Instance]) -> Iterable[Replica]:
    for instance in instances:
        info = instance.data_center_info
        zone = f"{info.region}/{info.available_zone}" if info else ""
        for url in filter(None, map(registry_url, instance.endpoints)):
            yield Replica(url, instance.version, zone)


async def _asked(replica: Replica, options: Options) -> Replica:
    try:
        async with AsyncRegistry(replica.address, options=options, learn=False, watch=False) as client:
            problem = await client.api.readiness()
            text = await client.api.metrics()
    except ClientError as exc:
        return replace(replica, problem=str(exc).removeprefix(replica.address).strip())
    return replace(replica, problem=problem, figures=figures_in(text))


def figures_in(text: str) -> dict[str, float]:
    """The figures of a text of /metrics that are looked at here; one that is missing is left out.

    Where several workers share the address, each tells its own: clients are added up, and of what all of them have the
    most is taken.
    """
    found: dict[str, float] = {}
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        if name in FIGURES:
            try:
                number = float(value)
            except ValueError:
                continue
            if math.isnan(number):
                continue  # it cannot know
            before = found.get(name, 0.0)
            found[name] = before + number if name in OF_CLIENTS else max(before, number)
    return found
