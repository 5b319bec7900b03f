"""Polls: batch finds as clients repeat them, answered from elements that are known."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from registry.domain.find import FindQuery
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import GroupKey
from registry.http_api import queries
from registry.http_api.shared_parts import BODY_MIN_BYTES, Part, shared
from registry.serving.elements import Element, Elements, Update, cut
from registry.usecases.discovery import Asker, Discovery

_encode: Final = msgspec.json.Encoder().encode


class Poll(Struct, gc=False):
    """A batch find, understood, for consumers of one kind (`Elements.kind`)."""

    kind: int
    elements: tuple[Element, ...]
    #: `Discovery.changes` at which the elements were seen to be up to date.
    changes: int
    #: The client has everything as it is.
    is_same: bool
    #: What the consumer has not found before.
    new: list[GroupKey]

    @property
    def lasts(self) -> bool:
        """Whether it may be answered again without being read. What no quota lets be recorded is counted each time."""
        return not self.new and all(element.standing.holds for element in self.elements)


class Told(Struct, frozen=True, gc=False):
    """The answer to a poll.

    `changes`: `Discovery.changes` at which it was true; those of the poll move on. `updated`, `unmodified`: how many
    services are answered in full, and how many by their index alone. `contradicts`: something that the client holds has
    changed. `more`: what follows the body where it is large.
    """

    poll: Poll
    changes: int
    body: bytes
    updated: int
    unmodified: int
    contradicts: bool = False
    more: tuple[Part, ...] = ()


class Polls:
    """Answers polls from the views as they are.

    Args:
        forget: called before elements are forgotten. No poll may be held on to then.
    """

    def __init__(self, discovery: Discovery, forget: Callable[[], None] = lambda: None) -> None:
        self._discovery = discovery
        self.elements = Elements(discovery, forget)

    def answer(self, tenant: Tenant, body: bytes, consumer_id: str, poll: Poll | None = None) -> Told | None:
        """None: something in it is unusual, unknown, refused or to be recorded first, and another way answers.

        Args:
            poll: what the body means, if that is known.
        """
        asker = self._discovery.asker(tenant, consumer_id)
        if asker is None:
            return None
        if poll is None or not self._renew(tenant, asker, poll):
            poll = self._read(tenant, asker, body)
        told = self._tell(tenant, asker, poll) if poll is not None else None
        if told is not None and told.poll.new:
            asked = [FindQuery(app_id, name, consumer_id=consumer_id) for _, app_id, name in told.poll.new]
            if self._discovery.unrecorded(tenant, asked):
                return None
        return told

    def renew(self, tenant: Tenant, poll: Poll, consumer_id: str) -> bool:
        """Bring the poll up to date; False: it has to be read again."""
        asker = self._discovery.asker(tenant, consumer_id)
        return asker is not None and self._renew(tenant, asker, poll)

    def _renew(self, tenant: Tenant, asker: Asker, poll: Poll) -> bool:
        changes = self._discovery.changes
        if poll.changes == changes:
            return True
        elements = poll.elements
        if self.elements.kind(asker) != poll.kind or not self.elements.are_current(tenant, asker, elements):
            return False
        if asker.found is not None and _not_found(elements, asker.found):
            return False
        poll.is_same = _are_same(elements)
        poll.changes = changes
        return True

    def _read(self, tenant: Tenant, asker: Asker, body: bytes) -> Poll | None:
        texts = cut(body)
        if not texts or len(texts) > queries.BATCH_MAX:
            return None
        elements = self.elements.find(tenant, asker, texts)
        if elements is None:
            return None
        new = _not_found(elements, asker.found) if asker.found is not None else []
        return Poll(self.elements.kind(asker), tuple(elements), self._discovery.changes, _are_same(elements), new)

    def _tell(self, tenant: Tenant, asker: Asker, poll: Poll) -> Told | None:
        services = len(poll.elements)
        if poll.is_same:
            return Told(poll, poll.changes, nothing_new(services), 0, services)
        updates: list[tuple[int, Update]] = []
        contradicts, size = False, 0
        for index, element in enumerate(poll.elements):
            if element.is_same:
                continue
            update = self.elements.update(tenant, asker, element)
            if update is None:
                return None
            if update.contradicts:
                if element.key is None and tenant != DEFAULT_TENANT:
                    return None  # it stands in another tenant, whose log is to be asked as well
                contradicts = True
            size += update.answer.size
            if size > self._discovery.answer_max_bytes:
                return None
            updates.append((index, update))
        body, more = _put_together(services, updates, size)
        return Told(poll, poll.changes, body, len(updates), services - len(updates), contradicts, more)


def _not_found(elements: Iterable[Element], found: Container[GroupKey]) -> list[GroupKey]:
    """Those of which it is not recorded that the consumer has found them."""
    return [element.key for element in elements if element.key is not None and element.key not in found]


def _are_same(elements: Iterable[Element]) -> bool:
    for element in elements:  # noqa: SIM110 - a generator takes twice as long
        if not element.is_same:
            return False
    return True


@lru_cache(64)
def nothing_new(services: int) -> bytes:
    """What is answered to a client that has everything as it is. It is one object for the same number of services."""
    return b'{"services":{"notModified":%b}}' % _encode(list(range(services)))


def _put_together(services: int, updates: Sequence[tuple[int, Update]], size: int) -> tuple[bytes, tuple[Part, ...]]:
    parts: list[Part] = [b'{"services":{']
    if len(updates) < services:
        unmodified = list(range(services))
        for index, _ in reversed(updates):
            del unmodified[index]
        parts.append(b'"notModified":%b,' % _encode(unmodified))
    mark = b'"updated":[{"index":%d'
    for index, update in updates:
        parts += (mark % index, update.head, update.told())
        mark = b',{"index":%d'
    parts.append(b"]}}")
    return shared(parts) if size >= BODY_MIN_BYTES else (b"".join(parts), ())
