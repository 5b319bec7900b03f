"""Names: of which microservices and instances a segment tells, so that one that tells nothing of some is not read.

It is a set of digests, so it may say of few names that they are there which are not, and never the other way round.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from registry.domain.subjects import ANYTHING, name_of

#: Bytes of a name's digest: of 50,000 names about one in 100,000 others is taken for one of them.
DIGEST_BYTES: Final = 4


def encode_names(payloads: Iterable[bytes]) -> bytes:
    """The digests of what these events name, in order, each big-endian."""
    return b"".join(sorted({_digest(*name_of(payload)) for payload in payloads}))


class Names:
    """The names that are told of, from these bytes."""

    def __init__(self, encoded: bytes) -> None:
        whole = len(encoded) // DIGEST_BYTES * DIGEST_BYTES
        self._digests = array("I", encoded[:whole])
        if sys.byteorder == "little":
            self._digests.byteswap()

    def __len__(self) -> int:
        return len(self._digests)

    def tell_of(self, service_id: str, instance_id: str) -> bool:
        """Whether something is told that may be about the instance: about it, or its microservice, or anything."""
        return any(map(self._has, ((service_id, instance_id), (service_id, ""), ANYTHING)))

    def _has(self, name: tuple[str, str]) -> bool:
        digest = int.from_bytes(_digest(*name))
        index = bisect_left(self._digests, digest)
        return index < len(self._digests) and self._digests[index] == digest


def _digest(service_id: str, instance_id: str) -> bytes:
    name = f"{service_id}\0{instance_id}".encode("utf-8", "surrogatepass")
    return blake2b(name, digest_size=DIGEST_BYTES).digest()
