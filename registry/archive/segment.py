"""Segment: a stretch of one tenant's log as the bytes of a file, and back. docs/archive.md has the format.

A file is a head and blocks. The head says what the file holds, and where each block begins and its digest, so that one
event is read by reading two small parts of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, Literal

import msgspec
import zstandard
from msgspec import Struct

from registry.archive.names import encode_names
from registry.domain.marks import Mark
from registry.domain.position import Position, parse_position
from registry.domain.tenant import Tenant

#: What this version writes, and the newest that it reads.
FORMAT: Final = 1
MAGIC: Final = b"RGARCHIV"
#: Magic, length of the head (4 bytes, big-endian), digest of the head.
DIGEST_BYTES: Final = 16
PREFIX_BYTES: Final = len(MAGIC) + 4 + DIGEST_BYTES
#: Bytes of a head; a longer one is damaged.
HEAD_MAX_BYTES: Final = 16 * 1024 * 1024
#: Bytes of events in a block before it is compressed, about: large enough to compress well, small enough to be read for
#: one event. A single event may be larger.
BLOCK_BYTES: Final = 1024 * 1024
#: A block that says that it is larger than this is damaged: the largest event, and the others beside it.
BLOCK_MAX_BYTES: Final = 64 * 1024 * 1024
#: 3 % larger than by level 12, and written twice as fast.
LEVEL: Final = 6


class Unreadable(Exception):
    """These bytes are no file of the archive, damaged, or of a format that this version does not read."""


class Block(Struct, frozen=True, array_like=True):
    """`first`, `last`: positions of its events as text. `size`, `digest`: of its bytes as they are stored."""

    first: str
    last: str
    size: int
    digest: bytes


class Head(Struct, frozen=True):
    """What a file holds: events behind `after`, up to and with `last`; or the snapshot at `last`.

    `moment_ms`: the latest moment that an event of it tells, of a snapshot when it was taken. `raw`: bytes of the
    events before they were compressed.
    """

    format: int
    kind: Literal["events", "snapshot"]
    domain: str
    project: str
    after: str
    last: str
    events: int
    moment_ms: int
    raw: int
    blocks: list[Block]
    #: Of a snapshot, as Redis had it; its chunks are the blocks.
    mark: Mark | None = None
    #: Of events: the last block holds none, but what they name, as `names.encode_names` has it.
    names: bool = False

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.domain, self.project)

    @property
    def end(self) -> Position:
        return parse_position(self.last)

    @property
    def start(self) -> Position:
        return parse_position(self.after)


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """One event in a block. There are thousands, so nothing in it is a container."""

    epoch: int
    sequence: int
    payload: bytes


class _Told(Struct):
    """As much of an event as the archive looks at."""

    at_ms: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_entries = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_told = msgspec.msgpack.Decoder(_Told).decode


# -- writing -----------------------------------------------------------------------------------------------------------


def encode_events(tenant: Tenant, after: Position, events: Sequence[tuple[Position, bytes]]) -> bytes:
    """The file of these events, which are those behind `after`, in order; at least one."""
    blocks, parts, moment_ms = [], [], 0
    for some in _blocks(events):
        entries = [Entry(position.epoch, position.sequence, payload) for position, payload in some]
        stored = zstandard.ZstdCompressor(level=LEVEL).compress(_encode(entries))
        blocks.append(Block(some[0][0].text(), some[-1][0].text(), len(stored), _digest(stored)))
        parts.append(stored)
        moment_ms = max(moment_ms, *(_moment_ms(payload) for _, payload in some))
    raw = sum(len(payload) for _, payload in events)
    last = events[-1][0].text()
    names = encode_names(payload for _, payload in events)
    blocks.append(Block(last, last, len(names), _digest(names)))  # behind the last event nobody looks for one
    ids = tenant.domain, tenant.project
    head = Head(FORMAT, "events", *ids, after.text(), last, len(events), moment_ms, raw, blocks, names=True)
    return encode_file(head, [*parts, names])


def encode_snapshot(tenant: Tenant, mark: Mark, chunks: Sequence[bytes], outline: bytes = b"") -> bytes:
    """The file of a snapshot: its chunks as Redis has them, which are compressed already.

    Args:
        outline: of the snapshot, packed; it stands behind the chunks, where versions that do not know it never look.
    """
    at = mark.position.text()
    parts = [*chunks, outline] if outline else chunks
    blocks = [Block(at, at, len(part), _digest(part)) for part in parts]
    head = Head(FORMAT, "snapshot", tenant.domain, tenant.project, at, at, 0, mark.at_ms, 0, blocks, mark)
    return encode_file(head, parts)


def encode_file(head: Head, parts: Sequence[bytes]) -> bytes:
    """The head, and its blocks as they are stored."""
    encoded = _encode(head)
    return b"".join((MAGIC, len(encoded).to_bytes(4), _digest(encoded), encoded, *parts))


def _blocks(events: Sequence[tuple[Position, bytes]]) -> Iterator[Sequence[tuple[Position, bytes]]]:
    some: list[tuple[Position, bytes]] = []
    size = 0
    for event in events:
        if some and size + len(event[1]) > BLOCK_BYTES:
            yield some
            some, size = [], 0
        some.append(event)
        size += len(event[1])
    yield some


def _moment_ms(payload: bytes) -> int:
    try:
        return _decode_told(payload).at_ms
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0  # nobody can read it; it is kept as it is


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


# -- reading -----------------------------------------------------------------------------------------------------------


def head_bytes(prefix: bytes) -> int:
    """How long the head is that follows these first `PREFIX_BYTES` of a file. Raises Unreadable."""
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(MAGIC):
        raise Unreadable("it is no file of the archive, or cut short")
    length = int.from_bytes(prefix[len(MAGIC) : len(MAGIC) + 4])
    if length > HEAD_MAX_BYTES:
        raise Unreadable(f"its head would have {length} bytes")
    return length


def decode_head(prefix: bytes, encoded: bytes) -> Head:
    """Raises Unreadable."""
    if len(encoded) < head_bytes(prefix) or _digest(encoded) != prefix[-DIGEST_BYTES:]:
        raise Unreadable("its head is damaged, or cut short")
    try:
        head = _decode_head(encoded)
        if head.start > head.end or any(parse_position(block.first) > head.end for block in head.blocks):
            raise Unreadable("its head contradicts itself")
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise Unreadable(f"its head cannot be read: {exc}") from exc
    if head.format > FORMAT:
        raise Unreadable(f"it has format {head.format}, this version reads up to {FORMAT}")
    return head


def offset_of(head: Head, head_length: int, index: int) -> int:
    """Where a block begins in the file."""
    return PREFIX_BYTES + head_length + sum(block.size for block in head.blocks[:index])


def check_block(block: Block, stored: bytes) -> bytes:
    """The bytes of a block, as they should be. Raises Unreadable."""
    if len(stored) != block.size or _digest(stored) != block.digest:
        raise Unreadable(f"the block of {block.first} is damaged, or cut short")
    return stored


def decode_block(block: Block, stored: bytes) -> list[tuple[Position, bytes]]:
    """The events of a block. Raises Unreadable."""
    try:
        raw = zstandard.ZstdDecompressor().decompress(check_block(block, stored), max_output_size=BLOCK_MAX_BYTES)
        return [(Position(entry.epoch, entry.sequence), entry.payload) for entry in _decode_entries(raw)]
    except (zstandard.ZstdError, msgspec.MsgspecError) as exc:
        raise Unreadable(f"the block of {block.first} cannot be read: {exc}") from exc


def block_behind(head: Head, position: Position) -> int | None:
    """The index of the block with the first event behind a position; None when the file holds none."""
    for index, block in enumerate(head.blocks):
        if parse_position(block.last) > position:
            return index
    return None
