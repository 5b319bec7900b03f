"""catalog: every microservice version with its instances counted by status, in pages, or only what has changed.

Pure functions of a view. A page costs its reader little, however large the registry is, so that anyone who shows a
registry can keep a copy of the outline current by asking again and again what has changed since.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec
from msgspec import Raw, Struct

from registry.domain.position import ORIGIN, Position
from registry.domain.service_reads import is_shared
from registry.domain.view import Covers, RegistryView, ServiceRow

#: Services in one page, their bytes, and instances that are counted for it: a page ends with the service that passes
#: one of these numbers. Together they take some five milliseconds, in which nobody else is answered.
PAGE_MAX: Final = 500
PAGE_MAX_BYTES: Final = 1024 * 1024
COUNTED_MAX: Final = 4000


class CatalogRow(Struct, frozen=True, omit_defaults=True):
    """One microservice version. `instances`: status -> number of instances; without those that are none."""

    service: Raw
    instances: dict[str, int] = {}
    tags: dict[str, str] = {}


class Catalog(Struct, frozen=True):
    """A page of the catalog.

    total: services in the whole catalog.
    next: where the next page begins, 0 when this is the last one.
    """

    services: list[CatalogRow]
    total: int
    next: int = 0


class _Status(Struct, gc=False):
    status: str = ""


_status = msgspec.json.Decoder(_Status).decode


def catalog(
    view: RegistryView,
    hidden: frozenset[str],
    since: Position = ORIGIN,
    offset: int = 0,
    covers: Covers | None = None,
) -> Catalog:
    """The page that begins at the service number `offset`, in the order of registration.

    Args:
        hidden: names in application `default` that are left out.
        covers: which microservices are shown; None: all.
        since: only what has changed after this position; a service that left is missing in `total` only.
    """
    rows = [
        row
        for row in view.services.values()
        if not (hidden and is_shared(row.service, hidden)) and (covers is None or covers(*row.group.key))
    ]
    changed = rows if since == ORIGIN else [row for row in rows if row.changed > since]
    page: list[CatalogRow] = []
    counted, size = 0, 0
    for row in islice(changed, offset, offset + PAGE_MAX):
        page.append(_row(row))
        counted += len(row.instances)
        size += len(row.body)
        if counted >= COUNTED_MAX or size >= PAGE_MAX_BYTES:
            break
    after = offset + len(page)
    return Catalog(page, len(rows), after if after < len(changed) else 0)


def _row(row: ServiceRow) -> CatalogRow:
    return CatalogRow(Raw(row.body), count_by_status(row), row.tags)


def count_by_status(row: ServiceRow) -> dict[str, int]:
    """Status -> number of the service's instances."""
    counts: dict[str, int] = {}
    for instance in row.instances.values():
        status = _status(instance.body).status
        counts[status] = counts.get(status, 0) + 1
    return counts
