"""AsyncRegistry: a registry as a service of asyncio sees it."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from msgspec import Struct
from msgspec.structs import replace

from registry.client.addresses import SERVER_DEFAULT, AddressBook, Zone, address_book, parse_zone
from registry.client.api import Api
from registry.client.backoff import CAP_S
from registry.client.calls import TIMEOUT_S, Calls
from registry.client.ending import EXIT_CODE, on_sigterm
from registry.client.errors import ClientError, Closed
from registry.client.listing import Listing
from registry.client.login import Login
from registry.client.names import ServiceName, parse_name
from registry.client.providers import POLL_S, Poller, Provider
from registry.client.registering import Registered, offer_of
from registry.client.watching import Watcher
from registry.domain.model import Instance, Microservice

logger = logging.getLogger(__name__)

#: Seconds between two looks at which replicas there are, a fifth more or less.
LEARN_S: Final = 300.0
#: Seconds that a registration may take until the program goes on without it.
WAIT_S: Final = 10.0


class Options(Struct, frozen=True):
    """How a registry is reached, and how often.

    servers: one address or several, as a list or with commas between them; "" is `REGISTRY_SERVER`, or the default.
    tenant: X-Domain-Name. project: of the path.
    login: name and password of an account, where the registry has accounts.
    token: one that was given before, of a machine for example; with `login` it is renewed before it ends.
    tls: for https addresses; None: the authorities that the system trusts.
    zone: REGION/ZONE of this process; nearer replicas and instances are preferred.
    poll_s: seconds between two polls for changes.
    timeout_s: seconds for one request to one address.
    file: where what was found is kept, so that a start without a registry knows it.
    watch: whether changes are watched by websocket where that is allowed.
    learn: whether the registry is asked for its replicas; they are used when no given address answers.
    lock_folder: where processes that serve the same endpoints find each other; None: the system's temporary folder.
    """

    servers: str | Sequence[str] = ""
    tenant: str = "default"
    project: str = "default"
    login: tuple[str, str] | None = None
    token: str = ""
    tls: ssl.SSLContext | None = None
    zone: str = ""
    poll_s: float = POLL_S
    timeout_s: float = TIMEOUT_S
    file: Path | None = None
    watch: bool = True
    learn: bool = True
    lock_folder: Path | None = None

    def book(self) -> AddressBook:
        """The addresses.

        Raises:
            ValueError: there is none, or one is not an address.
        """
        return address_book(self.servers or os.environ.get("REGISTRY_SERVER", "") or SERVER_DEFAULT)

    def __repr__(self) -> str:
        """Without the password."""
        return f"Options({self.servers!r}, tenant={self.tenant!r}, project={self.project!r})"


class AsyncRegistry:
    """A registry, as `async with AsyncRegistry() as registry:`. At the end of the block everything is unregistered.

    Args:
        servers: see `Options`.
        options: see `Options`; what is given by name wins.
    """

    def __init__(self, servers: str | Sequence[str] = "", *, options: Options = Options(), **named: Any) -> None:  # noqa: B008 - frozen
        self.options = replace(options, **({"servers": servers} if servers else {}), **named)
        zone: Zone = parse_zone(self.options.zone)
        book = self.options.book()
        account = self.options.login or (("", "") if self.options.token else None)
        login = Login(*account, self.options.token) if account else None
        calls = Calls(
            book,
            tenant=self.options.tenant,
            zone=zone,
            login=login,
            tls=self.options.tls,
            timeout_s=self.options.timeout_s,
        )
        self.api = Api(calls, self.options.project)
        self._tenant = f"{self.options.tenant}/{self.options.project}"
        self._registered: list[Registered] = []
        self._poller = Poller(
            self.api,
            tenant=self._tenant,
            zone=zone,
            poll_s=self.options.poll_s,
            consumer=self._consumer,
            forgotten=self._forgotten,
            file=self.options.file,
        )
        self._watcher = Watcher(self.api, self._consumer, self._poller.poll, self._forgotten)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._terminated = False
        self._is_open = False
        self._stack = AsyncExitStack()

    # -- life ----------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._is_open = True
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end() -> None:
            self._terminated = True
            loop.call_soon_threadsafe(task.cancel)

        self._stack.enter_context(on_sigterm(end))
        if self.options.learn:
            self._keep("learning", self._learn)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        finally:
            await self._stack.aclose()
        if self._terminated and kind is asyncio.CancelledError:
            raise SystemExit(EXIT_CODE)

    async def close(self) -> None:
        """Unregister everything, and let go of all connections."""
        self._is_open = False
        self._poller.close()
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*(registered.unregister() for registered in self._registered))
        finally:
            self._registered.clear()
            if tasks:
                await asyncio.wait(tasks)
            await self.api.calls.close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise Closed("the client is not open; use it within its `with` block")

    def _keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run one of the loops beside the program."""
        if name not in self._tasks:
            self._tasks[name] = asyncio.create_task(_forever(name, run), name=name)

    # -- of a provider -------------------------------------------------------------------------------------------------

    async def register(
        self,
        service: str | Microservice,
        endpoints: Sequence[str] = (),
        *,
        instance: Instance | None = None,
        schemas: Mapping[str, str] | None = None,
        openapi: Mapping[str, Any] | None = None,
        wait_s: float = WAIT_S,
    ) -> Registered:
        """Register an instance of a service, and keep it registered until the end of the client.

        Args:
            service: `[APP/]NAME[:VERSION]`, or everything about it.
            endpoints: where the instance is reached, such as `rest://10.0.0.1:8080`.
            instance: everything else about it: status, properties, health check, data center, an id of its own.
            schemas: texts by schema id.
            openapi: an OpenAPI document, which becomes the schema that is called as the service.
            wait_s: seconds to wait for it; a registry that is away later than that is waited for beside the program.

        Raises:
            Refused: the registry refuses it.
            ValueError: what is to be registered is not described well.
        """
        self._check_open()
        content = instance or Instance()
        if endpoints:
            content = replace(content, endpoints=list(endpoints))
        offer = offer_of(service, content, tenant=self._tenant, schemas=schemas, openapi=openapi)
        share = f"{','.join(sorted(address.url for address in self.options.book().addresses))}/{self._tenant}"
        registered = Registered(self.api, offer, share, self._registered_again, self.options.lock_folder)
        self._registered.append(registered)
        try:
            await registered.start(wait_s)
        except BaseException:
            self._registered.remove(registered)
            raise
        return registered

    @asynccontextmanager
    async def registered(
        self, service: str | Microservice, endpoints: Sequence[str] = (), **named: Any
    ) -> AsyncIterator[Registered]:
        """`register` for the time of a block."""
        registered = await self.register(service, endpoints, **named)
        try:
            yield registered
        finally:
            await self.unregister(registered)

    async def unregister(self, registered: Registered) -> None:
        """End a registration before the client ends."""
        await registered.unregister()
        if registered in self._registered:
            self._registered.remove(registered)

    # -- of a consumer -------------------------------------------------------------------------------------------------

    def provider(self, name: str | ServiceName, *, known: Listing | None = None) -> Provider:
        """Subscribe to a provider: its instances are kept current from now on, by one poll for all providers.

        Once this client has registered a service it finds as that consumer: what another application or environment
        does not show to it, it does not see (api-rules.md 3.6). `known`: what another client knew of the provider.
        """
        self._check_open()
        provider = self._poller.provider(parse_name(name) if isinstance(name, str) else name, known)
        self._keep("polling", self._poller.run)
        if self.options.watch:
            self._keep("watching", self._watcher.run)
        return provider

    async def find(self, name: str | ServiceName) -> tuple[Instance, ...]:
        """Ask now for the instances of a provider; while no registry answers, what it was at last.

        Raises:
            Refused: the registry refuses: 400012 when it knows no such service.
            Unreachable: no registry answers, and nothing was ever known.
        """
        self._check_open()
        listing = await self._poller.find(parse_name(name) if isinstance(name, str) else name)
        return listing.instances

    async def poll(self) -> bool:
        """Ask now for everything that is subscribed to; whether anything has changed."""
        return await self._poller.poll()

    @property
    def is_watching(self) -> bool:
        """Whether changes are told at once; otherwise they are seen by the next poll."""
        return self._watcher.is_watching

    # -- beside it -----------------------------------------------------------------------------------------------------

    def _consumer(self) -> str:
        return self._registered[0].service_id if self._registered else ""

    def _registered_again(self) -> None:
        self._poller.nudge()
        self._watcher.wake()

    def _forgotten(self) -> None:
        for registered in self._registered:
            registered.nudge()

    async def _learn(self) -> None:
        while True:
            try:
                replicas = await self.api.health()
            except ClientError as exc:
                logger.debug("the replicas are not known: %s", exc)
            else:
                calls = self.api.calls
                calls.book = calls.book.learned(replicas, tls=calls.tls is not None)
            await asyncio.sleep(LEARN_S * (0.8 + 0.4 * random.random()))


async def _forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A bug in one of the client's loops is told, and costs a while, not the service around it."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("%s failed, it goes on after a while", name)
        await asyncio.sleep(CAP_S)
