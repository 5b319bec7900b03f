"""Unread: what stands in a view for the instances of a microservice that were not read into it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from registry.domain.view import RegistryView, ServiceRow

K = TypeVar("K")
V = TypeVar("V")

#: All by which one looks at a dict, or changes it.
LOOKS: Final = (
    *("__contains__", "__delitem__", "__eq__", "__getitem__", "__ior__", "__iter__", "__len__", "__ne__", "__or__"),
    *("__reversed__", "__ror__", "__setitem__", "clear", "copy", "get", "items", "keys", "pop", "popitem"),
    *("setdefault", "update", "values"),
)


class Part(NamedTuple):
    """What was read into a view: all microservices, and the instances of these only.

    `looked`: the others that somebody has looked at the instances of. What came of that does not count.
    """

    read: frozenset[str]
    looked: set[str]


def forget_answers(view: RegistryView, part: Part) -> None:
    """Begin to note looks anew. What was prepared by those before is not true."""
    for service_id in part.looked:
        if (row := view.services.get(service_id)) is not None:
            row.drop_answers()
    part.looked.clear()


class Unread(dict[K, V]):
    """An empty dict that notes it when somebody looks."""

    __slots__ = ("_looked", "_service_id")

    def __init__(self, service_id: str, looked: set[str]) -> None:
        super().__init__()
        self._service_id = service_id
        self._looked = looked

    def note(self) -> None:
        self._looked.add(self._service_id)


def _noting(name: str) -> Callable[..., Any]:
    plain = getattr(dict, name)

    def look(unread: Unread[Any, Any], *args: Any, **named: Any) -> Any:
        unread.note()
        return plain(unread, *args, **named)

    return look


for _name in LOOKS:
    setattr(Unread, _name, _noting(_name))


def leave_out(row: ServiceRow, part: Part) -> None:
    """Mark its instances as not read, if they are not part of it."""
    if row.service_id not in part.read:
        row.instances = Unread(row.service_id, part.looked)
        row.by_endpoints = Unread(row.service_id, part.looked)
        row.shared_endpoints = set()
