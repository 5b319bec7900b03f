"""Registry: a registry as a program of threads sees it. Beside the program, in a thread, runs an AsyncRegistry.

A forked child has no threads: the client starts anew in it, with the same registrations and subscriptions, and
leaves what it has inherited alone.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from msgspec.structs import replace

from registry.client.api import Api
from registry.client.async_registry import WAIT_S, AsyncRegistry, Options
from registry.client.ending import EXIT_CODE, on_sigterm
from registry.client.errors import Closed
from registry.client.listing import Change, Listing
from registry.client.names import ServiceName, parse_name
from registry.client.picking import By
from registry.client.providers import Provider, tell
from registry.client.registering import LEAVE_LIMIT_S, Offer, Registered
from registry.domain.model import Instance, Microservice

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds that the end of a client takes at most.
CLOSE_LIMIT_S: Final = 2 * LEAVE_LIMIT_S


class Registry:
    """A registry, as `with Registry() as registry:`, or for as long as the process lives: it unregisters at the end.

    Args:
        servers: see `Options`.
        options: see `Options`; what is given by name wins.
    """

    def __init__(self, servers: str | Sequence[str] = "", *, options: Options = Options(), **named: Any) -> None:  # noqa: B008 - frozen
        self.options = replace(options, **({"servers": servers} if servers else {}), **named)
        self.options.book()
        self._registered: list[RegisteredHandle] = []
        self._providers: dict[ServiceName, ProviderHandle] = {}
        self._stack = ExitStack()
        self._thread: _Thread | None = _Thread(self.options)
        open_clients.add(self)

    # -- life ----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._stack.enter_context(on_sigterm(lambda: sys.exit(EXIT_CODE)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._stack.close()

    def close(self) -> None:
        """Unregister everything, and let go of all connections."""
        open_clients.discard(self)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    @property
    def api(self) -> Api:
        """The operations of the API; `run` calls them."""
        return self._running().registry.api

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of an operation: `registry.run(registry.api.services())`."""
        return self._running().run(work)

    def _running(self) -> _Thread:
        if self._thread is None:
            raise Closed("the client is closed")
        return self._thread

    def after_fork(self) -> None:
        """Start anew in a forked child, whose parent has the thread and all that it holds. Python calls this."""
        inherited, self._thread = self._running(), None
        inherited.disown(handle.inner for handle in self._registered)
        self._thread = _Thread(self.options)
        for handle in self._registered:
            handle.inner = self._thread.run(_again(self._thread.registry, handle.inner.offer))
        for provider in self._providers.values():
            provider.move_to(self._subscribed(provider.name, provider.inner.listing))

    # -- of a provider -------------------------------------------------------------------------------------------------

    def register(
        self,
        service: str | Microservice,
        endpoints: Sequence[str] = (),
        *,
        instance: Instance | None = None,
        schemas: Mapping[str, str] | None = None,
        openapi: Mapping[str, Any] | None = None,
        wait_s: float = WAIT_S,
    ) -> RegisteredHandle:
        """As `AsyncRegistry.register`."""
        registered = self.run(
            self._running().registry.register(
                service, endpoints, instance=instance, schemas=schemas, openapi=openapi, wait_s=wait_s
            )
        )
        handle = RegisteredHandle(self, registered)
        self._registered.append(handle)
        return handle

    @contextmanager
    def registered(
        self, service: str | Microservice, endpoints: Sequence[str] = (), **named: Any
    ) -> Iterator[RegisteredHandle]:
        """`register` for the time of a block."""
        registered = self.register(service, endpoints, **named)
        try:
            yield registered
        finally:
            registered.unregister()

    def unregister(self, registered: RegisteredHandle) -> None:
        """End a registration before the client ends; after that it is ended already."""
        if registered in self._registered:
            self._registered.remove(registered)
            if self._thread is not None:
                self.run(self._thread.registry.unregister(registered.inner))

    # -- of a consumer -------------------------------------------------------------------------------------------------

    def provider(self, name: str | ServiceName) -> ProviderHandle:
        """As `AsyncRegistry.provider`."""
        key = parse_name(name) if isinstance(name, str) else name
        if key not in self._providers:
            self._providers[key] = ProviderHandle(self, self._subscribed(key))
        return self._providers[key]

    def _subscribed(self, name: ServiceName, known: Listing | None = None) -> Provider:
        thread = self._running()
        return thread.call(lambda: thread.registry.provider(name, known=known))

    def find(self, name: str | ServiceName) -> tuple[Instance, ...]:
        """As `AsyncRegistry.find`."""
        return self.run(self._running().registry.find(name))

    def poll(self) -> bool:
        """As `AsyncRegistry.poll`."""
        return self.run(self._running().registry.poll())


