"""Recognise: what a hot request asks, from its line and the meaning of its headers.

What is not recognised here is no mistake: the parser and the route table will understand it, or refuse it.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from registry.domain.errors import RegistryError
from registry.domain.find import FindQuery
from registry.domain.tenant import Tenant
from registry.http_api import queries
from registry.http_api.call import AS_OF, parse_query, service_id_of, tenant_of
from registry.http_api.target import URI_MAX_BYTES, is_malformed
from registry.memo import Memo
from registry.serving.heads import Head
from registry.serving.kept import Said

#: Requests whose meaning is remembered, and the bytes of them with the responses kept for them.
MEANT_MAX: Final = 20_000
MEANT_MAX_BYTES: Final = 64 * 1024 * 1024
#: Bytes of responses that are kept with the meaning of a find. What they are made of takes as much again.
SAID_MAX_BYTES: Final = 4096

#: A segment of a path with nothing in it that would have to be decoded or cleaned.
_SEGMENT: Final = rb"((?!\.)[!$&-.0-9:;=@-Z_a-z~]+)"
_FIND: Final = re.compile(rb"/v4/%b/registry/instances\?(.+)" % _SEGMENT)
_REGISTER: Final = re.compile(rb"/v4/%b/registry/microservices(?:/%b/instances)?" % (_SEGMENT, _SEGMENT))
#: The whole line of a heartbeat. It is read at once, and not remembered: each instance has its own.
BEAT_LINE: Final = re.compile(
    rb"PUT (/v4/%b/registry/microservices/%b/instances/%b/heartbeat) HTTP/1\.1\r\n" % (_SEGMENT, _SEGMENT, _SEGMENT)
)
#: The whole line of a batch find. What it asks differs with its body.
BATCH_LINE: Final = re.compile(
    rb"POST (/v4/%b/registry/instances/action\?type=query(?:&rev=0)?) HTTP/1\.1\r\n" % _SEGMENT
)


class Beat(Struct, frozen=True, gc=False):
    """Renew the lease of one instance."""

    tenant: Tenant
    service_id: str
    instance_id: str


class Find(Struct, gc=False):
    """Find the instances of a microservice; on whose behalf, says the head.

    What was said to each kind of consumer (`Asker.kind`) is kept, up to `SAID_MAX_BYTES` in all.
    """

    tenant: Tenant
    query: FindQuery
    gzip: bool
    said: dict[tuple[object, ...], Said]


class BatchFind(Struct, frozen=True, gc=False):
    """Find many; what, says the body."""

    tenant: Tenant
    gzip: bool


class Registration(Struct, frozen=True, gc=False):
    """Register an instance of a microservice, or without its id a microservice; which, says the body."""

    tenant: Tenant
    service_id: str = ""


Hot = Beat | Find | BatchFind | Registration

_Asked = tuple[bytes, bytes, bytes]  # method, target, `Head.key`


class Recogniser:
    """Requests by their bytes. What they mean follows from these alone, so it is remembered."""

    def __init__(self) -> None:
        self._meant: Memo[_Asked, Hot] = Memo(MEANT_MAX, MEANT_MAX_BYTES, _size)

    def __len__(self) -> int:
        return len(self._meant)

    @property
    def size(self) -> int:
        """Bytes of all that is remembered."""
        return self._meant.size

    def recognise(self, method: bytes, target: bytes, head: Head) -> Hot | None:
        """What is asked; None: nothing hot, or it is to be refused, in the same words as everything else."""
        if len(target) >= URI_MAX_BYTES:
            return None
        try:
            key = (method, target, head.key)
            hot = self._meant.get(key)
            if hot is None:
                hot = _recognise(method, target, head)
                if isinstance(hot, Find):  # registrations are not the same so often
                    self._meant.put(key, hot)
        except (RegistryError, UnicodeDecodeError):
            return None
        return hot


def beat_of(line: re.Match[bytes], head: Head) -> Beat | None:
    """The heartbeat with this line (`BEAT_LINE`); None: it is to be refused, in the same words as everything else."""
    target, project, service_id, instance_id = line.groups()
    if len(target) >= URI_MAX_BYTES:
        return None
    try:
        # Whether these may be ids is asked where no instance has them.
        return Beat(tenant_of(head.domain, project.decode()), service_id.decode(), instance_id.decode())
    except (RegistryError, UnicodeDecodeError):
        return None


def batch_of(line: re.Match[bytes], head: Head) -> BatchFind | None:
    """The same of a batch find (`BATCH_LINE`)."""
    target, project = line.groups()
    if len(target) >= URI_MAX_BYTES:
        return None
    try:
        return BatchFind(tenant_of(head.domain, project.decode()), head.gzip)
    except (RegistryError, UnicodeDecodeError):
        return None


def _recognise(method: bytes, target: bytes, head: Head) -> Find | Registration | None:
    if method == b"GET" and (path := _FIND.fullmatch(target)):
        query: bytes = path[2]
        if is_malformed(query) or b"#" in query or parse_query(query).get(AS_OF):
            return None
        return Find(tenant_of(head.domain, path[1].decode()), queries.find_query(query, ""), head.gzip, {})
    if method != b"POST":
        return None
    if path := _REGISTER.fullmatch(target):
        service_id = service_id_of(path[2].decode()) if path[2] is not None else ""
        return Registration(tenant_of(head.domain, path[1].decode()), service_id)
    return None


def _size(asked: _Asked, hot: Hot) -> int:
    return len(asked[1]) + len(asked[2]) + (2 * SAID_MAX_BYTES if isinstance(hot, Find) else 0)
