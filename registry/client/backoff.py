"""Back-off: how long to wait before the next attempt, so that many clients do not come together."""

from __future__ import annotations

from typing import Final

#: Seconds.
FIRST_S: Final = 1.0
CAP_S: Final = 30.0
#: Doubling further would change nothing, and end in numbers that no float holds.
_DOUBLINGS_MAX: Final = 32
#: Of a spread wait: no client asks again at once.
LEAST_SHARE: Final = 0.125


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


def spread_s(most_s: float, draw: float) -> float:
    """Seconds to wait where there is time: from a little of `most_s` up to all of it, so that clients come apart.

    Args:
        draw: a random number in [0, 1).
    """
    return most_s * (LEAST_SHARE + draw * (1 - LEAST_SHARE))


def beat_again_s(failures: int, left_s: float, interval_s: float, draw: float) -> float:
    """Seconds to wait after a number of heartbeats in a row that were not answered.

    As long as the lease lives they are spread over up to half of what is left of it: there is time for another attempt
    afterwards, and a lease that ends sooner is looked after sooner. Then it is waited longer each time.

    Args:
        failures: at least 1.
        left_s: until the lease ends; below 0 when it has ended.
        interval_s: the longest to wait.
        draw: a random number in [0, 1).
    """
    most = min(interval_s, left_s / 2)
    return spread_s(most, draw) if most > FIRST_S else delay_s(failures, draw, cap_s=interval_s)
