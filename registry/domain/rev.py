"""rev: the digest that tells a consumer whether what it holds is what it would be sent now.

Equal content gives equal rev, on every replica and after every rebuild: nothing but the content that a client would
see goes in (no position, no clock, no count of changes). Different content gives different revs, as far as SHA-1
tells contents apart. The identity of what was asked goes in too: two services without instances must differ,
because clients built on sc-client up to 0.7 send one rev for all services (clients.md 0.7).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha1


def content_digest(body: bytes) -> bytes:
    """The digest (20 bytes) of one instance as clients read it. `body` holds its ids and is canonical."""
    return sha1(body, usedforsecurity=False).digest()


def rev(identity: Iterable[str], digests: Iterable[bytes]) -> str:
    """The rev (40 lower-case hex) of an answer.

    Args:
        identity: what was asked, e.g. `("find", tenant, environment, app, name)`; order matters.
        digests: content digests of the instances in the answer; their order does not matter.
    """
    whole = sha1(usedforsecurity=False)
    for part in identity:
        encoded = part.encode("utf-8", "surrogatepass")
        whole.update(b"%d:" % len(encoded) + encoded)
    whole.update(b"|")
    whole.update(b"".join(sorted(digests)))
    return whole.hexdigest()
