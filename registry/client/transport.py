"""Transports of httpx that resolve `cse://SERVICE/path`: each request goes to an instance of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx

from registry.client.async_registry import AsyncRegistry
from registry.client.errors import NoInstance
from registry.client.names import ServiceName, parse_name
from registry.client.sync_registry import Registry
from registry.domain.model import Instance

#: Instances that one request tries, when connections to them cannot be made.
ATTEMPTS_MAX: Final = 3
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout)


class _Resolver:
    """Which service a URL means, and the URL of one of its instances."""

    def __init__(self, app: str, names: Mapping[str, str]) -> None:
        self._app = app
        # httpx writes hosts in small letters.
        self._names = {host.lower(): parse_name(name) for host, name in names.items()}

    def name(self, url: httpx.URL) -> ServiceName:
        return self._names.get(url.host) or parse_name(f"{self._app}/{url.host}")


def has_url(instance: Instance) -> bool:
    """Whether the instance has an endpoint that speaks HTTP."""
    return url_of(instance) is not None


def url_of(instance: Instance) -> tuple[str, str, int] | None:
    """Scheme, host and port of an endpoint that speaks HTTP: `rest://host:port?sslEnabled=true`, or an http URL."""
    for endpoint in instance.endpoints:
        try:
            parts = urlsplit(endpoint)
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if host and parts.scheme in ("rest", "http", "https"):
            secured = parts.scheme == "https" or "sslEnabled=true" in parts.query
            return ("https" if secured else "http", host, port or (443 if secured else 80))
    return None


def _resolved(request: httpx.Request, instance: Instance) -> httpx.Request:
    found = url_of(instance)
    assert found is not None, "only such instances are accepted"
    scheme, host, port = found
    url = request.url.copy_with(scheme=scheme, host=host, port=port)
    headers = httpx.Headers([(name, value) for name, value in request.headers.raw if name.lower() != b"host"])
    headers["Host"] = url.netloc.decode("ascii")
    return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=request.extensions)


class AsyncRegistryTransport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…)`. Other URLs than `cse:` go where they always went.

    An instance that cannot be connected is passed over, and skipped for a while; what was sent is never sent twice.

    Args:
        app: the application of a service that is written without one.
        names: what a host means, where it is more than the name of a service: `{"orders": "shop/Orders:2.0+"}`.
        inner: what carries the requests.
    """

    def __init__(
        self,
        registry: AsyncRegistry,
        *,
        app: str = "default",
        names: Mapping[str, str] | None = None,
        inner: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._registry = registry
        self._resolver = _Resolver(app, names or {})
        self._inner = inner or httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != "cse":
            return await self._inner.handle_async_request(request)
        provider = self._registry.provider(self._resolver.name(request.url))
        if not provider.instances:
            await provider.ready()
        for attempts_left in reversed(range(ATTEMPTS_MAX)):
            try:
                with provider.using(accepts=has_url) as instance:
                    return await self._inner.handle_async_request(_resolved(request, instance))
            except NoInstance as exc:
                raise httpx.ConnectError(str(exc), request=request) from exc
            except _NOT_SENT:
                if not attempts_left:
                    raise
        raise AssertionError("the last attempt is given or raised")

    async def aclose(self) -> None:
        await self._inner.aclose()


class RegistryTransport(httpx.BaseTransport):
    """The same for `httpx.Client(transport=…)`."""

    def __init__(
        self,
        registry: Registry,
        *,
        app: str = "default",
        names: Mapping[str, str] | None = None,
        inner: httpx.BaseTransport | None = None,
    ) -> None:
        self._registry = registry
        self._resolver = _Resolver(app, names or {})
        self._inner = inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.scheme != "cse":
            return self._inner.handle_request(request)
        provider = self._registry.provider(self._resolver.name(request.url))
        if not provider.instances:
            provider.ready()
        for attempts_left in reversed(range(ATTEMPTS_MAX)):
            try:
                with provider.using(accepts=has_url) as instance:
                    return self._inner.handle_request(_resolved(request, instance))
            except NoInstance as exc:
                raise httpx.ConnectError(str(exc), request=request) from exc
            except _NOT_SENT:
                if not attempts_left:
                    raise
        raise AssertionError("the last attempt is given or raised")

    def close(self) -> None:
        self._inner.close()
