"""Naming: which service versions a text means, by name or by id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from registry.client.api import Api
from registry.client.names import ANY_VERSION, ServiceName, parse_name
from registry.domain.model import Microservice
from registry.domain.version import Version, parse_rule, parse_version, select
from registry.remote.failing import Exit, Failure

#: Candidates that are named when a name means several.
NAMED_MAX = 5


def name_of(service: Microservice) -> str:
    """`shop/cart:1.0.0`, which every verb takes; the environment in front, where there is one."""
    environment = f"{service.environment} " if service.environment else ""
    return f"{environment}{service.app_id}/{service.service_name}:{service.version}"


def meant(services: Iterable[Microservice], text: str, environment: str = "") -> list[Microservice]:
    """The service versions that a text means: an id, or `[APP/]NAME[:VERSION]`. Without APP it may be any application.

    Raises:
        ValueError: it is no name, and no id of these.
    """
    known = list(services)
    by_id = [service for service in known if service.service_id == text]
    if by_id:
        return by_id
    name = parse_name(text, environment)
    found = [
        service
        for service in known
        if name.name in (service.service_name, service.alias)
        and ("/" not in text or service.app_id == name.app)
        and (not environment or service.environment == environment)
    ]
    if name.version == ANY_VERSION:
        return found
    # A rule is about the versions of one service.
    groups: dict[tuple[str, str, str], list[Microservice]] = {}
    for service in found:
        groups.setdefault((service.environment, service.app_id, service.service_name), []).append(service)
    rule = parse_rule(name.version)
    return [service for group in groups.values() for service in select(rule, group, _version_of)]


def _version_of(service: Microservice) -> tuple[str, Version]:
    return service.version, parse_version(service.version)


async def several(api: Api, text: str, environment: str = "") -> list[Microservice]:
    """The service versions that a text means; at least one.

    Raises:
        Failure: there is none.
    """
    found = meant(await api.services(shared=True), text, environment)
    if not found:
        raise Failure(Exit.NOT_FOUND, f"there is no service {text}; `registry services` lists what there is")
    return found


async def one(api: Api, text: str, environment: str = "") -> Microservice:
    """The one service version that a text means.

    Raises:
        Failure: there is none, or there are several.
    """
    found = await several(api, text, environment)
    if len(found) > 1:
        raise Failure(Exit.USAGE, f"{text} may be {listed(found)}; write one of them, or its id")
    return found[0]


async def provider_of(api: Api, text: str, environment: str = "") -> ServiceName:
    """What a consumer finds by, from an id or a name; without APP it may be of any application that has such a service.

    Raises:
        Failure: several applications have one.
    """
    if "/" in text:
        return parse_name(text, environment)
    known = await api.services(shared=True)
    for service in known:
        if service.service_id == text:
            return ServiceName(service.app_id, service.service_name, service.version, service.environment)
    wanted = parse_name(text, environment)
    found = meant(known, wanted.name, environment)
    groups = {(service.environment, service.app_id) for service in found}
    if len(groups) > 1:
        raise Failure(Exit.USAGE, f"{text} may be {listed(found)}; write the application in front, or give --env")
    for environment_, app in groups:
        return ServiceName(app, wanted.name, wanted.version, environment_)
    return wanted


def listed(services: Sequence[Microservice]) -> str:
    """Some of their names, in words."""
    names = sorted(map(name_of, services))
    more = f" or {len(names) - NAMED_MAX} others" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
