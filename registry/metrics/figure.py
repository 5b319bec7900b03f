"""Figure: one number that a replica has to say of itself."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """One figure. `counter`: it only grows while the replica lives; else it is what it is now."""

    name: str
    help: str
    value: float
    counter: bool = False
