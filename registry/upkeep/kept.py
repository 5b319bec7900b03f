"""Kept: instances that have lapsed and stay while expiry is paused. What is known of their lapse is for the record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from registry.domain.tenant import Tenant
from registry.store.lease import LeaseName


class Lapse(NamedTuple):
    """When the lease ended, and since when the instance is kept all the same (steady ms)."""

    due_ms: int
    since_ms: int


class Kept:
    """Of each instance that is kept, its lapse. It is one of the view's, so there are no more than those."""

    def __init__(self) -> None:
        self._lapses: defaultdict[Tenant, dict[LeaseName, Lapse]] = defaultdict(dict)

    def keep(self, tenant: Tenant, due: Mapping[LeaseName, int], now_ms: int) -> None:
        """These stay for now. Their first lapse is what is remembered."""
        lapses = self._lapses[tenant]
        for name, due_ms in due.items():
            lapses.setdefault(name, Lapse(due_ms, now_ms))

    def lapse(self, tenant: Tenant, name: LeaseName) -> Lapse | None:
        return self._lapses[tenant].get(name) if tenant in self._lapses else None

    def forget(self, tenant: Tenant, names: Iterable[LeaseName]) -> None:
        """They beat again, or have gone."""
        lapses = self._lapses.get(tenant)
        if lapses:
            for name in names:
                lapses.pop(name, None)

    def forget_all(self, tenant: Tenant) -> None:
        self._lapses.pop(tenant, None)
