"""Responses: answers as the bytes that go to the client, the same as the other way would write them."""

from __future__ import annotations

from typing import Final

from registry.domain.view import Answer
from registry.http_api import reply
from registry.http_api.reply import Reply
from registry.http_api.shared_parts import Part, Parts
from registry.memo import Memo
from registry.serving.exchange import STATUS_LINES

#: Prepared heads, and their bytes.
HEADS_MAX: Final = 20_000
HEADS_MAX_BYTES: Final = 8 * 1024 * 1024

_OK: Final = STATUS_LINES[200]
_NOT_MODIFIED: Final = STATUS_LINES[304]
_POSITION: Final = b"X-Registry-Position: "
_END: Final = b"\r\n\r\n"


def body_size(parts: Parts) -> int:
    """Bytes of the body of a response that was rendered here."""
    if len(parts) > 2:
        return sum(map(len, parts[1:]))
    return len(parts[1]) if len(parts) > 1 else 0


def header_lines(answer: Reply) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in answer.headers])


_JSON_LINES: Final = header_lines(Reply(200, reply.JSON_HEAD))


def render(answer: Reply, lines: bytes) -> Parts:
    """Any reply. `lines`: header lines that every answer has."""
    head = b"".join((STATUS_LINES[answer.status], lines, header_lines(answer), b"\r\n"))
    rest: tuple[Part, ...] = (answer.body, *answer.more) if answer.body else ()
    return (head, *rest)


def json(body: bytes, position: bytes, lines: bytes, more: tuple[Part, ...] = ()) -> Parts:
    """A JSON answer of a tenant's. `more`: what follows the body."""
    length = b"Content-Length: %d\r\n" % (len(body) + sum(map(len, more)) if more else len(body))
    rest: tuple[Part, ...] = (body, *more)
    return (b"".join((_OK, lines, _JSON_LINES, length, _POSITION, position, _END)), *rest)


def around(response: bytes, lines: bytes, position: bytes) -> tuple[bytes, bytes, bytes]:
    """What stands in a response before the lines that every answer has, between them and the position, and after it."""
    before, _, rest = response.partition(lines)
    between, mark, after = rest.partition(_POSITION + position)
    return before, between + mark[: len(_POSITION)], after


def named(response: Parts, request_id: str) -> Parts:
    """The response, which says what the request is called."""
    head, end, body = response[0].partition(b"\r\n\r\n")
    return (b"%b\r\n%b: %b%b%b" % (head, reply.REQUEST_ID, request_id.encode(), end, body), *response[1:])


class FindResponses:
    """Answers of finds. What is said before a body of a rev, and in place of it, is rendered once."""

    def __init__(self) -> None:
        self._heads: Memo[str, tuple[int, bytes, bytes]] = Memo(HEADS_MAX, HEADS_MAX_BYTES, _size)

    @property
    def size(self) -> int:
        """Bytes of all that is prepared."""
        return self._heads.size

    def whole(self, answer: Answer, position: bytes, lines: bytes) -> Parts:
        return b"".join((_OK, lines, self._head(answer)[1], _POSITION, position, _END)), answer.body

    def not_modified(self, answer: Answer, position: bytes, lines: bytes) -> Parts:
        return (b"".join((_NOT_MODIFIED, lines, self._head(answer)[2], _POSITION, position, _END)),)

    def _head(self, answer: Answer) -> tuple[int, bytes, bytes]:
        kept = self._heads.get(answer.rev)
        if kept is None or kept[0] != len(answer.body):
            revision = reply.revision(answer.rev)
            whole = header_lines(reply.json(answer.body, revision))
            kept = (len(answer.body), whole, header_lines(reply.not_modified(revision)))
            self._heads.put(answer.rev, kept)
        return kept


def _size(rev: str, heads: tuple[int, bytes, bytes]) -> int:
    return len(heads[1]) + len(heads[2])
