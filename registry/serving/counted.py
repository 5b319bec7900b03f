"""Counted: hot requests that were answered, for /metrics and for the access log."""

from __future__ import annotations

from time import perf_counter

from registry.domain.tenant import Tenant
from registry.http_api.api import Api
from registry.http_api.operation import Operation
from registry.serving.request import Request, target_of


class Counted:
    """Those of one operation."""

    def __init__(self, api: Api, operation: Operation) -> None:
        self._operation = operation
        self._tally = api.observer.tally(operation.name)
        self._access_log = api.access_log

    def add(self, request: Request, client_address: str, status: int, sent: int = 0) -> None:
        """One was answered. `sent`: bytes of the answer's body."""
        tenant, seconds, received = request.hot.tenant, perf_counter() - request.began, len(request.body)
        self._tally.add(tenant, status, seconds, received, sent)
        if self._access_log is not None:
            self._access_log.note(
                *(self._operation.name, tenant, target_of(request), client_address, status, seconds, received, sent),
                request.request_id,
            )

    def add_instant(self, tenant: Tenant, status: int, sent: int) -> None:
        """One was answered as it was before, which takes no time and is said nowhere."""
        self._tally.add_instant(tenant, status, sent)
