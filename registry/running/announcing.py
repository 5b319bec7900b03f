"""Announcing: what a replica says when it begins to serve, and when it has ended."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

from registry import __version__
from registry.bootstrap import Replica
from registry.domain.errors import StoreUnavailable
from registry.domain.tenant import ACCOUNTS
from registry.store.port import About

logger = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """What a start has read, and how long that took."""

    tenants: int
    services: int
    instances: int
    seconds: float


def loaded(replica: Replica, began_s: float) -> Loaded:
    """`began_s`: when reading began (`time.monotonic`)."""
    tenants = [tenant for tenant in replica.projector.tenants if tenant != ACCOUNTS]
    views = [replica.projector.view(tenant) for tenant in tenants]
    services, instances = sum(len(view.services) for view in views), sum(view.instance_count for view in views)
    return Loaded(len(views), services, instances, round(time.monotonic() - began_s, 3))


async def about_store(replica: Replica) -> About | None:
    """None: it does not say."""
    try:
        return await replica.store.about()
    except StoreUnavailable:
        return None


def say_started(replica: Replica, read: Loaded, about: About | None, data_dir: str, console: str) -> None:
    """Say that it serves, what, from where, and where to look next.

    Args:
        data_dir: where a private Redis keeps the data; "" where it is not private.
        console: its URL, "" where there is none.
    """
    store = f"{about.program} {about.version} ({about.mode})" if about is not None else "a store that does not say"
    where = f", which keeps its data in {data_dir}" if data_dir else ""
    look = f"; the console is at {console}" if console else ""
    logger.info(
        "serving %d instances of %d services of %d tenants, read in %g s from %s%s%s",
        *(read.instances, read.services, read.tenants, read.seconds, store, where, look),
        extra={"action": "started", "version": __version__, "store": store, **read._asdict()},
    )


def say_stopped(replica: Replica, began_s: float) -> None:
    """The last line but for failures of the end itself."""
    lasted_s, answered = time.monotonic() - began_s, replica.api.observer.answered_all
    logger.info(
        "stopped after %.0f s and %d requests",
        *(lasted_s, answered),
        extra={"action": "stopped", "lasted_s": round(lasted_s, 3), "requests": answered},
    )
