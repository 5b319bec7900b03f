"""Reply: an HTTP answer as values, headers in the exact case in which they are documented.

Java clients look `X-Resource-Revision` up case-sensitively (clients.md 0.8), so names are never lower-cased on the way.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, Iterable
from typing import Any, Final, Protocol

from msgspec import Struct, structs

from registry import __version__
from registry.domain.errors import Overloaded, RegistryError, TooManyRequests
from registry.domain.rev import content_digest
from registry.http_api.shared_parts import Part, shared
from registry.memo import Memo

Header = tuple[bytes, bytes]

#: Bodies from this size on are compressed for clients that ask for it (api-rules.md 1.3).
GZIP_MIN_BYTES: Final = 1400
GZIP_LEVEL: Final = 4
#: What takes a millisecond or more is done beside the loop.
BESIDE_MIN_BYTES: Final = 64 * 1024
#: Compressed answers kept, by rev, and their bytes.
GZIP_KEPT_MAX: Final = 20_000
GZIP_KEPT_MAX_BYTES: Final = 32 * 1024 * 1024

SERVER: Final[Header] = (b"Server", f"SERVICECENTER/{__version__}".encode())
VARY: Final[tuple[Header, ...]] = ((b"Vary", b"Accept-Encoding"), (b"Vary", b"Origin"))
NOSNIFF: Final[Header] = (b"X-Content-Type-Options", b"nosniff")
#: On every refusal for load: when to come again, in seconds.
RETRY_AFTER: Final[Header] = (b"Retry-After", b"5")
#: Where in the tenant's log the answer was made.
POSITION: Final = b"X-Registry-Position"
#: What the request is called.
REQUEST_ID: Final = b"X-Request-Id"
_JSON: Final[Header] = (b"Content-Type", b"application/json; charset=UTF-8")
_TEXT: Final[Header] = (b"Content-Type", b"text/plain; charset=UTF-8")
_COMMON: Final[list[Header]] = [SERVER, NOSNIFF, *VARY]
#: Of every JSON answer, before the length.
JSON_HEAD: Final[list[Header]] = [*_COMMON, _JSON]
#: Of every stream of events.
STREAM_HEAD: Final[list[Header]] = [
    *_COMMON,
    (b"Content-Type", b"text/event-stream; charset=UTF-8"),
    (b"Cache-Control", b"no-cache"),
    (b"X-Accel-Buffering", b"no"),
]
_EMPTY_HEAD: Final[list[Header]] = [*_COMMON, _TEXT, (b"Content-Length", b"0")]


class Reply(Struct, frozen=True):
    """`more`: what follows the body where it is large, of `Part`."""

    status: int
    headers: list[Header]
    body: bytes = b""
    more: tuple[Any, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the body and what follows it."""
        return len(self.body) + sum(map(len, self.more)) if self.more else len(self.body)


class Droppable(Protocol):
    """What ends when the one who opened it may not have it any more."""

    def drop(self) -> None: ...


class Source(Droppable, Protocol):
    """Where a stream comes from."""

    def close(self) -> None: ...


class StreamReply(Reply, frozen=True, kw_only=True):
    """An answer whose body comes bit by bit."""

    chunks: AsyncGenerator[bytes, None]
    source: Source


def json(body: bytes, *headers: Header, status: int = 200) -> Reply:
    return Reply(status, [*JSON_HEAD, (b"Content-Length", b"%d" % len(body)), *headers], body)


def json_in_parts(parts: Iterable[Part], *headers: Header) -> Reply:
    """As `json`, of what other answers share."""
    begin, more = shared(parts)
    whole = Reply(200, [], begin, more)
    return structs.replace(whole, headers=[*JSON_HEAD, (b"Content-Length", b"%d" % whole.size), *headers])


def empty(*headers: Header) -> Reply:
    """Success without content: no body at all, because old Go clients leak a connection for any byte (D16)."""
    return Reply(200, [*_EMPTY_HEAD, *headers])


def not_modified(*headers: Header) -> Reply:
    return Reply(304, [*_COMMON, *headers])


