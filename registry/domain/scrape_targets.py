"""Scrape targets: the instances as Prometheus asks for them (HTTP service discovery), so that it scrapes what is there.

Instances that Prometheus can tell apart by nothing but their address stand in one group.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from msgspec import Struct

from registry.domain.drawing import draw
from registry.domain.service_reads import is_shared
from registry.domain.steps import Steps, some_at_a_time
from registry.domain.view import Covers, RegistryView, ServiceRow

#: What every label begins with that says something of a target.
META: Final = "__meta_servicecomb_"
#: Schemes of endpoints that speak HTTP.
HTTP: Final = ("rest", "http", "https")
#: Properties that become labels, at most.
PROPERTIES_MAX: Final = 20
#: What a label's name may not have.
_STRANGE: Final = re.compile(r"[^a-zA-Z0-9_]")


class Wanted(Struct, frozen=True):
    """Which instances are told, and what of them. "": all of them, whatever it is.

    `protocol`: the scheme of the endpoint that is told; "": the first that speaks HTTP. `properties`: names of those of
    instances that become labels.
    """

    app_id: str = ""
    service_name: str = ""
    environment: str | None = None
    status: str = ""
    protocol: str = ""
    properties: tuple[str, ...] = ()


class TargetGroup(Struct, frozen=True):
    """As Prometheus reads it. `targets`: HOST:PORT."""

    targets: list[str]
    labels: dict[str, str]


class _Told(Struct, gc=False):
    """What an instance tells of itself that is looked at."""

    endpoints: list[str] = []
    status: str = ""
    properties: dict[str, str] = {}


_told = msgspec.json.Decoder(_Told).decode
_encode = msgspec.json.Encoder().encode


def scrape_targets(view: RegistryView, wanted: Wanted, hidden: frozenset[str], covers: Covers | None = None) -> Steps:
    """A JSON array of `TargetGroup`.

    Args:
        hidden: names in application `default` that are left out.
        covers: which microservices are shown; None: all.
    """
    pieces: list[bytes] = []
    for row in draw(view):
        if is_shared(row.service, hidden) or not (covers is None or covers(*row.group.key)) or not _fits(row, wanted):
            continue
        groups: dict[tuple[str, ...], TargetGroup] = {}
        for some in some_at_a_time(row.instances.values()):
            for instance in some:
                _place(groups, row, _told(instance.body), wanted)
            yield 0
        size = 0
        for group in groups.values():
            pieces.append(_encode(group))
            size += len(pieces[-1])
        yield size
    return [b"[", b",".join(pieces), b"]"]


def _fits(row: ServiceRow, wanted: Wanted) -> bool:
    service = row.service
    return (
        wanted.app_id in ("", service.app_id)
        and wanted.service_name in ("", service.service_name)
        and wanted.environment in (None, service.environment)
    )


def _place(groups: dict[tuple[str, ...], TargetGroup], row: ServiceRow, told: _Told, wanted: Wanted) -> None:
    if wanted.status not in ("", told.status):
        return
    found = next(_addresses(told.endpoints, wanted.protocol), None)
    if found is None:
        return
    address, is_secure = found
    values = tuple(told.properties.get(name, "") for name in wanted.properties)
    key = (told.status, "https" if is_secure else "", *values)
    group = groups.get(key)
    if group is None:
        group = groups[key] = TargetGroup(
            [], _labels(row, told.status, is_secure, dict(zip(wanted.properties, values, strict=True)))
        )
    group.targets.append(address)


def _labels(row: ServiceRow, status: str, is_secure: bool, properties: Mapping[str, str]) -> dict[str, str]:
    service = row.service
    labels = {
        f"{META}app": service.app_id,
        f"{META}service": service.service_name,
        f"{META}version": service.version,
        f"{META}environment": service.environment,
        f"{META}service_id": service.service_id,
        f"{META}status": status,
        **{f"{META}property_{_STRANGE.sub('_', name)}": value for name, value in properties.items()},
    }
    return {**labels, "__scheme__": "https"} if is_secure else labels


def _addresses(endpoints: list[str], protocol: str) -> Iterator[tuple[str, bool]]:
    """HOST:PORT of each endpoint of the protocol, and whether it speaks TLS. What is no address is passed over."""
    for endpoint in endpoints:
        try:
            parts = urlsplit(endpoint)
            if parts.hostname and parts.port and (parts.scheme == protocol if protocol else parts.scheme in HTTP):
                host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
                secure = parts.scheme == "https" or parse_qs(parts.query).get("sslEnabled") == ["true"]
                yield f"{host}:{parts.port}", secure
        except ValueError:
            continue
