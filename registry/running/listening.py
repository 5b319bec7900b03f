"""Listening: the sockets on which clients are awaited."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace
from typing import Final, Literal

from registry.running.private_redis import CannotStart
from registry.serving.server import BACKLOG
from registry.settings import Settings

#: What helps, by what the system says.
REMEDIES: Final = {
    errno.EADDRINUSE: "another process listens there: end it, or give this one another --port",
    errno.EADDRNOTAVAIL: "this machine has no such address: give one of its own as --host, or 0.0.0.0 for all of them",
    errno.EACCES: "ports below 1024 need a right of their own: give another --port",
    errno.EINVAL: "an address of one link needs its interface too, as in fe80::1%eth0",
    socket.EAI_NONAME: "give a name or an address of this machine as --host, or 0.0.0.0 for all of them",
}


#: What is spoken at a port.
Speech = Literal["http", "https", "probes"]
#: The bound sockets of a replica.
Sockets = dict[Speech, socket.socket]


def ports(settings: Settings) -> dict[Speech, int]:
    """Where the settings want what to be spoken."""
    found: dict[Speech, int] = {}
    if settings.tls_cert_file:
        found["https"] = int(settings.tls_port or settings.port)
    if settings.probe_port:
        found["probes"] = int(settings.probe_port)
    if not settings.tls_cert_file or settings.tls_port:
        found["http"] = settings.port
    return found


def listening_sockets(settings: Settings, share: bool) -> Sockets:
    """All that the settings want, bound. With `share` workers bind the same ports.

    Raises:
        CannotStart: as `listening_socket`; none is left bound.
    """
    bound: Sockets = {}
    try:
        for speech, port in ports(settings).items():
            bound[speech] = listening_socket(settings.host, port, share)
    except CannotStart:
        close(bound)
        raise
    return bound


def listen(bound: Sockets) -> None:
    """Have the kernel take connections, which wait to be accepted.

    Raises:
        CannotStart: another process has listened there since the socket was bound.
    """
    for one in bound.values():
        try:
            one.listen(BACKLOG)
        except OSError as exc:
            host, port, *_ = one.getsockname()
            raise _cannot_listen(host, port, exc) from exc


def with_ports(settings: Settings, bound: Sockets) -> Settings:
    """The settings with the ports that the sockets have, where any free one was wanted."""
    chosen = {speech: one.getsockname()[1] for speech, one in bound.items()}
    return replace(
        settings,
        port=chosen.get("http", chosen.get("https", settings.port)),
        tls_port=str(chosen["https"]) if settings.tls_port else "",
        probe_port=str(chosen.get("probes", "")),
    )


def close(bound: Sockets) -> None:
    for one in bound.values():
        one.close()


def host_port(host: str, port: int) -> str:
    """HOST:PORT as it stands in a URL, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listening_socket(host: str, port: int, share: bool) -> socket.socket:
    """A bound socket. With `share`, workers bind the same port and the kernel spreads connections over them.

    Raises:
        CannotStart: the port is in use or the address is not ours.
    """
    try:
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
    except OSError as exc:
        raise _cannot_listen(host, port, exc) from exc
    bound.setblocking(False)
    return bound


def _cannot_listen(host: str, port: int, exc: OSError) -> CannotStart:
    said = f"cannot listen on {host_port(host, port)}: {exc.strerror or exc}"
    return CannotStart("; ".join(filter(None, (said, REMEDIES.get(exc.errno or 0)))))