def text(status: int, line: str, *headers: Header) -> Reply:
    """Plain text, for what is refused before it reaches the API."""
    body = line.encode()
    return Reply(status, [*_COMMON, _TEXT, (b"Content-Length", b"%d" % len(body)), *headers], body)


def of_type(content_type: bytes, body: bytes) -> Reply:
    """Success with a body of another type than this API speaks."""
    return Reply(200, [*_COMMON, (b"Content-Type", content_type), (b"Content-Length", b"%d" % len(body))], body)


def error(error: RegistryError, *headers: Header) -> Reply:
    """The error in the API's shape. HTTP status = code // 1000."""
    if isinstance(error, (TooManyRequests, Overloaded)):
        headers = (RETRY_AFTER, *headers)
    return json(error.body(), *headers, status=error.code // 1000)


def revision(rev: str) -> Header:
    return (b"X-Resource-Revision", rev.encode())


def schema_summary(summary: str) -> Header:
    return (b"X-Schema-Summary", summary.encode())


def position(text: bytes) -> Header:
    return (POSITION, text)


def as_of(moment: str) -> Header:
    """The moment that an answer about the past is of."""
    return (b"X-Registry-As-Of", moment.encode())


def named(answer: Reply, request_id: str) -> Reply:
    """The same answer, which says what the request is called."""
    return structs.replace(answer, headers=[*answer.headers, (REQUEST_ID, request_id.encode())])


def set_aside(answer: Reply, seconds: int) -> Reply:
    """The same answer, which says for how many seconds the tenant has been answered from memory."""
    return structs.replace(answer, headers=[*answer.headers, (b"X-Registry-Set-Aside", b"%d" % seconds)])


class Compressor:
    """Gzip for large bodies; what has a rev is compressed once per content."""

    def __init__(self) -> None:
        self._kept: Memo[str, bytes] = Memo(GZIP_KEPT_MAX, GZIP_KEPT_MAX_BYTES, _size)
        #: What is being compressed beside the loop, by rev: many clients ask for the same at the same moment.
        self._under_way: dict[str, asyncio.Task[bytes]] = {}

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return self._kept.size

    def takes_long(self, size: int, rev: str) -> bool:
        """Whether a body of this size and rev is for `compress_beside`."""
        return size >= BESIDE_MIN_BYTES and self._kept.get(rev) is None

    async def compress_beside(self, reply: Reply, rev: str = "") -> Reply:
        """As `compress`, of what may be very large: beside the loop, where others are answered. Without a rev what is
        kept goes by its content.
        """
        if len(reply.body) < BESIDE_MIN_BYTES:
            return self.compress(reply, rev or content_digest(reply.body).hex())
        rev = rev or (await asyncio.to_thread(content_digest, reply.body)).hex()
        body = self._kept.get(rev)
        if body is None:
            body = await asyncio.shield(self._under_way.get(rev) or self._begin(rev, reply.body))
        return _compressed(reply, body)

    def _begin(self, rev: str, body: bytes) -> asyncio.Task[bytes]:
        task = self._under_way[rev] = asyncio.create_task(asyncio.to_thread(_gzip, body))

        def keep(task: asyncio.Task[bytes]) -> None:
            del self._under_way[rev]
            if not task.cancelled() and task.exception() is None:
                self._kept.put(rev, task.result())

        task.add_done_callback(keep)
        return task

    def compress(self, reply: Reply, rev: str = "") -> Reply:
        """The same reply compressed, or as it is when it is too small to gain."""
        if len(reply.body) < GZIP_MIN_BYTES:
            return reply
        body = self._kept.get(rev) if rev else None
        if body is None:
            body = _gzip(reply.body)
            if rev:
                self._kept.put(rev, body)
        return _compressed(reply, body)


def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, GZIP_LEVEL, mtime=0)


def _compressed(reply: Reply, body: bytes) -> Reply:
    headers = [header for header in reply.headers if header[0] != b"Content-Length"]
    headers += [(b"Content-Encoding", b"gzip"), (b"Content-Length", b"%d" % len(body))]
    return Reply(reply.status, headers, body)


def _size(rev: str, body: bytes) -> int:
    return len(body)
