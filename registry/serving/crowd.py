"""Crowd: how many there are at a time, in all and of each client address, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

#: Which limit is exceeded: that on all together, or that on each address. "" is none.
Excess = Literal["", "all", "address"]


class Place(Struct, frozen=True, eq=False):
    """The place of one that has come. With an `excess` it is one too many, and not counted among the others."""

    #: Under which it is counted, "" when it is under none.
    address: str
    excess: Excess = ""


class Crowd:
    """Those that are there.

    Args:
        most: how many there may be.
        most_per_address: how many of one client address; 0: any number.
        uncounted: tells addresses that stand for many clients.
    """

    def __init__(
        self, most: int, most_per_address: int = 0, uncounted: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._uncounted = uncounted
        self._by_address: dict[str, int] = {}
        self.count = 0
        #: Those that are one too many, and have not left yet.
        self.extras = 0
        #: How many were one too many, by the limit that they exceeded.
        self.refused: dict[Excess, int] = {"all": 0, "address": 0}

    def enter(self, address: str) -> Place:
        """Take a place, to be left again also by one that is too many."""
        by_address = ""
        if self._most_per_address and address and not self._uncounted(address):
            by_address = address
        if by_address and self._by_address.get(by_address, 0) >= self._most_per_address:
            return self._enter_as_extra("address")
        if self.count >= self._most:
            return self._enter_as_extra("all")
        self.count += 1
        if by_address:
            self._by_address[by_address] = self._by_address.get(by_address, 0) + 1
        return Place(by_address)

    def _enter_as_extra(self, excess: Excess) -> Place:
        self.refused[excess] += 1
        self.extras += 1
        return Place("", excess)

    def leave(self, place: Place) -> None:
        if place.excess:
            self.extras -= 1
            return
        self.count -= 1
        if place.address:
            left = self._by_address[place.address] - 1
            if left:
                self._by_address[place.address] = left
            else:
                del self._by_address[place.address]
