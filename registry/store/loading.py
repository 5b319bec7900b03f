"""Loading: Redis reads its data before it takes commands; it is waited for as long as it says that it does."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

logger = logging.getLogger(__name__)

#: Seconds between two questions whether it has loaded its data.
ASK_EVERY_S: Final = 0.1
#: Seconds until the log says that it loads, and until it says so again.
SAY_FIRST_S: Final = 1.0
SAY_EVERY_S: Final = 5.0
_MB: Final = 1_000_000
_LOADING: Final = {"action": "redis_loading"}


class Loading:
    """Whether a server still loads its data. What takes long is said in the log, with how far it is."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._say_at_s = self._began_s + SAY_FIRST_S
        self._said = False

    def goes_on(self, persistence: Mapping[str, Any]) -> bool:
        """Whether it does, by the section `persistence` of its INFO, which it answers also while it loads."""
        now_s = time.monotonic()
        loading = bool(int(persistence.get("loading", 0)))
        if not loading and self._said:
            logger.info("Redis has loaded its data after %.0f s", now_s - self._began_s, extra=_LOADING)
        if loading and now_s >= self._say_at_s:
            self._said = True
            self._say_at_s = now_s + SAY_EVERY_S
            logger.info("Redis is loading its data: %s", _progress(persistence), extra=_LOADING)
        return loading


def _progress(persistence: Mapping[str, Any]) -> str:
    done, all_of_it = (int(persistence.get(f"loading_{name}_bytes", 0)) for name in ("loaded", "total"))
    percent = float(persistence.get("loading_loaded_perc", 0))
    left_s = int(persistence.get("loading_eta_seconds", 0))
    return f"{done / _MB:.0f} of {all_of_it / _MB:.0f} MB ({percent:.0f} %), about {left_s} s to go"
