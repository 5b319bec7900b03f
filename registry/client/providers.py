"""Providers: what a consumer has subscribed to, and the one poll that keeps all of it current."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from registry.client import keeping
from registry.client.addresses import NOWHERE, Zone
from registry.client.aliases import Aliases, is_unknown
from registry.client.api import Api, FindResult, Found, NotModified, Unknown
from registry.client.backoff import delay_s, spread_s
from registry.client.calls import steady
from registry.client.connecting import turn_to_poll
from registry.client.errors import SERVICE_NOT_EXISTS, Refused, Unreachable
from registry.client.listing import Change, Listing, differences
from registry.client.names import ServiceName
from registry.client.picking import By, Picker
from registry.domain.model import Instance

logger = logging.getLogger(__name__)

#: Seconds between two polls; each is up to a tenth earlier or later, so that consumers come apart.
POLL_S: Final = 15.0
POLL_SPREAD: Final = 0.1
#: Seconds after which another address is asked whether a provider is really empty.
DOUBT_S: Final = 2.0
#: What one client may subscribe to or have found.
PROVIDERS_MAX: Final = 10_000


class Provider:
    """The instances of one provider, kept current. Reading and picking never wait, and any thread may do it."""

    def __init__(self, name: ServiceName, listing: Listing, zone: Zone = NOWHERE) -> None:
        self.name = name
        self.listing = listing
        self._picker = Picker(name.text(), zone)
        self._changed = asyncio.Event()
        self._answered = asyncio.Event()
        self._callbacks: list[Callable[[list[Change]], None]] = []
        self._closed = False

    @property
    def instances(self) -> tuple[Instance, ...]:
        """All of them, in every status."""
        return self.listing.instances

    def pick(self, by: By = "less busy", accepts: Callable[[Instance], bool] = lambda _: True) -> Instance:
        """One instance that is up, near, and has not failed lately.

        Args:
            by: "less busy": of two at random the one with fewer calls under way (`using`); "turn": one after the other.
            accepts: further conditions.

        Raises:
            NoInstance: none is up.
        """
        return self._picker.pick(self.instances, by, accepts)

    @contextmanager
    def using(self, by: By = "less busy", accepts: Callable[[Instance], bool] = lambda _: True) -> Iterator[Instance]:
        """Pick one, and count the call as under way; an exception in the block says that the instance failed."""
        with self._picker.using(self.pick(by, accepts)) as instance:
            yield instance

    def failed(self, instance: Instance) -> None:
        """The instance did not serve: it is skipped for a while."""
        self._picker.failed(instance)

    async def ready(self, timeout_s: float = 10.0) -> bool:
        """Wait until a registry has said what there is; False when none did in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._answered.wait()
        except TimeoutError:
            return False
        return True

    def on_change(self, callback: Callable[[list[Change]], None]) -> Callable[[], None]:
        """Have `callback` called with the changes, in the order in which they are seen; returns what ends that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback) if callback in self._callbacks else None

    async def changes(self, *, since_now: bool = False) -> AsyncIterator[Change]:
        """Every change as it comes; first, unless `since_now`, each present instance as added.

        A reader that is slow misses no difference, only what came and went meanwhile.
        """
        seen: tuple[Instance, ...] = self.instances if since_now else ()
        while not self._closed:
            changed, now = self._changed, self.instances
            for change in differences(seen, now):
                yield change
            seen = now
            await changed.wait()

    def update(self, listing: Listing) -> None:
        """A registry has answered."""
        before, self.listing = self.listing, listing
        self._answered.set()
        if before.instances == listing.instances:
            return
        changes = differences(before.instances, listing.instances)
        for callback in [*self._callbacks] if changes else ():
            tell(self.name, callback, changes)
        self._tell()

    def close(self) -> None:
        """The readers of `changes` come to their end."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def tell(name: ServiceName, callback: Callable[[list[Change]], None], changes: list[Change]) -> None:
    """Call a callback; what it fails with is logged, and hurts nobody else."""
    try:
        callback(changes)
    except Exception:
        logger.exception("a callback for changes of %s failed", name.text())


