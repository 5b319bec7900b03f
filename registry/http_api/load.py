"""Load: how many requests are being answered at a time, and how many may be."""

from __future__ import annotations

from typing import Final

from registry.domain.errors import Overloaded

#: By default.
REQUESTS_MAX: Final = 20_000


class Load:
    """The requests under way of one replica. Those whose bodies are still awaited are not counted: another limit holds.

    Args:
        most: how many there may be. Those that are never refused count, too.
    """

    def __init__(self, most: int = REQUESTS_MAX) -> None:
        self._most = most
        self.count = 0
        self.refused = 0

    def begin(self, never_refused: bool) -> None:
        """One more, to be ended again.

        Raises:
            Overloaded: there are too many.
        """
        if self.count >= self._most and not never_refused:
            self.refused += 1
            raise Overloaded("too many requests are under way (REGISTRY_REQUESTS_MAX)")
        self.count += 1

    def end(self) -> None:
        self.count -= 1


class Share:
    """One request's share of the load: taken while it is answered, and not while its body is awaited."""

    __slots__ = ("_load", "_never_refused", "_taken")

    def __init__(self, load: Load, never_refused: bool) -> None:
        self._load = load
        self._never_refused = never_refused
        self._taken = False

    def take(self) -> None:
        """Raises Overloaded."""
        self._load.begin(self._never_refused)
        self._taken = True

    def give_back(self) -> None:
        if self._taken:
            self._taken = False
            self._load.end()
