"""SocketFolder: where the private Redis has its Unix socket. It is the user's alone, and goes with the registry.

A folder for temporary files is best: file systems of data need not know sockets, and their paths may be long. Where
there is none, as under a read-only root, the socket lies with the data.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from registry.running.lock import take_lock

logger = logging.getLogger(__name__)

PREFIX: Final = "registry-"
#: What `tempfile` appends to the prefix.
RANDOM: Final = "????????"
SOCKET: Final = "redis.sock"
#: The file by which a folder is known to be the registry's; it is locked for as long as anybody uses the folder.
IN_USE: Final = "in-use"
#: The folder that the data folder gets where there is none for temporary files.
BESIDE_DATA: Final = "registry.socket"
#: Bytes that the path of a Unix socket may have.
SOCKET_PATH_MAX: Final = 107 if sys.platform == "linux" else 103


class SocketFolder:
    """A folder for one socket.

    Args:
        folder: to be removed at the end.
        reached: the same folder by a path that is short enough.
        descriptors: what holds it: its lock, or the folder itself. Redis inherits them, and then holds it as well.
    """

    def __init__(self, folder: Path, reached: Path, *descriptors: int) -> None:
        self._folder = folder
        self.descriptors = descriptors
        self.socket = reached / SOCKET

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        for descriptor in self.descriptors:
            os.close(descriptor)


def make_socket_folder(data_dir: Path) -> SocketFolder:
    """A new folder, after those that killed registries of the same user left behind were removed.

    Args:
        data_dir: an absolute path; the caller has it for itself.

    Raises:
        OSError: neither there nor among the temporary files can one be made.
    """
    shutil.rmtree(data_dir / BESIDE_DATA, ignore_errors=True)
    with contextlib.suppress(OSError):
        root = Path(tempfile.gettempdir())
        remove_abandoned(root)
        if _is_short(root / (PREFIX + RANDOM)):
            return _temporary(root)
    return _beside_data(data_dir / BESIDE_DATA)


def remove_abandoned(root: Path) -> None:
    """Remove the folders of this user whose registry and Redis have ended."""
    for folder in _ours(root):
        lock = None
        with contextlib.suppress(OSError):
            lock = take_lock(folder / IN_USE)
            if lock is not None:
                shutil.rmtree(folder)
                logger.info("removed %s, which a killed registry left", folder, extra={"action": "leftover_removed"})
        if lock is not None:
            os.close(lock)


def _ours(root: Path) -> Iterator[Path]:
    """Folders of this user with what such a folder has and nothing else: other programs may choose the same name."""
    for folder in root.glob(PREFIX + RANDOM):
        with contextlib.suppress(OSError):
            held = set(os.listdir(folder))
            if folder.lstat().st_uid == os.geteuid() and IN_USE in held and held <= {IN_USE, SOCKET}:
                yield folder


def _temporary(root: Path) -> SocketFolder:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        try:
            lock = take_lock(folder / IN_USE)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if lock is not None:
            return SocketFolder(folder, folder, lock)
        # Another registry that starts now has found it before it was locked, and removes it.


def _beside_data(folder: Path) -> SocketFolder:
    folder.mkdir(mode=0o700)
    if _is_short(folder):
        return SocketFolder(folder, folder)
    if sys.platform != "linux":
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    # The kernel knows a short name for every folder that a process has open.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return SocketFolder(folder, Path(f"/proc/{os.getpid()}/fd/{descriptor}"), descriptor)


def _is_short(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET)) <= SOCKET_PATH_MAX
