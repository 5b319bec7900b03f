"""Repeats: responses that are sent again, as they are, to whoever sends the same bytes while nothing has happened.

All instances of a consumer poll with the same bytes, and most of the time there is nothing new. A response may be sent
again as long as the log of its tenant stands where it stood, that of the default tenant too (shared services stand
there), the tenant is not set aside, and uvicorn's own headers are those of the same second. So nothing here can be out
of date.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from registry.domain.view import DEFAULT_TENANT, Tenant
from registry.http_api.memo import Memo
from registry.usecases.discovery import Discovery

#: Responses kept, and the bytes of them with their requests. Larger ones are made anew each time.
REPEATS_MAX: Final = 2048
REPEATS_MAX_BYTES: Final = 16 * 1024 * 1024
REQUEST_MAX_BYTES: Final = 16 * 1024


class _Said(Struct, frozen=True, gc=False):
    """A response, and what it was true for: compared by identity, for each change makes these anew."""

    response: bytes
    tenant: Tenant
    position: bytes
    shared_position: bytes
    headers: object


class Repeats:
    """What was last answered to which bytes."""

    def __init__(self, discovery: Discovery, aside: Mapping[Tenant, object]) -> None:
        self._discovery = discovery
        self._aside = aside
        self._said: Memo[bytes, _Said] = Memo(REPEATS_MAX, REPEATS_MAX_BYTES, _size)

    def __len__(self) -> int:
        return len(self._said)

    def find(self, request: bytes, headers: Any) -> bytes | None:
        """The response to these bytes, if it is still the one that would be made."""
        said = self._said.get(request)
        if said is None or said.headers is not headers or (self._aside and said.tenant in self._aside):
            return None
        position_text = self._discovery.position_text
        if position_text(said.tenant) is said.position and position_text(DEFAULT_TENANT) is said.shared_position:
            return said.response
        return None

    def keep(self, request: bytes, tenant: Tenant, headers: Any, response: bytes) -> None:
        if len(request) <= REQUEST_MAX_BYTES:
            position_text = self._discovery.position_text
            said = _Said(response, tenant, position_text(tenant), position_text(DEFAULT_TENANT), headers)
            self._said.put(request, said)


def _size(request: bytes, said: _Said) -> int:
    return len(request) + len(said.response)