class RegisteredHandle:
    """One instance of this process, as `Registered`."""

    def __init__(self, registry: Registry, inner: Registered) -> None:
        self._registry = registry
        self.inner = inner

    @property
    def instance_id(self) -> str:
        return self.inner.instance_id

    @property
    def service_id(self) -> str:
        return self.inner.service_id

    @property
    def is_registered(self) -> bool:
        """Whether the registry has the instance, as far as is known."""
        return self.inner.is_registered

    def set_status(self, status: str) -> None:
        """UP, DOWN, STARTING, OUTOFSERVICE or TESTING. It outlives a registry that forgets the instance."""
        self._registry.run(self.inner.set_status(status))

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Replace the properties of the instance. They outlive a registry that forgets it."""
        self._registry.run(self.inner.set_properties(properties))

    def unregister(self) -> None:
        """End it; after the end of the client it is ended already."""
        self._registry.unregister(self)


class ProviderHandle:
    """The instances of one provider, as `Provider`."""

    def __init__(self, registry: Registry, inner: Provider) -> None:
        self._registry = registry
        self._callbacks: list[Callable[[list[Change]], None]] = []
        self.move_to(inner)

    def move_to(self, inner: Provider) -> None:
        """From now on these are the instances: after a fork."""
        self.inner = inner
        inner.on_change(self._tell)

    def _tell(self, changes: list[Change]) -> None:
        for callback in [*self._callbacks]:
            tell(self.name, callback, changes)

    @property
    def name(self) -> ServiceName:
        return self.inner.name

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All of them, in every status."""
        return self.inner.instances

    def pick(self, by: By = "less busy", accepts: Callable[[Instance], bool] = lambda _: True) -> Instance:
        """As `Provider.pick`."""
        return self.inner.pick(by, accepts)

    def using(
        self, by: By = "less busy", accepts: Callable[[Instance], bool] = lambda _: True
    ) -> AbstractContextManager[Instance]:
        """As `Provider.using`."""
        return self.inner.using(by, accepts)

    def failed(self, instance: Instance) -> None:
        """The instance did not serve: it is skipped for a while."""
        self.inner.failed(instance)

    def ready(self, timeout_s: float = 10.0) -> bool:
        """Wait until a registry has said what there is; False when none did in time."""
        return self._registry.run(self.inner.ready(timeout_s))

    def on_change(self, callback: Callable[[list[Change]], None]) -> Callable[[], None]:
        """As `Provider.on_change`; the callback runs in the thread of the client, which it must not hold up."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    def changes(self, *, since_now: bool = False) -> Iterator[Change]:
        """As `Provider.changes`; it ends when the client is closed."""
        changes = self.inner.changes(since_now=since_now)
        while (change := self._registry.run(_next(changes))) is not None:
            yield change


async def _next(changes: Any) -> Change | None:
    change: Change | None = await anext(changes, None)
    return change


async def _again(registry: AsyncRegistry, offer: Offer) -> Registered:
    schemas = {schema.schema_id: schema.schema for schema in offer.schemas}
    return await registry.register(offer.service, instance=offer.instance, schemas=schemas, wait_s=0.0)


class _Thread:
    """The thread in which the AsyncRegistry runs."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="registry client", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:
            self._failure = exc
            if self._started.is_set():
                logger.exception("the client ended")
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        async with AsyncRegistry(options=self._options) as self.registry:
            self._started.set()
            await self._stopped.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback of the client must not wait for the client")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, work: Callable[[], T]) -> T:
        """Run a function in the thread, for what belongs to its loop."""

        async def called() -> T:
            return work()

        return self.run(called())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(CLOSE_LIMIT_S)

    def disown(self, registered: Iterator[Registered]) -> None:
        """In a forked child. Its parts are given up, and everything else stays as it is: it is the parent's, too."""
        for one in registered:
            one.disown()
        _inherited.append(self)


#: Clients that are in use, for what happens at the end of the process and after a fork.
open_clients: weakref.WeakSet[Registry] = weakref.WeakSet()
#: What a child has of its parent. Freed, it would say goodbye on connections that are the parent's.
_inherited: list[_Thread] = []


def _close_all() -> None:
    for client in list(open_clients):
        client.close()


def _all_after_fork() -> None:
    for client in list(open_clients):
        client.after_fork()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_all_after_fork)
