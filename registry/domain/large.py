"""Large: a dict that may have a million entries, and does not hold up everything else each time one is added."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Large(dict[K, V]):
    """A dict that stays where the garbage collector seldom looks.

    CPython stops tracking a plain dict that holds nothing but strings and tuples of them, and begins anew with the
    next tuple that is added: as one of its youngest objects, of which it looks through every entry. It does so with
    `dict` itself only, not with what is derived from it.
    """

    __slots__ = ()
