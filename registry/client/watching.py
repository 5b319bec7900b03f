"""Watching: a websocket on which the registry says that something has changed. The poll then sees what.

It is for speed alone: a consumer that may not watch, or whose watch is broken, sees every change by its polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from registry.client.api import Api
from registry.client.backoff import delay_s, spread_s
from registry.client.calls import steady
from registry.client.connecting import turn_at
from registry.client.errors import ClientError

logger = logging.getLogger(__name__)

#: Seconds. A registry that refuses the watch is asked again so seldom.
REFUSED_PAUSE_S: Final = 300.0
OPEN_LIMIT_S: Final = 10.0
#: Seconds. A watch that was lost is opened anew sometime in them: a registry that is restarted loses all of its watches
#: in one moment, and polls go on meanwhile.
AGAIN_WITHIN_S: Final = 15.0
#: Bytes of one event: an instance and its key.
EVENT_MAX: Final = 1 << 20
#: Seconds, and number: events that are looked after by one poll.
GATHER_S: Final = 0.02
GATHERED_MAX: Final = 1000
#: Seconds. The reference tells of a change before its finds show it (clients.md 0.9).
AGAIN_S: Final = 2.0
#: Seconds without a byte until the system asks whether the other side is still there. The client's own ping would not
#: do: the reference answers it with another payload, and then stops its own pings (api-rules.md 3.9).
IDLE_S: Final = 30


class Watcher:
    """Watches as one consumer.

    Args:
        consumer: its service id, "" while there is none.
        poll: looks for changes; whether there were any.
        forgotten: called when the registry seems not to know the consumer any more.
    """

    def __init__(
        self,
        api: Api,
        consumer: Callable[[], str],
        poll: Callable[[], Awaitable[bool]],
        forgotten: Callable[[], None],
    ) -> None:
        self._api = api
        self._consumer = consumer
        self._poll = poll
        self._forgotten = forgotten
        self._woken = asyncio.Event()
        self.is_watching = False

    def wake(self) -> None:
        """There is a consumer now."""
        self._woken.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        while True:
            while not self._consumer():
                await self._woken.wait()
                self._woken.clear()
            try:
                async with await self._open() as connection:
                    failures = 0
                    self.is_watching = True
                    await self._listen(connection)
                pause = spread_s(AGAIN_WITHIN_S, random.random())
            except InvalidStatus as exc:
                logger.info("the registry refuses the watch (%s), polls go on", exc)
                pause = REFUSED_PAUSE_S * (0.5 + random.random() / 2)
            except (OSError, TimeoutError, WebSocketException, ClientError) as exc:
                logger.debug("the watch is broken: %s", exc)
                failures += not self.is_watching
                pause = delay_s(failures, random.random()) if failures else spread_s(AGAIN_WITHIN_S, random.random())
            finally:
                self.is_watching = False
            await asyncio.sleep(pause)

    async def _open(self) -> ClientConnection:
        calls = self._api.calls
        address = calls.book.order(steady(), calls.zone)[0]
        token = await calls.token()
        parts = urlsplit(address)
        async with turn_at((parts.hostname or "", parts.port or 0), patience=OPEN_LIMIT_S):
            connection = await connect(
                address.replace("http", "ws", 1) + self._api.watcher(self._consumer()),
                ssl=calls.tls if address.startswith("https:") else None,
                additional_headers={**calls.headers, **({"Authorization": f"Bearer {token}"} if token else {})},
                user_agent_header=None,
                proxy=None,
                compression=None,
                ping_interval=None,
                open_timeout=OPEN_LIMIT_S,
                max_size=EVENT_MAX,
            )
        _ask_when_idle(connection)
        return connection

    async def _listen(self, connection: ClientConnection) -> None:
        # What changed before the handshake was told to nobody.
        await self._poll()
        async for message in connection:
            messages = [message]
            with contextlib.suppress(TimeoutError):
                # Events that come together are looked after by one poll.
                async with asyncio.timeout(GATHER_S):
                    while len(messages) < GATHERED_MAX:
                        messages.append(await connection.recv())
            if any(isinstance(message, str) and not message.startswith("{") for message in messages):
                # Registries say in plain words that they do not know the consumer (clients.md 1.0.3).
                self._forgotten()
                return
            if not await self._poll():
                await asyncio.sleep(AGAIN_S)
                await self._poll()


def _ask_when_idle(connection: ClientConnection) -> None:
    sock = connection.transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), IDLE_S)
