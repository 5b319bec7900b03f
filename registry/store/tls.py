"""TlsConnection: a connection by TLS that reads certificates once for all of its kind.

redis-py reads the system's and the given certificates anew for each connection: a tenth of a second on the event loop,
in which nobody is answered, and there are dozens of connections after an outage.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import RedisSSLContext, SSLConnection

#: By what the URL says of TLS: one or two in a process.
_contexts: dict[tuple[tuple[str, Any], ...], RedisSSLContext] = {}


class TlsConnection(SSLConnection):
    """Shares the context of the first connection that was made with the same `ssl_…` options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        asked = tuple(sorted(_of_tls(options).items()))
        self.ssl_context = _contexts.setdefault(asked, self.ssl_context)


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The context of all connections with these `ssl_…` options. Reads the certificates the first time.

    Raises:
        OSError: they are not there, or are none.
    """
    context: ssl.SSLContext = TlsConnection(**_of_tls(options)).ssl_context.get()
    return context


def _of_tls(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}
