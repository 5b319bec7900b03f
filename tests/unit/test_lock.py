"""A lock belongs to one process and those that it starts; who waits gets it when the last of them has ended."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

from registry.running.lock import take_lock
from tests.support.waiting import until_sync


def opened(path: Path) -> int:
    """How many descriptors of this process are of the file."""
    return sum(os.path.realpath(place) == str(path) for place in Path("/proc/self/fd").iterdir())


def test_lock_is_given_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = take_lock(path)
    assert held is not None
    assert take_lock(path) is None
    os.close(held)
    again = take_lock(path)
    assert again is not None
    os.close(again)


def test_lock_is_held_for_as_long_as_a_process_lives_that_inherited_it(tmp_path: Path) -> None:
    """The registry is killed, its redis-server goes on for a moment: nobody may come in between."""
    path = tmp_path / "lock"
    held = take_lock(path)
    assert held is not None
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=(held,)) as child:
        os.close(held)
        assert take_lock(path) is None
        assert child.stdin is not None
        threading.Thread(target=child.stdin.close).start()
        again = take_lock(path, wait_s=10)
    assert again is not None
    os.close(again)


def test_lock_on_a_file_that_was_removed_meanwhile_is_none(tmp_path: Path) -> None:
    """The next one makes the file anew, and both would believe to have it."""
    path = tmp_path / "lock"
    held = take_lock(path)
    assert held is not None
    taken: list[int | None] = []
    waiting = threading.Thread(target=lambda: taken.append(take_lock(path, wait_s=10)))
    waiting.start()
    until_sync(lambda: opened(path) == 2, "the other one to wait")
    path.unlink()
    os.close(held)
    waiting.join()
    assert taken == [None]
