"""Endpoints about the registry itself: version, health, readiness."""

from __future__ import annotations

import platform

import msgspec

from registry import __version__
from registry.domain.errors import Unhealthy
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply


async def version(api: Api, call: Call) -> Reply:
    """`GET version`; without a project it is the API's third version that is asked."""
    api_version = "4.0.0" if "project" in call.path else "3.0.0"
    return reply.json(msgspec.json.encode({**version_set(), "apiVersion": api_version}))


def version_set() -> dict[str, str]:
    """What this registry is and runs on, under the names that clients know."""
    return {
        "version": __version__,
        "buildTag": f"{__version__}-python",
        "goVersion": f"python{platform.python_version()}",
        "os": platform.system().lower(),
        "arch": platform.machine(),
    }


async def health(api: Api, call: Call) -> Reply:
    """`GET health`: the replicas, as instances of `SERVICECENTER`, the same for every tenant.

    400002 while the store does not answer, takes no writes, or cannot have the deployment's durability.
    """
    alarm = api.alarms.refused()
    reason = alarm.fields["detail"] if alarm is not None else api.unhealthy()
    if reason:
        raise Unhealthy(reason)
    return reply.json((await api.discovery.own_instances()).body)


async def readiness(api: Api, call: Call) -> Reply:
    """`GET health/readiness`: 200 and no body when this replica may be sent requests, else 503 and the reason."""
    reason = api.not_ready()
    return reply.text(503, reason + "\n") if reason else reply.empty()
