"""Back-off: how long to wait before the next attempt."""

from __future__ import annotations

from typing import Final

#: Seconds.
FIRST_S: Final = 1.0
CAP_S: Final = 30.0
#: Doubling further would change nothing, and end in numbers that no float holds.
_DOUBLINGS_MAX: Final = 32


def delay_s(failures: int, draw: float, first_s: float = FIRST_S, cap_s: float = CAP_S) -> float:
    """Seconds to wait after a number of failures in a row: doubled each time, and spread, so that clients come apart.

    Args:
        failures: at least 1.
        draw: a random number in [0, 1).

    Returns:
        Between half of the doubled delay and all of it, at most `cap_s`.
    """
    whole: float = min(cap_s, first_s * 2.0 ** min(failures - 1, _DOUBLINGS_MAX))
    return whole * (0.5 + draw / 2)
