"""A way to Redis that takes its time: what a replica in another zone has."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator


@contextlib.contextmanager
def far_redis(path: str, delay_s: float) -> Iterator[str]:
    """A URL at which the Redis on the Unix socket `path` is reached; everything that it says comes `delay_s` late."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, path, delay_s), daemon=True).start()
        try:
            yield f"redis://127.0.0.1:{server.getsockname()[1]}"
        finally:
            # Closing alone would leave the thread waiting in accept().
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, path: str, delay_s: float) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = server.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = socket.socket(socket.AF_UNIX)
            far.connect(path)
            threading.Thread(target=_pump, args=(near, far, 0.0), daemon=True).start()
            threading.Thread(target=_pump, args=(far, near, delay_s), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, delay_s: float) -> None:
    """Pass on until either side ends, then end the other."""
    with source, contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            time.sleep(delay_s)
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
