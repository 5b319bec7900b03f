"""batch_find: many finds and reads answered at one position, and what the client is sent of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from registry.domain.errors import (
    ErrorBody,
    RegistryError,
)
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


def batch_find(
    queries: Sequence[FindQuery | InstanceQuery], answer: Callable[[FindQuery | InstanceQuery], Answer]
) -> BatchResult:
    """Answer many queries without waiting, so all at one position.

    A rev that is not empty and equals the current one is not modified; everything else is updated or failed.
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
            result.updated.append((index, current))
    return result


def encode_batch(result: BatchResult) -> bytes:
    """The result as `{"failed":…,"notModified":…,"updated":…}`, empty members left out."""
    members = []
    if result.failed:
        failed = [
            {"indexes": indexes, "error": ErrorBody(str(error.code), error.message, error.detail)}
            for error, indexes in result.failed
        ]
        members.append(b'"failed":' + msgspec.json.encode(failed))
    if result.not_modified:
        members.append(b'"notModified":' + msgspec.json.encode(result.not_modified))
    if result.updated:
        members.append(b'"updated":[' + b",".join(_encode_updated(*item) for item in result.updated) + b"]")
    return b"{" + b",".join(members) + b"}"


def _encode_updated(index: int, answer: Answer) -> bytes:
    head = b'{"index":%d,"rev":"%s"' % (index, answer.rev.encode())
    return head + (b',"instances":' + answer.array() + b"}" if answer.count else b"}")
