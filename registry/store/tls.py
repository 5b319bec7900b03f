"""TlsConnection: a connection by TLS that reads certificates once for all of its kind.

redis-py reads the system's and the given certificates anew for each connection: a tenth of a second on the event loop,
in which nobody is answered, and there are dozens of connections after an outage.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio.connection import RedisSSLContext, SSLConnection

#: By what the URL says of TLS: one or two in a process.
_contexts: dict[tuple[tuple[str, Any], ...], RedisSSLContext] = {}


class TlsConnection(SSLConnection):
    """Shares the context of the first connection that was made with the same `ssl_…` options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        asked = tuple(sorted((name, value) for name, value in options.items() if name.startswith("ssl_")))
        self.ssl_context = _contexts.setdefault(asked, self.ssl_context)
