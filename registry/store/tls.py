"""TlsConnection: a connection by TLS that reads certificates once for all of its kind, and again when they change.

redis-py reads the system's and the given certificates anew for each connection: a tenth of a second on the event loop,
in which nobody is answered, and there are dozens of connections after an outage.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio.connection import RedisSSLContext, SSLConnection

logger = logging.getLogger(__name__)

#: Options that name files.
FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: By what the URL says of TLS, one or two in a process: which files there were when it was read, and the context.
_contexts: dict[tuple[tuple[str, Any], ...], tuple[tuple[object, ...], RedisSSLContext]] = {}


class TlsConnection(SSLConnection):
    """Shares the context of the first connection that was made with the same `ssl_…` options and the same files."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context = _shared(_of_tls(options), self.ssl_context)


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The context of all connections with these `ssl_…` options. Reads the certificates when they are new.

    Raises:
        OSError: they are not there, or are none, and there were none before.
    """
    context: ssl.SSLContext = TlsConnection(**_of_tls(options)).ssl_context.get()
    return context


def _shared(options: Mapping[str, Any], new: RedisSSLContext) -> RedisSSLContext:
    asked = tuple(sorted(options.items()))
    files = tuple(_state(path) for name in FILES if (path := options.get(name)))
    read, context = _contexts.get(asked, ((), new))
    if context is not new and read != files:
        try:
            new.get()
        except (OSError, ValueError) as error:
            # Half of a new pair, perhaps. It is looked at again when it is another one.
            logger.warning(
                "changed certificates for Redis cannot be used, those from before are: %s",
                error,
                extra={"action": "store_certificates_unusable"},
            )
        else:
            context = new
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
