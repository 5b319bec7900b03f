"""Known: hot finds that were answered before. They are found by their bytes, and are neither read nor understood again.

What was answered is said again as long as what it rests on holds. Headers that mean nothing (`heads.PASSED`) are taken
out of a request before it is looked for, so one with a trace of its own is known, too. Bodies of batch finds are known
by their SHA-256: there may be one for each client, and they are long.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from msgspec import Struct

from registry.memo import Memo
from registry.serving.heads import Head, varies
from registry.serving.kept import Kept, Said
from registry.serving.recognise import Hot
from registry.usecases.principals import Grant

#: Requests without their bodies, and the bytes of them and of their responses. Finds of one service by many consumers
#: share a response, which is counted for each of them nevertheless.
REQUESTS_MAX: Final = 100_000
REQUESTS_MAX_BYTES: Final = 128 * 1024 * 1024
#: Bodies of batch finds, and the bytes of what is kept of them.
BODIES_MAX: Final = 100_000
BODIES_MAX_BYTES: Final = 64 * 1024 * 1024
#: Bytes of a response's head, at most, and of what it is made of.
_HEAD_BYTES: Final = 1024
#: Bytes of what is known of a batch find beside its text.
_BATCH_BYTES: Final = 512
#: Bytes that are kept of a body, and for each provider in it: all bodies share what is known of a provider.
_BODY_BYTES: Final = 384
_FACT_BYTES: Final = 8


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
    """A batch find without its body. What was answered depends on that. `digest`: of its text."""

    text: bytes
    digest: bytes
    asked: Asked
    grant: Grant | None

    @classmethod
    def of(cls, text: bytes, asked: Asked, grant: Grant | None) -> KnownBatch:
        return cls(text, sha256(text).digest(), asked, grant)

    def with_body(self, body: bytes) -> bytes:
        """The key of what was answered to it with this body. It is short, and holds neither."""
        return self.digest + sha256(body).digest()


Known = KnownFind | KnownBatch


class KnownRequests:
    """Requests and bodies that are known."""

    def __init__(self) -> None:
        self._requests: Memo[bytes, Known] = Memo(REQUESTS_MAX, REQUESTS_MAX_BYTES, _size)
        self._bodies: Memo[bytes, Kept] = Memo(BODIES_MAX, BODIES_MAX_BYTES, _body_size)
        #: A request by its line and headers, with the empty line.
        self.find = self._requests.get

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def size(self) -> int:
        """Bytes of the requests that are known."""
        return self._requests.size

    @property
    def bodies_size(self) -> int:
        """Bytes of the bodies that are known."""
        return self._bodies.size

    def put(self, text: bytes, known: Known) -> None:
        """Know the request by its own bytes, and without what means nothing in them if that differs each time."""
        self._requests.put(text, known)
        if text != known.text and varies(text):
            self._requests.put(known.text, known)

    def find_body(self, known: KnownBatch, body: bytes) -> Kept | None:
        """What was answered to a batch find with this body."""
        return self._bodies.get(known.with_body(body))

    def put_body(self, known: KnownBatch, body: bytes, kept: Kept) -> None:
        self._bodies.put(known.with_body(body), kept)


def _size(text: bytes, known: Known) -> int:
    if isinstance(known, KnownBatch):
        return len(text) + _BATCH_BYTES
    return len(text) + _HEAD_BYTES + 2 * known.said.sent


def _body_size(key: bytes, kept: Kept) -> int:
    return _BODY_BYTES + _FACT_BYTES * len(kept.facts)
