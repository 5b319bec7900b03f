"""Polls: batch finds as clients repeat them, answered from parts that are known.

Each client has a body of its own, and in it the providers that others ask for as well. So no body is understood as a
whole: the bytes that name a provider are known, with the answer that holds until something changes.
"""

from __future__ import annotations

from types import NoneType
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from registry.domain.errors import RegistryError
from registry.domain.find import FindQuery
from registry.domain.request_bodies import FindKeyBody
from registry.domain.tenant import Tenant
from registry.domain.view import Answer, GroupKey, Standing
from registry.http_api import bodies, queries
from registry.http_api.shared_parts import BODY_MIN_BYTES, Part, shared
from registry.memo import Memo
from registry.usecases.discovery import Asker, Discovery

#: Providers known by the bytes that name them, for each kind of consumer, and bytes of these.
PROVIDERS_MAX: Final = 100_000
PROVIDERS_MAX_BYTES: Final = 32 * 1024 * 1024
#: Kinds of consumers.
KINDS_MAX: Final = 10_000


class _Element(Struct, forbid_unknown_fields=True, gc=False):
    service: Raw
    rev: str | UnsetType | None = UNSET


class _Body(Struct, forbid_unknown_fields=True, gc=False):
    services: list[_Element]
    instances: list[Raw] | UnsetType | None = UNSET


#: Bytes that members need in a body, by the type of their value, beside the characters of a rev.
REV_NEEDS: Final[dict[type, int]] = {str: len(',"rev":""'), NoneType: len(',"rev":null'), UnsetType: 0}
INSTANCES_NEED: Final[dict[type, int]] = {
    list: len(',"instances":[]'),
    NoneType: len(',"instances":null'),
    UnsetType: 0,
}

_decode: Final = msgspec.json.Decoder(_Body).decode
_encode: Final = msgspec.json.Encoder().encode


class _Provider(Struct, gc=False):
    """What is answered to one kind of consumer that asks for a provider, as long as the answer stands."""

    query: FindQuery
    #: As dependencies name it; None: it is not recorded who finds it.
    key: GroupKey | None
    rev: str
    standing: Standing | None
    #: What stands behind the index, and where the instances follow.
    head: bytes
    answer: Answer
    tail: Part = b""

    def told(self) -> Part:
        """The instances, put together when they are told for the first time."""
        if not self.tail and self.answer.count:
            self.tail = self.answer.members()
        return self.tail


class Told(Struct, frozen=True, gc=False):
    """The answer to a poll. `contradicts`: it tells the client that something it holds has changed.

    `updated`, `unmodified`: how many services are answered in full, and how many by their index alone. `more`: what
    follows the body where it is large.
    """

    body: bytes
    contradicts: bool
    updated: int
    unmodified: int
    more: tuple[Part, ...] = ()


class Polls:
    """Answers polls from the views as they are."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._answer_max_bytes = discovery.answer_max_bytes
        self._kinds: dict[tuple[object, ...], bytes] = {}
        self._kinds_ever = 0
        self._known: Memo[bytes, _Provider] = Memo(PROVIDERS_MAX, PROVIDERS_MAX_BYTES, _size)

    @property
    def size(self) -> int:
        """Bytes of all that is known."""
        return self._known.size

    def answer(self, tenant: Tenant, body: bytes, consumer_id: str) -> Told | None:
        """None: something in it is unusual, unknown, refused or to be recorded first, and another way answers."""
        try:
            poll = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        elements = poll.services
        asker = self._discovery.asker(tenant, consumer_id)
        if asker is None or not elements or poll.instances or len(elements) > queries.BATCH_MAX:
            return None
        kind = self._kind(asker)
        unmodified: list[int] = []
        updated: list[Part] = []
        new: list[FindQuery] = []
        contradicts, size = False, 0
        # A body that is no longer than what was understood of it needs has nothing else in it, nor anything twice.
        needed = len('{"services":[]}') - 1 + INSTANCES_NEED[type(poll.instances)]
        needed += (len('{"service":},') - len(kind)) * len(elements)
        for index, element in enumerate(elements):
            rev = element.rev
            named = b"".join((kind, element.service))
            needed += len(named) + REV_NEEDS[type(rev)]
            known = self._known.get(named)
            if known is None or known.standing is None or not known.standing.holds:
                known = self._learn(tenant, asker, named, element.service, known)
                if known is None:
                    return None
            if asker.found is not None and known.key is not None and known.key not in asker.found:
                new.append(structs.replace(known.query, consumer_id=consumer_id))
            if rev:
                needed += len(rev)
                if rev == known.rev:
                    unmodified.append(index)
                    continue
                contradicts = True
            size += known.answer.size
            if size > self._answer_max_bytes:
                return None
            updated += ((b',{"index":%d' if updated else b'{"index":%d') % index, known.head, known.told())
        if len(body) != needed:
            return None
        if new and self._discovery.unrecorded(tenant, new):
            return None
        body, more = _put_together(unmodified, updated, size)
        return Told(body, contradicts, len(updated) // 3, len(unmodified), more)

    def _kind(self, asker: Asker) -> bytes:
        kind = self._kinds.get(asker.kind)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            self._kinds_ever += 1
            kind = self._kinds[asker.kind] = self._kinds_ever.to_bytes(8)
        return kind

    def _learn(
        self, tenant: Tenant, asker: Asker, named: bytes, service: Raw, before: _Provider | None
    ) -> _Provider | None:
        """What is answered now; None: the provider is named wrongly, or the find is refused."""
        try:
            if before is not None:
                query = structs.replace(before.query, consumer_id=asker.consumer_id)
            else:
                query = queries.service_query(bodies.decode(bytes(service), FindKeyBody), asker.consumer_id)
            found = self._discovery.find_here(tenant, query)
        except RegistryError:
            return None
        shared = self._discovery.is_shared(query)
        key = None if shared else (asker.environment, query.app_id, query.service_name)
        known = _provider(query, key, found)
        if found.standing is not None:
            self._known.put(named, known)
        return known


def _provider(query: FindQuery, key: GroupKey | None, found: Answer) -> _Provider:
    head = b',"rev":"%b"%b' % (found.rev.encode(), b"," if found.count else b"}")
    return _Provider(query, key, found.rev, found.standing, head, found)


def _put_together(unmodified: list[int], updated: list[Part], size: int) -> tuple[bytes, tuple[Part, ...]]:
    if not updated:
        return b'{"services":{"notModified":%b}}' % _encode(unmodified), ()
    before = b'"notModified":%b,' % _encode(unmodified) if unmodified else b""
    parts = (b'{"services":{', before, b'"updated":[', *updated, b"]}}")
    return shared(parts) if size >= BODY_MIN_BYTES else (b"".join(parts), ())


def _size(named: bytes, known: _Provider) -> int:
    return len(named) + len(known.head) + known.answer.size
