"""Tenants: what is said of single tenants, for a bounded number of them. All others are told together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.metrics.figure import Figure

#: Tenants that are told by their names.
NAMED_MAX: Final = 50
#: The label of all others. A tenant's name has one slash, so none is called so.
OTHERS: Final = "(others)"


class TenantCounts:
    """Requests by tenant. The first `NAMED_MAX` tenants that exist are counted by their names for as long as the
    replica lives: a counter must not change its meaning, and names that somebody makes up must not drive out others.
    """

    def __init__(self) -> None:
        #: By tenant, of those that are counted by name.
        self.counts: dict[Tenant, int] = {}
        self._others = 0
        #: Whether a tenant exists.
        self.exists: Callable[[Tenant], bool] = lambda tenant: False

    def add(self, tenant: Tenant) -> None:
        """One more request of the tenant's."""
        try:
            self.counts[tenant] += 1
            return
        except KeyError:
            pass
        if len(self.counts) < NAMED_MAX and self.exists(tenant):
            self.counts[tenant] = 1
        else:
            self._others += 1

    def figures(self) -> Iterator[Figure]:
        help = f"Requests answered, of the first {NAMED_MAX} tenants by name."
        for tenant, count in self.counts.items():
            yield Figure("tenant_requests_total", help, count, True, {"tenant": str(tenant)})
        yield Figure("tenant_requests_total", help, self._others, True, {"tenant": OTHERS})


def tenant_figures(views: Sequence[RegistryView]) -> Iterator[Figure]:
    """How much each tenant holds: those with the most instances by name."""
    largest = sorted(views, key=lambda view: view.instance_count, reverse=True)
    named = [(str(view.tenant), [view]) for view in largest[:NAMED_MAX]]
    for name, some in (*named, (OTHERS, largest[NAMED_MAX:])):
        labels = {"tenant": name}
        more = f" of a tenant, of the {NAMED_MAX} largest by name."
        yield Figure("tenant_services", f"Service versions{more}", sum(len(v.services) for v in some), False, labels)
        yield Figure("tenant_instances", f"Instances{more}", sum(v.instance_count for v in some), False, labels)
        yield Figure("tenant_held_bytes", f"Bytes held{more}", sum(v.held_bytes for v in some), False, labels)
