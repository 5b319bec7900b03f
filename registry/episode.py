"""Episode: a fact that lasts is said when it begins, counted while it lasts, and said when it ends.

Who meets the fact calls `occurs`, each time; who sees that it is not there calls `ends`, each time too: that costs next
to nothing. However often it is met, the log has two lines of it. One that comes and goes all the time has them every
`QUIET_MS` at most.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from registry.clock import Clock

#: After a line about it, an episode that begins is not said before this time (ms) has passed.
QUIET_MS: Final = 10_000
#: What may be the first sign of a larger fact is said when it has lasted this long (ms) and that one has not begun.
PATIENCE_MS: Final = 3_000


class Actions(NamedTuple):
    """The `action` of the line that says that it has begun, and of the one that says that it is over."""

    begin: str
    end: str


class Episode:
    """One fact of one replica, which holds from time to time.

    Args:
        logger: where it is said.
        part_of: a larger fact that explains this one. While that lasts, this one is counted there and not said.
        level: of both lines.
        steady_ms: a clock that never jumps; the system's by default.
    """

    def __init__(
        self,
        logger: logging.Logger,
        actions: Actions,
        part_of: Episode | None = None,
        level: int = logging.WARNING,
        steady_ms: Callable[[], int] | None = None,
    ) -> None:
        self._logger = logger
        self._actions = actions
        self._part_of = part_of
        self._level = level
        self._steady_ms = steady_ms or Clock().steady_ms
        #: Of the present episode: its beginning, how often it was met, and whether it was said.
        self._since_ms: int | None = None
        self._times = 0
        self._is_said = False
        #: What was met last, in words.
        self.newest = ""
        #: When the last one ended, when the last line was said, and how many have passed unsaid since.
        self._over_ms: int | None = None
        self._said_ms: int | None = None
        self._unsaid = 0

    @property
    def since_ms(self) -> int | None:
        """Since when it holds by itself (steady clock)."""
        return self._since_ms

    @property
    def lasts(self) -> bool:
        """Whether it holds now, or what it is part of."""
        return self._since_ms is not None or (self._part_of is not None and self._part_of.lasts)

    def occurs(self, message: str, *values: object, since_ms: int | None = None, times: int = 1, **fields: Any) -> None:
        """It holds. The message is said if that is news.

        Args:
            since_ms: since when (steady clock), where that is known to be before now.
            times: as how many occurrences this counts.
            fields: of the line, beside its action.
        """
        self.newest = message % values
        if self._part_of is not None and self._part_of.lasts:
            self._part_of.count(times)
            return
        now = self._steady_ms()
        if self._since_ms is None or self._is_explained():
            self._since_ms = now if since_ms is None else since_ms
            self._times = 0
        self._times += times
        if not self._is_said and self._is_due(now, self._since_ms):
            self._is_said = True
            self._say(now, self._actions.begin, message, values, fields)

    def count(self, times: int) -> None:
        """Something else has failed because this holds, or what this is part of."""
        if self._part_of is not None and self._part_of.lasts:
            self._part_of.count(times)
        else:
            self._times += times

    def ends(self, message: str, *values: object, **fields: Any) -> None:
        """It does not hold. If it did, and that was news, the message is said, with its duration and its count."""
        if self._since_ms is None:
            return
        now, since_ms, explained = self._steady_ms(), self._since_ms, self._is_explained()
        self._since_ms, self._over_ms = None, now
        if not self._is_said and (explained or not self._is_due(now, since_ms)):
            self._unsaid += not explained
            return
        self._is_said = False
        message += " after %s s; counted %s"
        lasted_s = (now - since_ms) / 1000
        lasted = f"{lasted_s:.0f}" if lasted_s >= 10 else f"{lasted_s:.1f}"
        counted = "once" if self._times == 1 else f"{self._times} times"
        fields |= {"lasted_s": lasted_s, "times": self._times}
        self._say(now, self._actions.end, message, (*values, lasted, counted), fields)

    def _is_explained(self) -> bool:
        """Whether the present episode has turned out to be part of the larger fact."""
        return (
            self._part_of is not None
            and not self._is_said
            and self._since_ms is not None
            and self._part_of.held_since(self._since_ms)
        )

    def held_since(self, since_ms: int) -> bool:
        """Whether it holds, or did at some time since then (steady clock), or what it is part of."""
        over = self._over_ms is not None and self._over_ms >= since_ms
        return over or self.lasts or (self._part_of is not None and self._part_of.held_since(since_ms))

    def _is_due(self, now: int, since_ms: int) -> bool:
        if self._part_of is not None and now - since_ms < PATIENCE_MS:
            return False
        return self._said_ms is None or now - self._said_ms >= QUIET_MS

    def _say(self, now: int, action: str, message: str, values: tuple[object, ...], fields: dict[str, Any]) -> None:
        self._said_ms = now
        if self._unsaid:
            message += " (%d more since the last line about it, all short)"
            values = (*values, self._unsaid)
            self._unsaid = 0
        self._logger.log(self._level, message, *values, extra={"action": action, **fields})
