"""Marks: what the store says of complete snapshots, by which a reader chooses one and trusts it."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from msgspec import Struct

from registry.domain.position import Position


class Mark(Struct, frozen=True):
    """What the store says of a complete snapshot: enough to choose one, fetch it and trust it.

    `digest` is over all chunks as they are stored; `at_ms` is the writer's wall clock.
    """

    format: int
    epoch: int
    sequence: int
    chunks: int
    size: int
    digest: bytes
    at_ms: int
    replica: str = ""
    #: Bytes in which the epoch's events up to here are written.
    log_bytes: int = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.sequence)


encode_mark = msgspec.msgpack.Encoder().encode
_decode_mark = msgspec.msgpack.Decoder(Mark).decode


def decode_mark(data: bytes) -> Mark | None:
    """The mark, or None when these bytes are none."""
    try:
        return _decode_mark(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class ChunksDigest:
    """The digest of a snapshot's stored chunks, in order."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=20)
        self.size = 0
        self.chunks = 0

    def add(self, stored: bytes) -> None:
        self._hash.update(stored)
        self.size += len(stored)
        self.chunks += 1

    def digest(self) -> bytes:
        return self._hash.digest()
