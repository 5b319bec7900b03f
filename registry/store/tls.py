"""TlsConnection: a connection by TLS that reads certificates once for all of its kind, and again when they change.

redis-py reads the system's and the given certificates anew for each connection, on the event loop: a tenth of a second
in which nobody is answered, and there are dozens of connections after an outage. Here they are read beside it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Mapping
from threading import Lock
from typing import Any, Final

from redis.asyncio.connection import RedisSSLContext, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError

logger = logging.getLogger(__name__)

#: Options that name files.
FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: By what the URL says of TLS, one or two in a process: which files there were when it was read, and the context.
_contexts: dict[tuple[tuple[str, Any], ...], tuple[tuple[object, ...], RedisSSLContext]] = {}
#: One thread reads, those that want the same wait for it.
_reading: Final = Lock()


class TlsConnection(SSLConnection):
    """Shares the context of the first connection that was made with the same `ssl_…` options and the same files."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._asked = _of_tls(options)

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Every way to connect leads here. Raises redis-py's ConnectionError."""
        if not self.is_connected:
            try:
                self.ssl_context = await asyncio.to_thread(_shared, self._asked)
            except (OSError, ValueError) as error:
                raise RedisConnectionError(f"no connection: {error}") from error
        await super().connect_check_health(*arguments, **options)


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The context of all connections with these `ssl_…` options. It reads files: never call it on the event loop.

    Raises:
        OSError, ValueError: the certificates are not there, or are none, and there were none before.
    """
    context: ssl.SSLContext = _shared(_of_tls(options)).get()
    return context


def _shared(options: Mapping[str, Any]) -> RedisSSLContext:
    """What `TlsConnection` shares, with all read. Raises as `tls_context`."""
    asked = tuple(sorted(options.items()))
    files = tuple(_state(path) for name in FILES if (path := options.get(name)))
    with _reading:
        known = _contexts.get(asked)
        if known is not None and known[0] == files:
            return known[1]
        context = SSLConnection(**options).ssl_context
        try:
            context.get()
        except (OSError, ValueError) as error:
            if known is None:
                raise
            # Half of a new pair, perhaps. It is looked at again when it is another one.
            logger.warning(
                "changed certificates for Redis cannot be used, those from before are: %s",
                error,
                extra={"action": "store_certificates_unusable"},
            )
            context = known[1]
        _contexts[asked] = (files, context)
        return context


def _state(path: str) -> object:
    """What is another after the file was written or replaced."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _of_tls(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}
