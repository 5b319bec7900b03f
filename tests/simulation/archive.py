"""SimArchive: the archive of a run - a real folder, whose disk may be full, and whose writers may die at any step."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final
from unittest.mock import patch

from registry.archive.folder import UNFINISHED, Folder
from tests.simulation.faults import Faults
from tests.simulation.process import OWNER

#: In memory where the machine has that: a run writes some dozens of files, each of them synced.
SHARED_MEMORY: Final = Path("/dev/shm")
#: The share of runs that have an archive.
SHARE: Final = 0.5
#: The right to write, ms: a replica that stalls for longer loses it, and goes on with what it was about to do.
HOLD_MS: Final = 3000

#: Kills a process, by its name.
Kill = Callable[[str], None]


class SimArchive:
    """
    Args:
        kill: does so to the replica that is writing, and lets it be started again.
    """

    def __init__(self, seed: int, faults: Faults, kill: Kill) -> None:
        self._random = Random(f"archive {seed}")
        self._faults = faults
        self._kill = kill
        self.is_on = self._random.random() < SHARE
        #: The time of faults is over.
        self.is_quiet = False
        self._root = ""

    @contextmanager
    def folder(self) -> Iterator[None]:
        """While it lasts replicas that are wired with `settings` have the archive."""
        with (
            tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as self._root,
            patch.object(Folder, "put", self._breaking(Folder.put)),
            patch("registry.bootstrap.HOLD_MS", HOLD_MS),
            patch("registry.upkeep.snapshotting.HOLD_MS", HOLD_MS),
        ):
            yield

    def settings(self) -> dict[str, Any]:
        """What is set for the archive: it keeps everything, of logs that keep as little as they may."""
        if not self.is_on:
            return {}
        return {"archive_dir": self._root, "archive_s": 0, "history_s": 0, "snapshot_every": 4, "snapshots_kept": 1}

    def _breaking(self, right: Callable[[Folder, bytes, str], None]) -> Callable[[Folder, bytes, str], None]:
        def put(folder: Folder, data: bytes, writer: str) -> None:
            if self.is_quiet or self._random.random() >= self._faults.archive_breaks:
                right(folder, data, writer)
                return
            process = OWNER.get()
            assert process is not None, "a replica writes"
            step = self._random.choice(("full", "before", "behind")) if self._faults.crashes else "full"
            if step == "full":
                raise OSError(errno.ENOSPC, "no space left on device")
            if step == "before":
                folder.path.mkdir(parents=True, exist_ok=True)
                (folder.path / f"half.{writer}{UNFINISHED}").write_bytes(data[: len(data) // 2])
            else:
                right(folder, data, writer)
            self._kill(process.name)

        return put
