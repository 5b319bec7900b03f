"""Heads: requests recognised without the parser, by header blocks that the parser has understood before.

Clients repeat their headers byte for byte, request after request; only the request line changes. A block that came
through the parser once, in a request that the lane took, says the same the next time. What is not exactly one whole
request in one segment, with a known block, goes to the parser.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from registry.http_api.memo import Memo

#: Blocks remembered, and their bytes. Consumers name themselves in a header, so there is one for each at least.
BLOCKS_MAX: Final = 20_000
BLOCKS_MAX_BYTES: Final = 8 * 1024 * 1024
BLOCK_MAX_BYTES: Final = 2048
#: Segments longer than this are not looked at.
SEGMENT_MAX_BYTES: Final = 64 * 1024
#: A request's line, of printable ASCII.
_LINE: Final = re.compile(rb"([!-~]+) ([!-~]+) HTTP/1\.1(?=\r\n)")


class Head(Struct, frozen=True, gc=False):
    """What the headers of a hot request say. `length` is that of its body."""

    domain: bytes = b""
    consumer: bytes = b""
    gzip: bool = False
    length: int = 0
    #: A durability is asked for, which only what appends an event has to do with.
    durable: bool = False


#: One whole request: method, url, headers, body.
Whole = tuple[bytes, bytes, Head, bytes]


class Heads:
    """The header blocks that are known."""

    def __init__(self) -> None:
        self._known: Memo[bytes, Head] = Memo(BLOCKS_MAX, BLOCKS_MAX_BYTES, _size)

    def __len__(self) -> int:
        return len(self._known)

    def read(self, segment: bytes) -> Whole | None:
        """The one request of which the segment consists, if its header block is known."""
        line = _LINE.match(segment)
        if line is None:
            return None
        line_end = line.end()
        head_end = segment.find(b"\r\n\r\n", line_end)
        if head_end < 0:
            return None
        head = self._known.get(segment[line_end:head_end])
        if head is None or len(segment) - head_end - 4 != head.length:
            return None
        method, url = line.groups()
        return method, url, head, segment[head_end + 4 :]

    def learn(self, segment: bytes, method: bytes, url: bytes, head: Head) -> None:
        """The parser has read this segment as exactly one request with these parts."""
        line = b"%b %b HTTP/1.1\r\n" % (method, url)
        head_end = segment.find(b"\r\n\r\n", len(line) - 2)
        if not segment.startswith(line) or head_end < 0 or len(segment) - head_end - 4 != head.length:
            return
        block = segment[len(line) - 2 : head_end]
        if len(block) <= BLOCK_MAX_BYTES:
            self._known.put(block, head)


def _size(block: bytes, head: Head) -> int:
    return len(block)
