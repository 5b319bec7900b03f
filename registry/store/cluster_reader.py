"""Cluster reader: follow streams in many slots, which no single XREAD may span.

Scripts that append name the stream on a channel that the whole cluster hears; who is woken so reads just that stream.
Such a message arrives at most once, so every stream is looked at now and then in any case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from registry.store.connections import StreamEntries

#: Every so many seconds a share of the streams is looked at unasked; after so many shares all of them have been.
SWEEP_EVERY_S: Final = 0.5
SWEEP_SHARES: Final = 4
