"""Hooks of gunicorn: its workers serve one endpoint, so they are one instance, which the last of them unregisters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from registry.client.async_registry import Options
from registry.client.sync_registry import Registry
from registry.domain.model import Instance, Microservice

#: Seconds. Gunicorn ends workers that take longer than 30 s to start.
WAIT_S: Final = 5.0


def hooks(
    service: str | Microservice,
    endpoints: Sequence[str],
    *,
    instance: Instance | None = None,
    options: Options = Options(),  # noqa: B008 - frozen
) -> tuple[Callable[[Any], None], Callable[[Any, Any], None]]:
    """The hooks `post_worker_init` and `worker_exit`, for `gunicorn.conf.py`.

    Args:
        service, endpoints, instance: see `AsyncRegistry.register`.
    """
    clients: list[Registry] = []

    def post_worker_init(worker: Any) -> None:
        client = Registry(options=options)
        clients.append(client)
        client.register(service, endpoints, instance=instance, wait_s=WAIT_S)

    def worker_exit(server: Any, worker: Any) -> None:
        while clients:
            clients.pop().close()

    return post_worker_init, worker_exit
