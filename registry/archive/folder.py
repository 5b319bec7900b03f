"""Folder: the files of one tenant's archive. Nothing of it waits for the event loop: it is called in threads.

A file is written under another name first, so that nobody sees half of it; what cannot be read is named in the log and
passed over.
"""

from __future__ import annotations

import contextlib
import logging
import operator
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

from registry.archive import segment
from registry.archive.contents import Contents, File
from registry.archive.names import Names
from registry.archive.segment import Head, Unreadable
from registry.domain.position import Position
from registry.domain.tenant import Tenant

logger = logging.getLogger(__name__)

SUFFIXES: Final = {"events": ".segment", "snapshot": ".snapshot"}
UNFINISHED: Final = ".new"
#: Characters of a folder's name, beyond which it is a digest.
NAME_MAX: Final = 200
#: Blocks that are kept as they were read, blocks of which the last event is, and segments of which what they name is.
BLOCKS_MAX: Final = 16
ENDS_MAX: Final = 4096
NAMES_MAX: Final = 128

T = TypeVar("T")
Events = list[tuple[Position, bytes]]


def folder_name(name: str) -> str:
    """What a domain, a project or a prefix is called as a folder: no name leads out of it, none is too long."""
    quoted = quote(name, safe="")
    return f"={quoted}" if len(quoted) <= NAME_MAX else f"#{blake2b(name.encode(), digest_size=20).hexdigest()}"


def file_name(head: Head) -> str:
    """In the order of names files stand in the order of the log."""
    places = [f"{place.epoch:015d}-{place.sequence:012d}" for place in (head.start, head.end)]
    return ("_".join(places) if head.kind == "events" else places[0]) + SUFFIXES[head.kind]


def _position(event: tuple[Position, bytes]) -> Position:
    return event[0]


