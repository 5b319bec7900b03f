"""Lock: a file that one process has for itself, with those that it starts, for as long as one of them lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

#: Seconds between looks whether it is free.
LOOK_EVERY_S: Final = 0.05


def take_lock(path: Path, wait_s: float = 0.0) -> int | None:
    """Lock the file, which is made when it is not there.

    Returns:
        A descriptor, to be closed, or to be inherited by whom the file belongs to as well; None when another process
        has the lock after `wait_s`, or has removed the file meanwhile.

    Raises:
        OSError: it cannot be opened for writing, or not be locked at all.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY_S)
        except BaseException:
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None
