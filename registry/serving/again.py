"""Again: the request that a connection has sent last, told by its bytes when it comes again.

Clients repeat what they ask on the same connection, but for a trace or an id. All that is kept is the key under which
the request is known; whether it still is, and what is answered, is decided as for any other.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from registry.serving.heads import varying_value

#: Bytes of a request that its connection keeps, at most, and of one that it is told from.
AGAIN_MAX_BYTES: Final = 4096
#: Bytes that all connections keep of them together, with their keys.
REPEATS_MAX_BYTES: Final = 64 * 1024 * 1024

#: What the value of a header consists of, as in `heads`.
_is_value: Final = re.compile(rb"[ -~\t]*").fullmatch


class Again(Struct, frozen=True, gc=False):
    """A request of which one value means nothing, and differs each time: that between `before` and `after`.

    `key`: under which it is known. `names`: the value is what the client calls the request. Where `after` is empty, all
    of the request is `before`, and it is called `id`; where it is `settled`, nothing better is to be had.
    """

    before: bytes
    after: bytes
    key: bytes
    names: bool = False
    id: bytes = b""
    settled: bool = True

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return len(self.before) + len(self.after) + len(self.key)

    def id_in(self, data: bytes) -> bytes | None:
        """What the client calls this request, b"" when it does not; None: it is another one."""
        if not self.after:
            return self.id if data == self.before else None
        at, end = len(self.before), len(data) - len(self.after)
        if at > end or not data.startswith(self.before) or not data.endswith(self.after):
            return None
        if len(data) > AGAIN_MAX_BYTES or not _is_value(data, at, end):
            return None
        return data[at:end].strip() if self.names else b""


class Repeats:
    """What all connections keep together, bounded in bytes: anyone may open any number of them."""

    def __init__(self) -> None:
        #: Bytes of all of it.
        self.size = 0

    def keep(self, again: Again | None, before: Again | None) -> Again | None:
        """What a connection keeps in place of what it has kept before; None: all keep too much already."""
        if before is not None:
            self.size -= before.size
        if again is None or self.size + again.size > REPEATS_MAX_BYTES:
            return None
        self.size += again.size
        return again


def same(data: bytes, key: bytes) -> Again | None:
    """This request, byte for byte; None: it is too large."""
    return Again(data, b"", key, settled=False) if len(data) <= AGAIN_MAX_BYTES else None


def alike(last: Again | None, data: bytes, head_end: int, key: bytes, id: bytes) -> Again | None:
    """This request, whatever the value of the one header in which it differs from the last one; None: it is too large.

    To find that value costs as much as it saves once, so it is looked for when the same is asked for the second time.

    Args:
        head_end: where its line and headers end.
        key: under which it is known without that header.
        id: what the client calls it, b"" when it does not.
    """
    if len(data) > AGAIN_MAX_BYTES:
        return None
    if last is None or last.key != key:
        return Again(data, b"", key, id=id, settled=False)
    if last.settled:
        return last
    value = varying_value(data[:head_end])
    if value is None:
        return Again(data, b"", key, id=id)
    at, end, names = value
    return Again(data[:at], data[end:], key, names)
