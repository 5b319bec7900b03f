"""emptiness: whether a tenant holds nothing, and has held nothing for long enough not to be kept in memory."""

from __future__ import annotations

from registry.domain.tenant import ACCOUNTS, DEFAULT_TENANT
from registry.domain.view import RegistryView


def is_empty(view: RegistryView) -> bool:
    """Whether there is nothing in the view that anybody has registered."""
    return not (view.services or view.policies or view.access)


def may_be_forgotten(view: RegistryView, seen_ms: int, now_ms: int, after_ms: int) -> bool:
    """Whether the tenant has been empty for this long. The registry's own are never forgotten.

    Args:
        seen_ms: since when it is known to be empty, beside what its log says.
    """
    if view.tenant in (DEFAULT_TENANT, ACCOUNTS) or not is_empty(view):
        return False
    return now_ms - max(view.moment_ms, seen_ms) >= after_ms
