"""Certificates: the pair that the registry shows to its clients, read again when its files change.

To renew it, only the files are written. A pair that cannot be used is refused with one line in the log, and the old
one is shown on. Connections that are open keep what they were opened with.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from typing import Final, Literal

from registry.metrics.figure import Figure

logger = logging.getLogger(__name__)

#: Seconds between looks at the files. Changed ones are read when they have rested from one look to the next.
LOOK_EVERY_S: Final = 2.0

ClientCerts = Literal["off", "optional", "required"]
#: Modification time, size and number of each file, None while it is not there.
Prints = tuple[tuple[int, int, int] | None, ...]

_ASKED: Final = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class BadCertificates(Exception):
    """The files cannot be used; the message says which, and why."""


class Certificates:
    """What TLS needs, as of now.

    Args:
        cert_file: PEM of the certificate and of those between it and its authority.
        key_file: PEM of its key; "" when that stands in `cert_file` too.
        ca_file: PEM of the authorities that vouch for clients.
        client_certs: whether clients are asked for a certificate, and whether they must have one.

    Raises:
        BadCertificates: they cannot be used.
    """

    def __init__(
        self, cert_file: str, key_file: str = "", ca_file: str = "", client_certs: ClientCerts = "off"
    ) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._ca_file = ca_file
        self._client_certs = client_certs
        self._prints = self._look()
        #: What the next handshake uses.
        self.context = self._read()
        self.reloaded = 0
        self.refused = 0

    def figures(self) -> list[Figure]:
        return [
            Figure("certificates_reloaded_total", "Times the certificate was read again.", self.reloaded, True),
            Figure("certificates_refused_total", "Times a new one could not be used.", self.refused, True),
        ]

    async def follow(self) -> None:
        """Read the files again whenever they have changed, until cancelled. Never reads on the event loop."""
        before = self._prints
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            prints = await asyncio.to_thread(self._look)
            if prints == before and prints != self._prints:
                self._prints = prints
                await self._renew()
            before = prints

    async def _renew(self) -> None:
        try:
            self.context = await asyncio.to_thread(self._read)
        except BadCertificates as exc:
            self.refused += 1
            logger.error("%s; the old certificate stays", exc, extra={"action": "certificate_refused"})
        else:
            self.reloaded += 1
            logger.info("the certificate was read again", extra={"action": "certificate_renewed"})

    def _look(self) -> Prints:
        return tuple(_print(path) for path in (self._cert_file, self._key_file, self._ca_file) if path)

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(["http/1.1"])
        pair = " and ".join(filter(None, (self._cert_file, self._key_file)))
        try:
            # Without a password the system's own prompt would wait for one.
            context.load_cert_chain(self._cert_file, self._key_file or None, password=_no_password)
        except (OSError, ValueError) as exc:
            raise BadCertificates(f"{pair} cannot be used as certificate and key: {_why(exc)}") from exc
        context.verify_mode = _ASKED[self._client_certs]
        if self._client_certs != "off":
            try:
                context.load_verify_locations(self._ca_file)
            except (OSError, ValueError) as exc:
                raise BadCertificates(f"{self._ca_file} holds no authorities: {_why(exc)}") from exc
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; give one without a passphrase, readable by the registry alone")


def _why(exc: Exception) -> str:
    """In the words of the system or of OpenSSL, without the place in its source."""
    match exc:
        case ssl.SSLError(reason=str(reason)):
            return reason.lower().replace("_", " ")
        case ssl.SSLError():  # OpenSSL does not say which, nor why
            return "one of them is no PEM of what it should be"
        case OSError(strerror=str(said)):
            return said
    return str(exc)


def _print(path: str) -> tuple[int, int, int] | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino
