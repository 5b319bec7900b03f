"""batch_find: many finds and reads answered at one position, and what the client is sent of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from registry.domain.errors import AnswerTooLarge, ErrorBody, RegistryError
from registry.domain.find import FindQuery
from registry.domain.instance_reads import InstanceQuery
from registry.domain.view import Answer, Standing


class BatchResult(Struct, frozen=True):
    """Every index of the queries exactly once, ascending in its list; failures grouped by error code."""

    failed: list[tuple[RegistryError, list[int]]]
    not_modified: list[int]
    updated: list[tuple[int, Answer]]
    #: Of every answer that it was made from.
    standings: list[Standing | None]

    @property
    def size(self) -> int:
        """Bytes of the instances that it tells of."""
        return sum(answer.size for _, answer in self.updated)


def batch_find(
    queries: Sequence[FindQuery | InstanceQuery],
    answer: Callable[[FindQuery | InstanceQuery], Answer],
    most: int,
    size: int = 0,
) -> BatchResult:
    """Answer many queries without waiting, so all at one position.

    A rev that is not empty and equals the current one is not modified; everything else is updated or failed.

    Args:
        most: bytes of all instances in one answer, of which `size` have been told already.

    Raises:
        AnswerTooLarge: there are more. The queries behind are not looked at, and nothing is put together.
    """
    result = BatchResult([], [], [], [])
    groups: dict[int, list[int]] = {}
    for index, query in enumerate(queries):
        try:
            current = answer(query)
        except RegistryError as error:
            if error.code not in groups:
                groups[error.code] = []
                result.failed.append((error, groups[error.code]))
            groups[error.code].append(index)
            continue
        result.standings.append(current.standing)
        if query.rev and query.rev == current.rev:
            result.not_modified.append(index)
        else:
            size += current.size
            if size > most:
                raise AnswerTooLarge(size, most)
            result.updated.append((index, current))
    return result


def encode_batch(result: BatchResult) -> list[bytes | memoryview]:
    """The result as `{"failed":…,"notModified":…,"updated":…}`, empty members left out, in parts."""
    members: list[bytes | memoryview] = []
    if result.failed:
        failed = [
            {"indexes": indexes, "error": ErrorBody(str(error.code), error.message, error.detail)}
            for error, indexes in result.failed
        ]
        members += (b",", b'"failed":' + msgspec.json.encode(failed))
    if result.not_modified:
        members += (b",", b'"notModified":' + msgspec.json.encode(result.not_modified))
    if result.updated:
        updated = [part for index, answer in result.updated for part in (b",", *_updated(index, answer))]
        members += (b",", b'"updated":[', *updated[1:], b"]")
    return [b"{", *members[1:], b"}"]


def _updated(index: int, answer: Answer) -> tuple[bytes | memoryview, ...]:
    head = b'{"index":%d,"rev":"%s"' % (index, answer.rev.encode())
    return (head, b",", answer.members()) if answer.count else (head, b"}")
