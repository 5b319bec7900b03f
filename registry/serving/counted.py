"""Counted: hot requests that were answered, for /metrics and for the access log."""

from __future__ import annotations

from time import perf_counter

from registry.http_api.api import Api
from registry.http_api.operation import Operation
from registry.serving.request import Request, call_of


class Counted:
    """Those of one operation."""

    def __init__(self, api: Api, operation: Operation) -> None:
        self._operation = operation
        self._tally = api.observer.tally(operation.name)
        self._api = api

    def add(self, request: Request, client_address: str, status: int, sent: int = 0) -> None:
        """One was answered. `sent`: bytes of the answer's body."""
        tenant, seconds, received = request.hot.tenant, perf_counter() - request.began, len(request.body)
        self._tally.add(tenant, status, seconds, received, sent)
        log = self._api.access_log
        if log is not None and log.wants(status, seconds):
            _, call = call_of(request, client_address, received)
            call.come_through(self._api.proxies)
            log.say(
                *(self._operation.name, tenant, call.target, call.address, status, seconds, received, sent),
                request.request_id,
            )
