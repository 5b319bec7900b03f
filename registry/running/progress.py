"""Bar: how far work on a whole log has come, for people at a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from registry.domain.position import Position

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

T = TypeVar("T")

#: Seconds after which progress is shown, and between two looks at the clock (events).
SHOWN_AFTER_S: Final = 1.0
LOOK_EVERY: Final = 256


def steps(after: Position, end: Position) -> int:
    """The number of events between two places; 0 where histories began between them, so that nobody knows."""
    return max(end.sequence - after.sequence, 0) if after.epoch in (0, end.epoch) else 0


class Bar:
    """Progress on standard error, once it takes more than a second; nothing where that is no terminal."""

    def __init__(self, what: str, total: int) -> None:
        """`total`: steps there will be; 0: nobody knows."""
        self._what = what
        self.total = total
        self._began = time.monotonic()
        self._done = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def step(self) -> None:
        self._done += 1
        if self._done % LOOK_EVERY:
            return
        if self._progress is None and time.monotonic() - self._began > SHOWN_AFTER_S:
            self._show()
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=self._done)

    def over(self, some: Iterable[T]) -> Iterator[T]:
        """The same, with a step for each."""
        for each in some:
            yield each
            self.step()

    def _show(self) -> None:
        # Serving loads nothing of what only people at a terminal need.
        from rich.console import Console
        from rich.progress import Progress

        console = Console(file=sys.__stderr__)  # `sys.stderr` is the queue of the log
        self._progress = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(self._what, total=self.total or None)
        self._progress.start()
