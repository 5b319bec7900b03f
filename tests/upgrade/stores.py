"""Stores as files: the keys that a registry has left in Redis, one line of JSON each, for any server of Redis.

`client` is redis-py's, whose types fit neither bytes nor text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

#: What lives only as long as replicas do.
PASSING: Final = re.compile(rb"\}:(lease|lapse|note|holder|states|pulse|rearming|marker)\b")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def save(client: Any, path: Path) -> None:
    """Write all keys."""
    keys = sorted(key for key in client.scan_iter(count=1000) if not PASSING.search(key))
    path.write_bytes(b"".join(_encode([_text(key), *_read(client, key)]) + b"\n" for key in keys))


def _read(client: Any, key: bytes) -> Iterator[Any]:
    kind = client.type(key).decode()
    yield kind
    match kind:
        case "string":
            yield _text(client.get(key))
        case "hash":
            yield [[_text(name), _text(value)] for name, value in sorted(client.hgetall(key).items())]
        case "set":
            yield [_text(member) for member in sorted(client.smembers(key))]
        case "stream":
            entries = client.xrange(key)
            yield [[id.decode(), [[_text(k), _text(v)] for k, v in entry.items()]] for id, entry in entries]
        case _:
            raise ValueError(f"{key!r} is a {kind}")


def load(client: Any, path: Path) -> None:
    """Put all keys into an empty server."""
    for line in path.read_bytes().splitlines():
        name, kind, held = _decode(line)
        key = _bytes(name)
        match kind:
            case "string":
                client.set(key, _bytes(held))
            case "hash":
                client.hset(key, mapping={_bytes(field): _bytes(value) for field, value in held})
            case "set":
                client.sadd(key, *map(_bytes, held))
            case "stream":
                for id, entry in held:
                    client.xadd(key, {_bytes(field): _bytes(value) for field, value in entry}, id=id)


def _text(value: Any) -> str:
    return base64.b64encode(value).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
