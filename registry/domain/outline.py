"""Outline: a snapshot without its instances, and where those of each microservice stand in it.

By it the instances of one microservice are read without those of all others.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Raw, Struct

from registry.domain.marks import ChunksDigest
from registry.domain.sections import InstancesSection, decode_sections
from registry.domain.snapshot import Loader, SnapshotUnreadable, add_instances
from registry.domain.view import RegistryView

#: Bytes of a chunk's digest.
CHUNK_DIGEST_BYTES: Final = 16
_INSTANCES: Final = str(InstancesSection.__struct_config__.tag)


class Outline(Struct, frozen=True):
    """
    `digest`: what the snapshot's mark says of all its chunks; `chunks`: the digest of each, as it is stored.
    `instances`: the first and the last chunk with instances of a microservice; absent where it has none.
    `sections`: all that are not of instances.
    """

    digest: bytes
    chunks: list[bytes]
    instances: dict[str, tuple[int, int]]
    sections: list[Raw]


class _Brief(Struct):
    """As much of a section as is looked at."""

    type: str
    service_id: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode_raw = msgspec.msgpack.Decoder(list[Raw]).decode
_decode_brief = msgspec.msgpack.Decoder(_Brief).decode
_decode_outline = msgspec.msgpack.Decoder(Outline).decode


class Outliner:
    """Makes the outline of a snapshot from its chunks, given in order."""

    def __init__(self) -> None:
        self._digest = ChunksDigest()
        self._chunks: list[bytes] = []
        self._instances: dict[str, tuple[int, int]] = {}
        self._sections: list[Raw] = []

    def add(self, stored: bytes, chunk: bytes) -> None:
        """A chunk as it is stored, and unpacked. Raises SnapshotUnreadable."""
        index = len(self._chunks)
        self._digest.add(stored)
        self._chunks.append(chunk_digest(stored))
        for service_id, section in _sections(chunk):
            if service_id:
                self._instances[service_id] = (self._instances.get(service_id, (index, 0))[0], index)
            else:
                self._sections.append(section.copy())

    def outline(self) -> Outline:
        return Outline(self._digest.digest(), self._chunks, self._instances, self._sections)


def _sections(chunk: bytes) -> Iterator[tuple[str, Raw]]:
    """The sections of a chunk; of those of instances the microservice's id, "" of others."""
    try:
        for section in _decode_raw(chunk):
            brief = _decode_brief(section)
            yield (brief.service_id if brief.type == _INSTANCES else ""), section
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise SnapshotUnreadable(f"a chunk cannot be read: {exc}") from exc


def chunk_digest(stored: bytes) -> bytes:
    return blake2b(stored, digest_size=CHUNK_DIGEST_BYTES).digest()


def pack_outline(outline: Outline) -> bytes:
    return zlib.compress(_encode(outline), 1)


def unpack_outline(packed: bytes) -> Outline | None:
    """The outline, or None when these bytes are none, or one that this version does not read."""
    try:
        return _decode_outline(zlib.decompress(packed))
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def frame(outline: Outline) -> Loader:
    """The whole snapshot but its instances. Raises SnapshotUnreadable."""
    loader = Loader()
    loader.add(_encode(outline.sections))
    return loader


def add_some(view: RegistryView, chunk: bytes, service_ids: frozenset[str]) -> None:
    """Add the instances of these microservices that stand in the chunk. Raises SnapshotUnreadable."""
    for service_id, section in _sections(chunk):
        if service_id in service_ids:
            try:
                (found,) = decode_sections(_encode([section]))
                assert isinstance(found, InstancesSection)
                add_instances(view, found)
            except (msgspec.MsgspecError, KeyError) as exc:
                raise SnapshotUnreadable(f"the instances of {service_id} cannot be read: {exc}") from exc
