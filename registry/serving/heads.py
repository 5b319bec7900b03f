"""Heads: what the header block of a hot request says, by a list of the headers that may stand in it.

A block with any other header, with one of these twice, or with anything unusual in it, is for the parser and the
application to judge. Clients repeat their blocks byte for byte, so what a block says is remembered; headers that differ
with every request are not remembered, only passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from registry.domain.errors import RegistryError
from registry.http_api.call import consumer_of, takes_gzip
from registry.memo import Memo
from registry.usecases.principals import credentials_of

#: Blocks remembered, and their bytes. Consumers name themselves in a header, so there is one for each at least.
BLOCKS_MAX: Final = 20_000
BLOCKS_MAX_BYTES: Final = 8 * 1024 * 1024
BLOCK_MAX_BYTES: Final = 4096
#: Headers of a block: as many as `REGISTRY_HEADERS_MAX` lets pass at least. How many more it lets, the parser knows.
LINES_MAX: Final = 64
#: Bytes of a body that is waited for here; a larger one is read by the parser.
BODY_MAX_BYTES: Final = 256 * 1024

#: Headers that the hot answers take into account.
READ: Final = frozenset(
    (
        *(b"host", b"x-domain-name", b"x-consumerid", b"x-consumer_id"),
        *(b"accept-encoding", b"content-length", b"connection", b"authorization", b"x-auth-token"),
    )
)
#: Headers that mean nothing to the registry and are the same in all requests of a client.
CONSTANT: Final = frozenset(
    (
        *(
            b"accept",
            b"accept-charset",
            b"accept-language",
            b"cache-control",
            b"content-type",
            b"pragma",
            b"user-agent",
        ),
        *(b"referer", b"dnt", b"cookie", b"keep-alive", b"x-requested-with", b"x-project-id", b"via", b"x-real-ip"),
        *(b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-forwarded-server"),
    )
)
#: Headers that mean nothing to the registry and differ with each request or client.
VARYING: Final = frozenset(
    (
        *(b"traceparent", b"tracestate", b"baggage", b"b3", b"uber-trace-id", b"sw8", b"sentry-trace", b"date"),
        *(b"x-b3-traceid", b"x-b3-spanid", b"x-b3-parentspanid", b"x-b3-sampled", b"x-b3-flags"),
        *(b"x-request-id", b"x-correlation-id", b"x-trace-id", b"x-cse-context", b"x-forwarded-for", b"forwarded"),
        *(b"x-amzn-trace-id", b"x-cloud-trace-context", b"request-id"),
    )
)
#: Headers that are passed over when a request is looked for among those that are known.
PASSED: Final = VARYING | {b"user-agent"}
#: One header line, of printable ASCII.
_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([ -~\t]*)")


def _passed_line(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Lines of these headers, and the value of a request id. It looks at the first letters first, to be fast."""
    experimental = sorted(name[2:] for name in names if name.startswith(b"x-"))
    others = sorted(name for name in names if not name.startswith(b"x-"))
    firsts = [
        b"".join(sorted({letter for name in some for letter in (name[:1], name[:1].upper())}))
        for some in (others, experimental)
    ]
    return re.compile(
        rb"\r(?=\n(?:[%b]|[xX]-[%b]))\n(?:[xX]-(?:%b:([ -~\t]*)|(?:%b):[ -~\t]*)|(?:%b):[ -~\t]*)(?=\r\n)"
        % (
            *firsts,
            _in_any_case(b"request-id"),
            b"|".join(map(_in_any_case, experimental)),
            b"|".join(map(_in_any_case, others)),
        )
    )


def _in_any_case(name: bytes) -> bytes:
    """As `re.IGNORECASE`, with which expressions are matched more slowly."""
    return b"".join(
        b"[%c%c]" % (letter, letter - 32) if letter >= ord("a") else re.escape(b"%c" % letter) for letter in name
    )


_PASSED_LINE: Final = _passed_line(PASSED)
_VARYING_LINE: Final = _passed_line(VARYING)


