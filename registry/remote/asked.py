"""Asked: what a verb about the past is about - a time, a service that may be gone, an instance of it."""

from __future__ import annotations

import re
import time
from typing import Final

from registry.client.api import Api
from registry.client.names import ANY_VERSION, parse_name
from registry.client.past import Past, Question
from registry.remote.failing import Exit, Failure
from registry.remote.naming import meant

_AGO: Final = re.compile(r"(\d{1,6})(s|m|h|d)", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
#: What a registry gives as an id.
_GIVEN_ID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}", re.ASCII)
#: Seconds. The first question about the past starts a process, and may read a snapshot and all that followed.
PAST_TIMEOUT_S: Final = 30.0
#: The newest events of a service that are looked through for an instance that is gone.
LOOKED_THROUGH: Final = 1000


def when(text: str) -> str:
    """A time as the registry reads it: `10m` is ten minutes ago; everything else is left to the registry."""
    ago = _AGO.fullmatch(text)
    return str(int((time.time() - int(ago[1]) * _SECONDS[ago[2]]) * 1000)) if ago else text


async def question(api: Api, name: str, env: str = "") -> Question:
    """What is asked about a service by its name or id, which may be gone; about everything when there is no name."""
    if not name:
        return Question(env=env or None)
    by_id = [service.service_id for service in await api.services(shared=True) if service.service_id == name]
    if by_id or _GIVEN_ID.fullmatch(name):
        return Question(service_id=name)
    wanted = parse_name(name, env)
    if not wanted.is_exact and wanted.version != ANY_VERSION:
        raise Failure(Exit.USAGE, f"{name}: give one version, or none; what was at other times no rule can choose from")
    version = wanted.version if wanted.is_exact else ""
    return Question(app=wanted.app if "/" in name else "", name=wanted.name, env=env or None, version=version)


async def instance_of(api: Api, past: Past, name: str, instance: str, env: str = "") -> tuple[str, str]:
    """The service id and the instance id of one that is there, or was. It may be named by the beginning of its id.

    Raises:
        Failure: there is none, or there are several.
    """
    there = {
        (service.service_id, found.instance_id)
        for service in meant(await api.services(shared=True), name, env)
        for found in await api.instances(service.service_id)
        if found.instance_id.startswith(instance)
    }
    if not there:
        page = await past.page(await question(api, name, env), LOOKED_THROUGH)
        found_ids = ((event.service_id, event.instance_id) for event in page.events)
        there = {ids for ids in found_ids if ids[1].startswith(instance)}
    exact = [ids for ids in there if ids[1] == instance] or sorted(there)
    if len(exact) == 1:
        return exact[0]
    if exact:
        raise Failure(
            Exit.USAGE, f"{len(exact)} instances of {name} begin so: {', '.join(ids[1] for ids in exact[:5])}"
        )
    raise Failure(
        Exit.NOT_FOUND, f"{name} has no instance {instance}, nor had it in its newest {LOOKED_THROUGH} events"
    )
