"""Elements: the providers in batch finds as clients write them, each known by its bytes.

Each client has a body of its own, and in it the providers that others ask for as well. So no body is decoded as a
whole: it is cut where one element ends and the next begins, and each element is known by its bytes, with the answer
that holds until something changes. Every element was decoded once, so all of them together are valid, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import repeat
from types import NoneType
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, structs

from registry.domain.errors import RegistryError
from registry.domain.request_bodies import FindKeyBody
from registry.domain.tenant import Tenant
from registry.domain.view import Answer, GroupKey, Standing
from registry.http_api import bodies, queries
from registry.http_api.shared_parts import Part
from registry.memo import Memo
from registry.usecases.discovery import Asker, Discovery

#: Elements, for each kind of consumer, and bytes of these.
ELEMENTS_MAX: Final = 100_000
ELEMENTS_MAX_BYTES: Final = 64 * 1024 * 1024
#: What is told to those that do not have it, and bytes of that.
UPDATES_MAX: Final = 100_000
UPDATES_MAX_BYTES: Final = 32 * 1024 * 1024
#: Bytes of an element beside its text and the names in it, and of an update beside its answer.
_ELEMENT_BYTES: Final = 640
_UPDATE_BYTES: Final = 384
#: Kinds of consumers.
KINDS_MAX: Final = 10_000


class _Element(Struct, forbid_unknown_fields=True, gc=False):
    service: Raw
    rev: str | UnsetType | None = UNSET


#: How bodies begin and end that ask for services alone, and are written without spaces; between are the elements.
_FORMS: Final = tuple(
    (begin + b'"services":[{', b"}]" + end, slice(len(begin + b'"services":[{'), -len(b"}]" + end)))
    for begin, end in (
        (b"{", b"}"),
        *((b"{", b',"instances":%b}' % nothing) for nothing in (b"null", b"[]")),
        *((b'{"instances":%b,' % nothing, b"}") for nothing in (b"null", b"[]")),
    )
)
_split: Final = re.compile(rb"\},\{").split
#: Bytes that members need in an element, by the type of their value, beside the characters of a rev.
_REV_NEEDS: Final[dict[type, int]] = {str: len(',"rev":""'), NoneType: len(',"rev":null'), UnsetType: 0}

_decode: Final = msgspec.json.Decoder(_Element).decode


class Update(Struct, gc=False):
    """What is told to one kind of consumer that asks for a provider and has another answer, or none."""

    #: Of the answer.
    standing: Standing
    answer: Answer
    #: What stands behind the index, and where the instances follow.
    head: bytes
    #: The client has another answer.
    contradicts: bool
    tail: Part = b""

    def told(self) -> Part:
        """The instances, put together when they are told for the first time."""
        if not self.tail and self.answer.count:
            self.tail = self.answer.members()
        return self.tail


#: The number of a kind of consumer, and an element as it came, without its braces.
Named = tuple[int, bytes]


class Element(Struct, gc=False):
    """What is answered to one kind of consumer that asks for a provider with a rev.

    It is one object for all bodies that hold it, and is renewed for all of them when it holds no more.
    """

    named: Named
    #: As dependencies name the provider; None: it is not recorded who finds it.
    key: GroupKey | None
    #: Whether all this is still true. It does not hold where nobody knows how long it is.
    standing: Standing
    #: The client has the answer, and is told by the index alone.
    is_same: bool
    #: What is told in the other case, of an element that is not kept.
    update: Update | None = None


class Elements:
    """Elements that are known, each for a kind of consumer (`Asker.kind`).

    Args:
        forget: called before elements are forgotten. Nothing may hold on to them then.
    """

    def __init__(self, discovery: Discovery, forget: Callable[[], None]) -> None:
        self._discovery = discovery
        self._kinds: dict[tuple[object, ...], int] = {}
        self._kinds_ever = 0
        self._known: Memo[Named, Element] = Memo(ELEMENTS_MAX, ELEMENTS_MAX_BYTES, _element_size, forget)
        self._updates: Memo[Named, Update] = Memo(UPDATES_MAX, UPDATES_MAX_BYTES, _update_size)

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return self._known.size

    @property
    def updates_size(self) -> int:
        """Bytes of what is told to those that do not have it."""
        return self._updates.size

    def kind(self, asker: Asker) -> int:
        """The number of the asker's kind."""
        kind = self._kinds.get(asker.kind)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                self._kinds.clear()
            self._kinds_ever += 1
            kind = self._kinds[asker.kind] = self._kinds_ever
        return kind

    def find(self, tenant: Tenant, asker: Asker, texts: Sequence[bytes]) -> list[Element] | None:
        """The elements, up to date; None: one is unusual, names a provider wrongly, or its find is refused."""
        kind = self.kind(asker)
        young = self._known.young(zip(repeat(kind), texts))
        elements: list[Element] = []
        for element, text in zip(young, texts, strict=True):
            if element is None or not element.standing.holds:
                element = self._learn(tenant, asker, (kind, text))
                if element is None:
                    return None
            elements.append(element)
        return elements

    def are_current(self, tenant: Tenant, asker: Asker, elements: Sequence[Element]) -> bool:
        """Bring them up to date; False: not all of these can be."""
        for element in elements:
            if not element.standing.holds and self._learn(tenant, asker, element.named) is not element:
                return False
        return True

    def update(self, tenant: Tenant, asker: Asker, element: Element) -> Update | None:
        """What is told of an element that is up to date, and not the same."""
        update = element.update or self._updates.get(element.named)
        if update is None or update.standing is not element.standing:
            read = self._read(tenant, asker, element.named)
            return read.update if read is not None else None
        return update

    def _learn(self, tenant: Tenant, asker: Asker, named: Named) -> Element | None:
        """The element as it is now. It is not kept, where nobody knows how long that is true."""
        element = self._known.get(named)
        if element is not None and element.standing.holds:
            return element
        read = self._read(tenant, asker, named)
        if read is None or not read.standing.holds:
            return read
        if element is None:
            element = read
        else:
            element.key, element.standing, element.is_same = read.key, read.standing, read.is_same
        if read.update is not None:
            self._updates.put(named, read.update)
            read.update = None
        if element is read:
            self._known.put(named, element)
        return element

    def _read(self, tenant: Tenant, asker: Asker, named: Named) -> Element | None:
        _, text = named
        try:
            element = _decode(b"{%b}" % text)
            key = bodies.decode(bytes(element.service), FindKeyBody)
            rev = element.rev or ""
            query = structs.replace(queries.service_query(key, asker.consumer_id), rev=rev)
            answer = self._discovery.find_here(tenant, query)
        except (msgspec.MsgspecError, UnicodeDecodeError, RegistryError):
            return None
        needed = len('"service":') + len(bytes(element.service)) + _REV_NEEDS[type(element.rev)] + len(rev)
        if needed != len(text):
            return None  # there is something else in it, or something twice
        provider = None if self._discovery.is_shared(query) else (asker.environment, query.app_id, query.service_name)
        standing = answer.standing or Standing(False)
        if rev and rev == answer.rev:
            return Element(named, provider, standing, True)
        head = b',"rev":"%b"%b' % (answer.rev.encode(), b"," if answer.count else b"}")
        return Element(named, provider, standing, False, Update(standing, answer, head, bool(rev)))


def cut(body: bytes) -> list[bytes]:
    """The elements of a batch find, without their braces; none: the body has another form."""
    for begin, end, between in _FORMS:
        if body.startswith(begin) and body.endswith(end):
            return _split(body[between])
    return []


def _element_size(named: Named, element: Element) -> int:
    return _ELEMENT_BYTES + len(named[1])


def _update_size(named: Named, update: Update) -> int:
    return _UPDATE_BYTES + len(update.head) + update.answer.size
