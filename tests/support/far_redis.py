"""Ways to Redis: one that takes its time, as another zone does, or changes what is said; and one that can be cut."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def far_redis(path: str, delay_s: float = 0.0, change: tuple[bytes, bytes] = (b"", b"")) -> Iterator[str]:
    """A URL at which the Redis on the Unix socket `path` is reached; everything that it says comes `delay_s` late.

    Args:
        change: in what it says the first is replaced by the second, which is of the same length.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, path, delay_s, change), daemon=True).start()
        try:
            yield f"redis://127.0.0.1:{server.getsockname()[1]}"
        finally:
            # Closing alone would leave the thread waiting in accept().
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, path: str, delay_s: float, change: tuple[bytes, bytes]) -> None:
    with contextlib.suppress(OSError):
        while True:
            near, _ = server.accept()
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = socket.socket(socket.AF_UNIX)
            far.connect(path)
            threading.Thread(target=_pump, args=(near, far, 0.0), daemon=True).start()
            threading.Thread(target=_pump, args=(far, near, delay_s, change), daemon=True).start()


def _pump(
    source: socket.socket, target: socket.socket, delay_s: float, change: tuple[bytes, bytes] = (b"", b"")
) -> None:
    """Pass on until either side ends, then end the other."""
    with source, contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            time.sleep(delay_s)
            target.sendall(data.replace(*change))
        target.shutdown(socket.SHUT_RDWR)


class Line:
    """A way to the Redis on a Unix socket that can be left hanging, cut, and led to another server."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passes = threading.Event()
        self._passes.set()
        self._is_cut = False
        self._ends: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.url = f"redis://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Connections stand, new ones too, and nothing comes through."""
        self._passes.clear()

    def cut(self) -> None:
        """Connections break, what they had on the way is lost, and new ones end at once."""
        self._is_cut = True
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._passes.set()

    def mend(self, path: Path | None = None) -> None:
        """Let everything through again; what hung on the way arrives late. New connections lead to `path`."""
        self._path = path or self._path
        self._is_cut = False
        self._passes.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                far = socket.socket(socket.AF_UNIX)
                try:
                    if self._is_cut:
                        raise ConnectionRefusedError
                    far.connect(str(self._path))
                except OSError:
                    near.close()
                    far.close()
                    continue
                self._ends |= {near, far}
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with source:
            with contextlib.suppress(OSError):
                while data := source.recv(1 << 16):
                    self._passes.wait()
                    target.sendall(data)
            self._passes.wait()
            with contextlib.suppress(OSError):  # also after an error: a server that was killed resets its connections
                target.shutdown(socket.SHUT_RDWR)
        self._ends.discard(source)