class Poller:
    """Asks for all providers at once.

    Args:
        consumer: the id of the consuming service, "" when there is none.
        forgotten: called when the registry seems not to know the consumer any more.
        file: where the listings are kept; None: nowhere.
    """

    def __init__(
        self,
        api: Api,
        *,
        tenant: str,
        zone: Zone = NOWHERE,
        poll_s: float = POLL_S,
        consumer: Callable[[], str] = lambda: "",
        forgotten: Callable[[], None] = lambda: None,
        file: Path | None = None,
    ) -> None:
        self._api = api
        self._tenant = tenant
        self._zone = zone
        self._poll_s = poll_s
        self._consumer = consumer
        self._forgotten = forgotten
        self._file = file
        self._listings: dict[ServiceName, Listing] = keeping.load(file, tenant) if file else {}
        self._kept = dict(self._listings)
        self._providers: dict[ServiceName, Provider] = {}
        self._aliases = Aliases(api)
        #: Why the registry refuses a provider, for those that it refuses.
        self._refused: dict[ServiceName, int] = {}
        self._nudged = asyncio.Event()
        self._failures = 0

    def provider(self, name: ServiceName, known: Listing | None = None) -> Provider:
        """Subscribe to a provider; the same one for the same name. `known`: what is known of it already."""
        if name not in self._providers:
            self._check_limit(name)
            if known is not None:
                self._listings.setdefault(name, known)
            self._providers[name] = Provider(name, self._listings.get(name, Listing()), self._zone)
            self.nudge()
        return self._providers[name]

    def nudge(self) -> None:
        """Ask now: there is reason to think that something has changed."""
        self._nudged.set()

    async def find(self, name: ServiceName) -> Listing:
        """Ask for one provider now. When no registry answers, what is known stands.

        Raises:
            Refused: the registry refuses, and nothing is known.
            Unreachable: no registry answers, and nothing was ever known.
        """
        self._check_limit(name)
        known = self._listings.get(name, Listing())
        try:
            result: FindResult = await self._api.find(name, known.rev, self._consumer())
        except Unreachable:
            if not known.rev:
                raise
            return known
        except Refused as exc:
            if not known.instances:
                raise
            if exc.code != SERVICE_NOT_EXISTS:
                return known
            result = Found([], "", self._api.calls.book.current)
        return self._apply(name, result)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self._pause(self._next_s())
            if self._providers:
                await self.poll()

    async def poll(self) -> bool:
        """Ask for all providers, by one request; whether anything has changed."""
        async with turn_to_poll():
            return await self._poll()

    async def _poll(self) -> bool:
        names = sorted(self._providers)
        before = [self._listings.get(name, Listing()) for name in names]
        doubted = any(listing.doubts for listing in before)
        avoid = self._api.calls.book.current if doubted else ""
        try:
            results = await self._find(names, before, avoid)
        except (Unreachable, Refused) as exc:
            if self._failures == 0:
                logger.warning("providers cannot be asked for, what is known stands: %s", exc)
            self._failures += 1
            return False
        if self._failures:
            logger.info("providers can be asked for again")
        self._failures = 0
        self._note_unknown(names, results)
        after = [self._apply(name, result) for name, result in zip(names, results, strict=True)]
        self._keep()
        return [listing.instances for listing in before] != [listing.instances for listing in after]

    async def _find(self, names: Sequence[ServiceName], known: Sequence[Listing], avoid: str) -> list[FindResult]:
        wanted = [(self._aliases.real(name), listing.rev) for name, listing in zip(names, known, strict=True)]
        results = await self._api.find_many(wanted, self._consumer(), avoid)
        if any(map(is_unknown, results)):
            named = await self._aliases.resolve(list(zip(names, results, strict=True)), self._consumer())
            results = [result for _, result in named]
        return results

    def close(self) -> None:
        for provider in self._providers.values():
            provider.close()

    # -- what an answer means ------------------------------------------------------------------------------------------

    def _apply(self, name: ServiceName, result: FindResult) -> Listing:
        known = self._listings.get(name, Listing())
        match result:
            case NotModified():
                listing = known.unchanged(steady())
            case Found(instances, rev, address):
                listing = known.answered(instances, rev, address, steady())
            case Unknown(error, address) if error.code == SERVICE_NOT_EXISTS:
                # A provider that is not there any more is an empty one, and doubted as such.
                listing = known.answered([], "", address, steady())
            case Unknown(error):
                # What may not be seen now, or not asked so, says nothing of the instances.
                if self._refused.get(name) != error.code:
                    logger.warning("%s is refused, what is known stands: %s", name.text(), error)
                self._refused[name] = error.code
                return known
        self._refused.pop(name, None)
        self._listings[name] = listing
        if name in self._providers:
            self._providers[name].update(listing)
        return listing

    def _note_unknown(self, names: Sequence[ServiceName], results: Sequence[FindResult]) -> None:
        unknown = sum(map(is_unknown, results))
        if unknown and unknown == len(names) and self._consumer():
            # 400012 means the provider, or the consumer (registry/docs/errors.md).
            self._forgotten()

    def _keep(self) -> None:
        if self._file is None:
            return
        if {n: li.rev for n, li in self._listings.items()} != {n: li.rev for n, li in self._kept.items()}:
            self._kept = dict(self._listings)
            keeping.save(self._file, self._tenant, self._kept)

    def _check_limit(self, name: ServiceName) -> None:
        if name not in self._listings and len({*self._listings, *self._providers}) >= PROVIDERS_MAX:
            raise ValueError(f"one client asks for at most {PROVIDERS_MAX} provider(s)")

    # -- when ----------------------------------------------------------------------------------------------------------

    def _next_s(self) -> float:
        if self._failures:
            # What is known stands meanwhile; heartbeats are in a greater hurry.
            known = all(provider.listing.confirmed_at is not None for provider in self._providers.values())
            draw = random.random()
            return spread_s(self._poll_s, draw) if known else delay_s(self._failures, draw, cap_s=self._poll_s)
        elsewhere = len(self._api.calls.book.addresses) > 1
        if elsewhere and any(self._listings[name].doubts for name in self._providers if name in self._listings):
            return min(DOUBT_S, self._poll_s)
        return self._poll_s * (1 + POLL_SPREAD * (2 * random.random() - 1))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._nudged.wait()
        except TimeoutError:
            pass
        self._nudged.clear()