class Folder:
    """
    Args:
        root: `REGISTRY_ARCHIVE_DIR`, which every replica sees.
        prefix: that of the keys in Redis: several registries may share an archive.
    """

    def __init__(self, root: Path, prefix: str, tenant: Tenant) -> None:
        self.path = root / folder_name(prefix) / folder_name(tenant.domain) / folder_name(tenant.project)
        self._tenant = tenant
        #: By name and what the system says of the file.
        self._files: dict[tuple[str, int, int], File | None] = {}
        #: As they were found last, so that what follows from that is found once.
        self._contents = Contents([])
        #: Files with a block that could not be read.
        self._spoilt: set[str] = set()
        #: Files that are passed over.
        self.damaged: set[str] = set()
        self._blocks: OrderedDict[tuple[str, int], Events] = OrderedDict()
        #: The last events of blocks: who remembers a block asks whether it still ends so.
        self._ends: OrderedDict[tuple[str, Position], bytes] = OrderedDict()
        self._names: OrderedDict[str, Names | None] = OrderedDict()

    # -- reading -------------------------------------------------------------------------------------------------------

    def scan(self) -> Contents:
        """What there is now. Raises OSError."""
        found: dict[tuple[str, int, int], File | None] = {}
        for name, size, changed in self._listed():
            key = name, size, changed
            if key not in self._files:
                self._forget(name)  # it is another file than the one that was read
            found[key] = self._files[key] if key in self._files else self._read_head(name, size)
        self._files = found
        self.damaged &= {name for name, _, _ in found}
        files = [file for file in found.values() if file is not None and file.name not in self._spoilt]
        if len(files) != len(self._contents.files) or not all(map(operator.is_, files, self._contents.files)):
            self._contents = Contents(files)
        return self._contents

    def _forget(self, name: str) -> None:
        self._spoilt.discard(name)
        self._names.pop(name, None)
        for key in list(self._blocks):
            if key[0] == name:
                self._blocks.pop(key, None)
        for end in list(self._ends):
            if end[0] == name:
                self._ends.pop(end, None)

    def look(self) -> Contents:
        """As `scan`; nothing, and a line in the log, where the folder cannot be read: what Redis holds still can."""
        try:
            return self.scan()
        except OSError as error:
            self._pass_over("", error)
            return Contents([])

    def _listed(self) -> Iterator[tuple[str, int, int]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.endswith(tuple(SUFFIXES.values())):
                    about = entry.stat()
                    yield entry.name, about.st_size, about.st_mtime_ns

    def _read_head(self, name: str, size: int) -> File | None:
        try:
            with (self.path / name).open("rb") as file:
                prefix = file.read(segment.PREFIX_BYTES)
                length = segment.head_bytes(prefix)
                head = segment.decode_head(prefix, file.read(length))
            if head.tenant != self._tenant:
                raise Unreadable(f"it is of {head.tenant}")
            if size != (whole := segment.offset_of(head, length, len(head.blocks))):
                raise Unreadable(f"it has {size} bytes, and should have {whole}")
        except FileNotFoundError:
            return None
        except Unreadable as why:
            self._pass_over(name, why)
            return None
        self.damaged.discard(name)
        return File(name, size, length, head)

    def events(self, file: File, position: Position) -> Events:
        """Events behind a position, those of one block. Raises Unreadable, OSError."""
        index = segment.block_behind(file.head, position)
        if index is None:
            return []
        key = file.name, index
        events = self._blocks.get(key)  # other threads may forget it at any time
        if events is None:
            events = self._blocks[key] = self._read(file, lambda: segment.decode_block(*self._stored(file, index)))
            while len(self._blocks) > BLOCKS_MAX:
                self._blocks.popitem(last=False)
        with contextlib.suppress(KeyError):
            self._blocks.move_to_end(key)
        last, payload = events[-1]
        self._ends[file.name, last] = payload
        while len(self._ends) > ENDS_MAX:
            self._ends.popitem(last=False)
        return events[bisect_right(events, position, key=_position) :]

    def event(self, file: File, position: Position) -> bytes | None:
        """The event at a position. Raises Unreadable, OSError."""
        end = self._ends.get((file.name, position))
        if end is not None:
            return end
        found = self.events(file, position.before())
        return found[0][1] if found and found[0][0] == position else None

    def names(self, file: File) -> Names | None:
        """What its events name; None where that cannot be read, or an earlier version wrote it. Raises OSError."""
        if file.name not in self._names:
            self._names[file.name] = self._read_names(file) if file.head.names else None
            while len(self._names) > NAMES_MAX:
                self._names.popitem(last=False)
        return self._names.get(file.name)

    def _read_names(self, file: File) -> Names | None:
        try:
            return Names(segment.check_block(*self._stored(file, len(file.head.blocks) - 1)))
        except (Unreadable, FileNotFoundError) as why:
            logger.warning(
                "%s of the archive is read whole, for what it names cannot be: %s",
                *(self.path / file.name, why),
                extra={"action": "archive_unreadable", "tenant": str(self._tenant)},
            )
            return None

    def chunk(self, file: File, index: int) -> bytes | None:
        """One chunk of a snapshot. Raises Unreadable, OSError."""
        if index >= len(file.head.blocks):
            return None
        return self._read(file, lambda: segment.check_block(*self._stored(file, index)))

    def _stored(self, file: File, index: int) -> tuple[segment.Block, bytes]:
        block = file.head.blocks[index]
        with (self.path / file.name).open("rb") as opened:
            opened.seek(segment.offset_of(file.head, file.head_length, index))
            return block, opened.read(block.size)

    def _read(self, file: File, read: Callable[[], T]) -> T:
        try:
            return read()
        except (Unreadable, FileNotFoundError) as why:
            self._spoilt.add(file.name)
            self._pass_over(file.name, why)
            raise Unreadable(str(why)) from why

    def _pass_over(self, name: str, why: Exception) -> None:
        if isinstance(why, Unreadable):
            self.damaged.add(name)
        logger.warning(
            "%s of the archive is passed over: %s",
            self.path / name,
            why,
            extra={"action": "archive_unreadable", "tenant": str(self._tenant)},
        )

    # -- writing -------------------------------------------------------------------------------------------------------

    def put(self, data: bytes, writer: str) -> None:
        """Put a file there, whole or not at all. Raises OSError.

        Args:
            data: of the file.
            writer: the replica, so that two never write to one unfinished file.
        """
        length = segment.head_bytes(data[: segment.PREFIX_BYTES])
        prefix, encoded = data[: segment.PREFIX_BYTES], data[segment.PREFIX_BYTES : segment.PREFIX_BYTES + length]
        name = file_name(segment.decode_head(prefix, encoded))
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / f"{name}.{writer}{UNFINISHED}"
        try:
            with unfinished.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path / name)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
        self._spoilt.discard(name)
        self.damaged.discard(name)
        self._sync()

    def remove(self, files: Iterable[File]) -> None:
        """Raises OSError."""
        for file in files:
            (self.path / file.name).unlink(missing_ok=True)

    def clean_up(self, older_than_s: float, now_s: float) -> None:
        """Remove what a replica that died has left unfinished. Raises OSError."""
        for path in self.path.glob(f"*{UNFINISHED}"):
            with contextlib.suppress(FileNotFoundError):
                if now_s - path.stat().st_mtime > older_than_s:
                    path.unlink()

    def _sync(self) -> None:
        """The name lasts too."""
        opened = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
