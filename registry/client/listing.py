"""Listing: what a consumer knows of one provider, and what each answer of a registry makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.model import Instance

#: The number of empty answers in a row that is believed, or one each of two replicas.
EMPTIES_BELIEVED: Final = 3


class Change(Struct, frozen=True):
    """One instance came, went, or became another. Of a removed one, `instance` is what it was."""

    kind: Literal["added", "removed", "changed"]
    instance: Instance


class Listing(Struct, frozen=True):
    """The instances of one provider, the rev that stands for them, and when a registry last confirmed them.

    An empty answer that follows instances is not believed at once: a registry that has just lost its data answers so,
    too. Until it is believed the listing keeps its instances and its rev, so that the next answer is whole again.
    """

    instances: tuple[Instance, ...] = ()
    rev: str = ""
    #: Seconds of the steady clock; None: no registry has said it yet (it comes from a file, or is new).
    confirmed_at: float | None = None
    #: Who answered "empty", in a row, while it was not believed.
    empty_from: tuple[str, ...] = ()

    @property
    def doubts(self) -> bool:
        """Whether an empty answer waits to be believed: asking again soon, and elsewhere, is worth it."""
        return bool(self.empty_from)

    def unchanged(self, now: float) -> Listing:
        """The registry knows nothing newer."""
        return replace(self, confirmed_at=now, empty_from=())

    def answered(self, instances: Iterable[Instance], rev: str, source: str, now: float) -> Listing:
        """The registry listed these instances. `source`: the address that answered."""
        found = tuple(sorted(instances, key=lambda instance: (instance.service_id, instance.instance_id)))
        if found or not self.instances:
            return Listing(found, rev, now)
        empty_from = (*self.empty_from, source)
        if len(empty_from) >= EMPTIES_BELIEVED or len(set(empty_from)) > 1:
            return Listing((), rev, now)
        return replace(self, empty_from=empty_from)


def differences(before: Sequence[Instance], after: Sequence[Instance]) -> list[Change]:
    """What happened between two lists, the removed first. Time stamps are no change."""
    old = {_key(instance): instance for instance in before}
    new = {_key(instance): instance for instance in after}
    removed = [Change("removed", old[key]) for key in sorted(old.keys() - new.keys())]
    added = [Change("added", new[key]) for key in sorted(new.keys() - old.keys())]
    both = sorted(old.keys() & new.keys())
    return removed + added + [Change("changed", new[key]) for key in both if _content(old[key]) != _content(new[key])]


def _key(instance: Instance) -> tuple[str, str]:
    return (instance.service_id, instance.instance_id)


def _content(instance: Instance) -> Instance:
    return replace(instance, timestamp="", mod_timestamp="")
