"""A lifespan for Starlette, FastAPI and their like: the application is registered as long as it serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from registry.client.async_registry import AsyncRegistry, Options
from registry.domain.model import Instance, Microservice

Lifespan = Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]


def registering(
    service: str | Microservice,
    endpoints: Sequence[str],
    *,
    instance: Instance | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
    inner: Lifespan | None = None,
) -> Lifespan:
    """A lifespan that registers an instance while the application serves.

    Its OpenAPI document, where the application has one, becomes a schema of the service. Handlers find the client as
    `request.state.registry`, and the registration as `request.state.registered`.

    Args:
        service, endpoints, instance: see `AsyncRegistry.register`.
        inner: the application's own lifespan, if it has one: it starts before the registration, and ends after it.
    """

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
        openapi = app.openapi() if callable(getattr(app, "openapi", None)) else None
        async with (inner or _nothing)(app) as state, AsyncRegistry(options=options) as registry:
            registered = await registry.register(service, endpoints, instance=instance, openapi=openapi)
            yield {**(state or {}), "registry": registry, "registered": registered}

    return lifespan


@asynccontextmanager
async def _nothing(app: Any) -> AsyncIterator[dict[str, Any]]:
    yield {}