def without_passed(text: bytes) -> tuple[bytes, bytes]:
    """A request's line and headers, with the empty line, without the headers that are passed over; its id."""
    parts = _PASSED_LINE.split(text)
    if len(parts) == 1:
        return text, b""
    if len(parts) == 3:
        before, id, after = parts
        return before + after, id.strip() if id else b""
    ids = [id for id in parts[1::2] if id is not None]
    return b"".join(parts[::2]), ids[-1].strip() if ids else b""


def is_usual(block: bytes) -> bool:
    """Whether a header block is of a usual size. What a larger one is answered, the parser decides by its limits."""
    return len(block) <= BLOCK_MAX_BYTES and block.count(b"\n") < LINES_MAX


def varies(text: bytes) -> bool:
    """Whether a request's line and headers hold something that differs with each request or client."""
    return _VARYING_LINE.search(text) is not None


def varying_value(text: bytes) -> tuple[int, int, bool] | None:
    """Where in a request's line and headers the one value stands that differs each time, and whether it is an id.

    None: there is none, or more than one.
    """
    lines = list(_VARYING_LINE.finditer(text))
    if len(lines) != 1:
        return None
    line = lines[0]
    return text.index(b":", line.start()) + 1, line.end(), line[1] is not None


class Head(Struct, frozen=True, gc=False):
    """What the headers of a hot request say. `length`: bytes of its body."""

    domain: bytes = b""
    #: The consumer's id as it came, and as it is.
    consumer: bytes = b""
    consumer_id: str = ""
    gzip: bool = False
    length: int = 0
    #: What the meaning of a request's line depends on, as a key.
    key: bytes = b""
    #: What shows who asks.
    credentials: bytes = b""
    #: Whether the request has an id. Which, and whether others with the same meaning have one, each block says.
    has_id: bool = False


class Heads:
    """The header blocks that are known."""

    def __init__(self) -> None:
        self._blocks: Memo[bytes, Head] = Memo(BLOCKS_MAX, BLOCKS_MAX_BYTES, _size)
        #: A block that is known just as it is.
        self.find = self._blocks.get

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def size(self) -> int:
        """Bytes of all that is remembered."""
        return self._blocks.size

    def read(self, block: bytes) -> Head | None:
        """The meaning of a header block, without the line end after its last line; None: not for the hot way."""
        head = self.find(block)
        if head is not None or not is_usual(block):
            return head
        text = b"\r\n%b\r\n" % block
        without, _ = without_passed(text)
        if without is not text:
            head = self.find(without)
            if head is not None:
                return head
        head = _read(block)
        if head is not None:
            self._blocks.put(block, head)
            if without is not text:
                # With the line ends around it, it is told from a block that never had any of these lines.
                self._blocks.put(without, head)
        return head


def _read(block: bytes) -> Head | None:
    read: dict[bytes, bytes] = {}
    has_id = False
    for line in block.split(b"\r\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        name = match[1].lower()
        if name in READ:
            if name in read:
                return None  # to refuse, or to choose, is not ours
            read[name] = match[2].rstrip()
        elif name not in CONSTANT and name not in VARYING:
            return None
        has_id |= name == b"x-request-id"
    return _meaning(read, has_id)


def _meaning(read: dict[bytes, bytes], has_id: bool) -> Head | None:
    length = read.get(b"content-length", b"0")
    if not read.get(b"host") or not length.isdigit() or len(length) > 9 or int(length) > BODY_MAX_BYTES:
        return None
    if read.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    consumer = read.get(b"x-consumerid") or read.get(b"x-consumer_id", b"")
    try:
        consumer_id = consumer_of(consumer)
    except RegistryError:
        return None  # it is refused in the same words as everywhere
    gzip = takes_gzip(read.get(b"accept-encoding", b""))
    domain = read.get(b"x-domain-name", b"")
    key = b"%b\n%d" % (domain, gzip)
    credentials = credentials_of(read.get(b"authorization", b""), read.get(b"x-auth-token", b""))
    return Head(domain, consumer, consumer_id, gzip, int(length), key, credentials, has_id)


def _size(text: bytes, head: Head) -> int:
    return len(text)
