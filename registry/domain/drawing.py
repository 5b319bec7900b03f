"""Drawing: the services of a view as they are at one moment, however the view changes while they are gone through."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import ref

from registry.domain.view import RegistryView, ServiceRow


def draw(view: RegistryView) -> Drawing:
    """The services as they are at this call. It copies their list only; what changes later is kept as it was."""
    drawing = Drawing(view)
    view.drawings.append(ref(drawing, view.drawings.remove))
    return drawing


class Drawing:
    """The services of a view at one moment, each to be drawn once. The view knows of it as long as anybody holds it."""

    def __init__(self, view: RegistryView) -> None:
        self._undrawn = dict(view.services)
        self._kept: set[str] = set()

    def keep(self, service_id: str) -> None:
        """This service is about to change: if it is not drawn yet, it will be drawn as it is now."""
        if service_id in self._undrawn and service_id not in self._kept:
            self._kept.add(service_id)
            self._undrawn[service_id] = _copy(self._undrawn[service_id])

    def __iter__(self) -> Iterator[ServiceRow]:
        for service_id in list(self._undrawn):
            yield self._undrawn.pop(service_id)


def _copy(row: ServiceRow) -> ServiceRow:
    """What is drawn of it: of the endpoints those that several instances have."""
    return ServiceRow(
        row.service,
        row.body,
        row.version,
        row.group,
        dict(row.instances),
        {key: row.by_endpoints[key] for key in row.shared_endpoints},
        row.shared_endpoints.copy(),
        dict(row.tags),
        dict(row.schemas),
        changed=row.changed,
    )
