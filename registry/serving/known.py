"""Known: hot finds that were answered before. They are found by their bytes, and are neither read nor understood again.

What was answered is said again as long as what it rests on holds. Headers that mean nothing (`heads.PASSED`) are taken
out of a request before it is looked for, so one with a trace of its own is known, too. Batch finds are known with their
bodies by the SHA-256 of both: there may be one for each client, and they are long.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from msgspec import Struct

from registry.memo import Memo
from registry.serving.heads import Head, varies
from registry.serving.kept import Kept, Said
from registry.serving.polls import Poll
from registry.serving.recognise import BatchFind, Hot
from registry.usecases.principals import Grant

#: Finds, and the bytes of them and of their responses. Finds of one service by many consumers share a response, which
#: is counted for each of them nevertheless.
FINDS_MAX: Final = 100_000
FINDS_MAX_BYTES: Final = 128 * 1024 * 1024
#: Batch finds, and the bytes of what is kept of them.
BATCHES_MAX: Final = 100_000
BATCHES_MAX_BYTES: Final = 64 * 1024 * 1024
#: Bytes of a response's head, at most, and of what it is made of.
_HEAD_BYTES: Final = 1024
#: Bytes that are kept of a batch find, and for each element in it: all share the element itself.
_BATCH_BYTES: Final = 512
_ELEMENT_BYTES: Final = 8


class Asked(Struct, frozen=True, gc=False):
    """A request without its body, understood."""

    target: bytes
    hot: Hot
    head: Head


class KnownFind(Struct, frozen=True, gc=False):
    """A find, the grant that let it, and what was answered. `text`: its bytes without what means nothing."""

    text: bytes
    asked: Asked
    grant: Grant | None
    kept: Kept
    said: Said


class KnownBatch(Struct, frozen=True, gc=False):
    """A batch find with its body, understood, and the grant that let it. `received`: bytes of the body."""

    batch: BatchFind
    consumer_id: str
    received: int
    grant: Grant | None
    poll: Poll


def key_of(request: bytes) -> bytes:
    """The key of a batch find with its body."""
    return sha256(request).digest()


class KnownFinds:
    """Finds that are known."""

    def __init__(self) -> None:
        self._finds: Memo[bytes, KnownFind] = Memo(FINDS_MAX, FINDS_MAX_BYTES, _find_size)
        #: A find by its line and headers, with the empty line.
        self.find = self._finds.get

    def __len__(self) -> int:
        return len(self._finds)

    @property
    def size(self) -> int:
        """Bytes of all that is known."""
        return self._finds.size

    def put(self, text: bytes, known: KnownFind) -> None:
        """Know the find by its own bytes, and without what means nothing in them if that differs each time."""
        self._finds.put(text, known)
        if text != known.text and varies(text):
            self._finds.put(known.text, known)


class KnownBatches:
    """Batch finds that are known, by their keys. They hold elements, and are forgotten with these."""

    def __init__(self) -> None:
        self._batches: Memo[bytes, KnownBatch] = Memo(BATCHES_MAX, BATCHES_MAX_BYTES, _batch_size)
        self.find = self._batches.get
        self.put = self._batches.put
        self.forget = self._batches.clear

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def size(self) -> int:
        """Bytes of all that is known."""
        return self._batches.size


def _find_size(text: bytes, known: KnownFind) -> int:
    return len(text) + _HEAD_BYTES + 2 * known.said.sent


def _batch_size(key: bytes, known: KnownBatch) -> int:
    return _BATCH_BYTES + len(known.consumer_id) + _ELEMENT_BYTES * len(known.poll.elements)
