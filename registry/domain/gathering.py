"""Gathering: bodies of instances and tables of a view, made anew when most instances have left."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from registry.domain.large import Large
from registry.domain.view import InstanceRow, ServiceRow


def copied(row: InstanceRow) -> InstanceRow:
    """An equal one with a body of its own; the large part of a row."""
    return structs.replace(row, body=bytes(memoryview(row.body)))


def put(service: ServiceRow, rows: Sequence[InstanceRow], copies: Sequence[InstanceRow]) -> object:
    """Put copies in the place of those of the rows that are still there, and make the tables as small as can be.

    Answers are the same afterwards, in the same order.

    Returns: what was there.
    """
    before = service.instances, service.by_endpoints
    copy_of = dict(zip(map(id, rows), copies, strict=True))
    service.instances = {instance_id: copy_of.get(id(row), row) for instance_id, row in before[0].items()}
    service.by_endpoints = Large(before[1])
    service.drop_answers()  # they hold the bodies that were there
    return before
