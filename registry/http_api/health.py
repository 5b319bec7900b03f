"""Endpoints about the registry itself: version, health, readiness."""

from __future__ import annotations

import platform

import msgspec

from registry import __version__
from registry.domain.find import FindQuery
from registry.domain.view import DEFAULT_TENANT
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply
from registry.usecases.discovery import OWN_APP_ID, OWN_SERVICE_NAME


async def version(api: Api, call: Call) -> Reply:
    """`GET version`; without a project it is the API's third version that is asked."""
    return reply.json(
        msgspec.json.encode(
            {
                "version": __version__,
                "buildTag": f"{__version__}-python",
                "goVersion": f"python{platform.python_version()}",
                "os": platform.system().lower(),
                "arch": platform.machine(),
                "apiVersion": "4.0.0" if "project" in call.path else "3.0.0",
            }
        )
    )


async def health(api: Api, call: Call) -> Reply:
    """`GET health`: the replicas, as instances of `SERVICECENTER`, whatever tenant is asked."""
    answer = await api.discovery.find(DEFAULT_TENANT, FindQuery(OWN_APP_ID, OWN_SERVICE_NAME))
    return reply.json(answer.body)


async def readiness(api: Api, call: Call) -> Reply:
    """`GET health/readiness`: 200 and no body when this replica may be sent requests, else 503 and the reason."""
    reason = api.not_ready()
    return reply.text(503, reason + "\n") if reason else reply.empty()
