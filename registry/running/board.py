"""Board: where the workers of one `registry serve` leave their figures, so that each of them can tell those of all.

One piece of memory for each worker, which all of them have open. A worker writes its own every other second; nobody is
asked, so nobody waits for a worker that hangs, and nothing is left behind when one is killed.
"""

from __future__ import annotations

import asyncio
import os
import struct
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec

from registry.metrics.family import Family, decode_families, encode_families

#: Seconds between two writings.
WRITE_EVERY_S: Final = 2.0
#: A worker that has written nothing for this number of seconds is away.
AWAY_AFTER_S: Final = 10.0
#: Times that a piece is read which its worker writes at the same moment.
READS_MAX: Final = 5
#: Of a piece: bytes that follow, their checksum, and when they were written (a clock that all processes share).
_HEAD: Final = struct.Struct(">QId")


class Place(NamedTuple):
    """The number of a worker, and the pieces of all, by number."""

    own: int
    pieces: Sequence[int]


def make_pieces(workers: int) -> list[int]:
    """Descriptors of new pieces, one for each worker. They go with the last process that has them open."""
    return [_piece() for _ in range(workers)]


def _piece() -> int:
    if sys.platform == "linux":
        return os.memfd_create("registry-figures")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class Board:
    """One worker's view of all pieces.

    Args:
        tell: this worker's figures as of now.
    """

    def __init__(self, place: Place, tell: Callable[[], Awaitable[list[Family]]]) -> None:
        self._own, self._pieces = place
        self._tell = tell

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self.write()
            await asyncio.sleep(WRITE_EVERY_S)

    async def write(self) -> None:
        data = encode_families(await self._tell())
        os.pwrite(self._pieces[self._own], _HEAD.pack(len(data), crc32(data), time.monotonic()) + data, 0)

    async def families(self) -> Mapping[str, Sequence[Family]]:
        """See `http_api.api.Workers`.

        This worker's own are as of now, and written first: whichever worker is asked next, no counter goes back.
        """
        await self.write()
        return {str(number): _read(piece) for number, piece in enumerate(self._pieces)}


def _read(piece: int) -> list[Family]:
    """What a worker has written last; nothing when that is too long ago."""
    for _ in range(READS_MAX):
        head = os.pread(piece, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            return []
        size, checksum, at_s = _HEAD.unpack(head)
        data = os.pread(piece, size, _HEAD.size)
        if crc32(data) == checksum:
            try:
                return decode_families(data) if time.monotonic() - at_s < AWAY_AFTER_S else []
            except msgspec.MsgspecError:
                return []
    return []
