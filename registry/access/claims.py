"""Claims: what a token says."""

from __future__ import annotations

from msgspec import Struct


class Claims(Struct, frozen=True):
    """Whose a token is. `machine`: `name` is that of a machine token, else of an account. `era`: see `Account`."""

    name: str
    era: str
    expires_s: int
    machine: bool = False
    #: For people and other programs; it decides nothing.
    roles: tuple[str, ...] = ()
