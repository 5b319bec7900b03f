"""Polls: batch finds as clients repeat them, answered from parts that are known.

Each client has a body of its own, and in it the providers that others ask for as well. So no body is decoded as a
whole: it is cut where one element ends and the next begins, and each element is known by its bytes, with the answer
that holds until something changes. Every element was decoded once, so all of them together are valid, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import NoneType
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from registry.domain.errors import RegistryError
from registry.domain.find import FindQuery
from registry.domain.request_bodies import FindKeyBody
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import Answer, GroupKey
from registry.http_api import bodies, queries
from registry.http_api.shared_parts import BODY_MIN_BYTES, Part, shared
from registry.memo import Memo
from registry.serving.kept import Fact, Kept
from registry.usecases.discovery import Asker, Discovery

#: Providers known by the bytes that name them, for each kind of consumer, and bytes of these.
PROVIDERS_MAX: Final = 100_000
PROVIDERS_MAX_BYTES: Final = 32 * 1024 * 1024
#: Microservice names of which there are facts, and bytes of these.
FACTS_MAX: Final = 100_000
FACTS_MAX_BYTES: Final = 32 * 1024 * 1024
#: Bytes of a fact beside the name itself.
_FACT_BYTES: Final = 320
#: Kinds of consumers.
KINDS_MAX: Final = 10_000


class _Element(Struct, forbid_unknown_fields=True, gc=False):
    service: Raw
    rev: str | UnsetType | None = UNSET


#: How bodies begin and end that ask for services alone, and are written without spaces; between are the elements.
_FORMS: Final = tuple(
    (begin + b'"services":[{', b"}]" + end)
    for begin, end in (
        (b"{", b"}"),
        *((b"{", b',"instances":%b}' % nothing) for nothing in (b"null", b"[]")),
        *((b'{"instances":%b,' % nothing, b"}") for nothing in (b"null", b"[]")),
    )
)
_BETWEEN: Final = b"},{"
#: Bytes that members need in an element, by the type of their value, beside the characters of a rev.
_REV_NEEDS: Final[dict[type, int]] = {str: len(',"rev":""'), NoneType: len(',"rev":null'), UnsetType: 0}

_decode: Final = msgspec.json.Decoder(_Element).decode
_encode: Final = msgspec.json.Encoder().encode


class _Provider(Fact, gc=False):
    """What is answered to one kind of consumer that asks for a provider with a rev, as long as the answer stands."""

    query: FindQuery
    #: What stands behind the index, and where the instances follow.
    head: bytes = b""
    #: None: the client has it, and is told by its index alone.
    answer: Answer | None = None
    #: The client has another answer.
    contradicts: bool = False
    tail: Part = b""
    #: What all answers that rest on it hold in its place; None: it says nothing about how long it is true.
    fact: Fact | None = None

    def told(self) -> Part:
        """The instances, put together when they are told for the first time."""
        if not self.tail and self.answer is not None and self.answer.count:
            self.tail = self.answer.members()
        return self.tail


class Told(Struct, frozen=True, gc=False):
    """The answer to a poll. `contradicts`: it tells the client that something it holds has changed.

    `updated`, `unmodified`: how many services are answered in full, and how many by their index alone. `more`: what
    follows the body where it is large. `kept`: the same answer, where all are answered by their index.
    """

    body: bytes
    contradicts: bool
    updated: int
    unmodified: int
    more: tuple[Part, ...] = ()
    kept: Kept | None = None


class Polls:
    """Answers polls from the views as they are."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._answer_max_bytes = discovery.answer_max_bytes
        self._kinds: dict[tuple[object, ...], bytes] = {}
        self._kinds_ever = 0
        self._known: Memo[bytes, _Provider] = Memo(PROVIDERS_MAX, PROVIDERS_MAX_BYTES, _size)
        #: What is kept of bodies holds these. It must not grow with the ways in which clients write the same name.
        self._facts: Memo[tuple[Tenant, GroupKey], Fact] = Memo(FACTS_MAX, FACTS_MAX_BYTES, _fact_size)

    @property
    def size(self) -> int:
        """Bytes of all that is known."""
        return self._known.size

    @property
    def facts_size(self) -> int:
        """Bytes of all facts."""
        return self._facts.size

    def answer(self, tenant: Tenant, body: bytes, consumer_id: str) -> Told | None:
        """None: something in it is unusual, unknown, refused or to be recorded first, and another way answers."""
        elements = _cut(body)
        asker = self._discovery.asker(tenant, consumer_id)
        if asker is None or not elements or len(elements) > queries.BATCH_MAX:
            return None
        providers = self._providers(tenant, asker, elements)
        if providers is None:
            return None
        found = asker.found
        new = []
        if found is not None:
            new = [known.query for known in providers if known.key is not None and known.key not in found]
        unmodified: list[int] = []
        updated: list[Part] = []
        contradicts, size = False, 0
        for index, known in enumerate(providers):
            if known.answer is None:
                unmodified.append(index)
                continue
            if known.contradicts:
                if known.key is None and tenant != DEFAULT_TENANT:
                    return None  # it stands in another tenant, whose log is to be asked as well
                contradicts = True
            size += known.answer.size
            if size > self._answer_max_bytes:
                return None
            updated += ((b',{"index":%d' if updated else b'{"index":%d') % index, known.head, known.told())
        if new:
            asked = [structs.replace(query, consumer_id=consumer_id) for query in new]
            if self._discovery.unrecorded(tenant, asked):
                return None
        if updated:
            told, more = _put_together(unmodified, updated, size)
            return Told(told, contradicts, len(updated) // 3, len(unmodified), more)
        # What was not recorded for a quota is counted with each find.
        facts = [known.fact for known in providers if known.fact is not None] if not new else []
        kept = Kept(asker.kind, tuple(facts), self._discovery.changes) if len(facts) == len(providers) else None
        return Told(nothing_new(len(unmodified)), False, 0, len(unmodified), (), kept)

    def _providers(self, tenant: Tenant, asker: Asker, elements: Sequence[bytes]) -> list[_Provider] | None:
        """What is answered now to each of the elements."""
        kind = self._kind(asker)
        named = [kind + element for element in elements]
        providers: list[_Provider] = []
        for index, known in enumerate(self._known.get_all(named)):
            if known is None or known.standing is None or not known.standing.holds:
                known = self._learn(tenant, asker, named[index], elements[index])
                if known is None:
                    return None
            providers.append(known)
        return providers

    def _kind(self, asker: Asker) -> bytes:
        kind = self._kinds.get(asker.kind)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            self._kinds_ever += 1
            kind = self._kinds[asker.kind] = self._kinds_ever.to_bytes(8)
        return kind

    def _learn(self, tenant: Tenant, asker: Asker, named: bytes, text: bytes) -> _Provider | None:
        """What is answered now; None: the element is unusual, names a provider wrongly, or its find is refused."""
        try:
            element = _decode(b"{%b}" % text)
            key = bodies.decode(bytes(element.service), FindKeyBody)
            rev = element.rev or ""
            query = structs.replace(queries.service_query(key, asker.consumer_id), rev=rev)
            found = self._discovery.find_here(tenant, query)
        except (msgspec.MsgspecError, UnicodeDecodeError, RegistryError):
            return None
        needed = len('"service":') + len(bytes(element.service)) + _REV_NEEDS[type(element.rev)] + len(rev)
        if needed != len(text):
            return None  # there is something else in it, or something twice
        provider = None if self._discovery.is_shared(query) else (asker.environment, query.app_id, query.service_name)
        known = _provider(query, provider, rev, found)
        if found.standing is not None:
            known.fact = self._fact(tenant, asker, known)
            self._known.put(named, known)
        return known

    def _fact(self, tenant: Tenant, asker: Asker, known: _Provider) -> Fact:
        """The fact about the microservice name, which is the same for all who find it."""
        query = known.query
        environment = asker.environment if asker.consumer_id else query.environment
        name = (tenant, (environment, query.app_id, query.service_name))
        fact = self._facts.get(name)
        if fact is None or fact.standing is not known.standing:
            fact = Fact(known.standing, name[1] if known.key is not None else None)
            self._facts.put(name, fact)
        return fact


def _cut(body: bytes) -> list[bytes]:
    """The elements, without their braces; none: the body has another form."""
    for begin, end in _FORMS:
        if body.startswith(begin) and body.endswith(end):
            return body[len(begin) : -len(end)].split(_BETWEEN)
    return []


def _provider(query: FindQuery, key: GroupKey | None, rev: str, found: Answer) -> _Provider:
    if rev and rev == found.rev:
        return _Provider(found.standing, key, query)
    head = b',"rev":"%b"%b' % (found.rev.encode(), b"," if found.count else b"}")
    return _Provider(found.standing, key, query, head, found, bool(rev))


@lru_cache(64)
def nothing_new(services: int) -> bytes:
    """What is answered to a client that has everything as it is. It is one object for the same number of services."""
    return b'{"services":{"notModified":%b}}' % _encode(list(range(services)))


def _put_together(unmodified: list[int], updated: list[Part], size: int) -> tuple[bytes, tuple[Part, ...]]:
    before = b'"notModified":%b,' % _encode(unmodified) if unmodified else b""
    parts = (b'{"services":{', before, b'"updated":[', *updated, b"]}}")
    return shared(parts) if size >= BODY_MIN_BYTES else (b"".join(parts), ())


def _fact_size(name: tuple[Tenant, GroupKey], fact: Fact) -> int:
    return _FACT_BYTES + sum(map(len, name[1]))


def _size(named: bytes, known: _Provider) -> int:
    return len(named) + len(known.head) + (known.answer.size if known.answer is not None else 0)
