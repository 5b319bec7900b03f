"""Memory: how the C library hands it out, where its habit would let a replica grow."""

from __future__ import annotations

import ctypes
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
#: Bytes from which on a piece of memory is asked of the system, and given back to it as soon as it is free.
LARGE_BYTES: Final = 128 * 1024


def give_back_large_pieces() -> bool:
    """Let glibc treat large pieces for ever as it does at first. False: this C library is another one.

    With TLS each connection has a buffer of 256 KiB. Once one of them was given back, glibc would keep such pieces
    among the small ones, and between what stays for long they are never whole again: fuzzed, a replica had five times
    its memory after some ten thousand connections by TLS.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
    except AttributeError:
        return False
