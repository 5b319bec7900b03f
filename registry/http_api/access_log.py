"""AccessLog: a line for each request, or for those that fail or take long. Off, it costs nothing but a look at None.

Both ways through the server tell it the same. Its lines are never counted in the place of being said, as others are
that come many at once: who switches it on wants each of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from random import random
from typing import Final

from registry.domain.tenant import ACCOUNTS, Tenant

#: The logger of these lines alone; `logconfig` gives it a handler of its own.
NAME: Final = "registry.access"
logger = logging.getLogger(NAME)

#: What may be chosen, each with what those before it say.
MODES: Final = ("off", "errors", "slow", "all")
#: Characters of a request's target that are said.
TARGET_MAX: Final = 256


class AccessLog:
    """Says requests.

    Args:
        mode: one of `MODES`. errors: those that were answered 400 or more, or whose client had gone (499). slow: also
            those that took `slow_ms` or longer. all: every request.
        sample: of those that are neither errors nor slow, the share that is said.
        chance: a number from 0 to 1, each time.
    """

    def __init__(self, mode: str, slow_ms: int, sample: float = 1.0, chance: Callable[[], float] = random) -> None:
        self._says_slow = mode in ("slow", "all")
        #: Whether requests are said that end well and take no time at all.
        self.says_all = mode == "all" or (self._says_slow and slow_ms == 0)
        self._slow_s = slow_ms / 1000
        self._sample = sample
        self._chance = chance

    def wants(self, status: int, seconds: float) -> bool:
        """Whether a request that was answered so is to be said."""
        if status >= 400 or (self._says_slow and seconds >= self._slow_s):
            return True
        return self.says_all and self._chance() < self._sample

    def say(
        self,
        operation: str,
        tenant: Tenant | None,
        target: str,
        client: str,
        status: int,
        seconds: float,
        received: int = 0,
        sent: int = 0,
        request_id: str = "",
    ) -> None:
        """Say that one request was answered.

        Args:
            operation: its name, "" where there is none at the target.
            target: method and path as they came.
            received, sent: bytes of the bodies.
        """
        is_slow = self._says_slow and seconds >= self._slow_s
        milliseconds = round(seconds * 1000, 3)
        fields = {
            "action": "request",
            "request_id": request_id,
            "operation": operation,
            "tenant": str(tenant) if tenant is not None and tenant != ACCOUNTS else "",
            "client": client,
            "target": target[:TARGET_MAX],
            "status": status,
            "ms": milliseconds,
            "received": received,
            "sent": sent,
            "slow": is_slow,
        }
        said = {name: value for name, value in fields.items() if value != "" and value is not False}
        logger.info("%s answered %d in %g ms", target[:TARGET_MAX], status, milliseconds, extra=said)
