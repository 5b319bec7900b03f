"""Inbox: what the application of one websocket is told, in its order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from starlette.types import Message

#: Messages that wait for the application. Clients have nothing to say.
MESSAGES_MAX: Final = 16


class Inbox:
    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._arrived = asyncio.Event()
        #: The application has been told, or will be, that the client has gone.
        self.is_ended = False

    def tell(self, message: Message) -> None:
        self._messages.append(message)
        self._arrived.set()

    def tell_if_room(self, message: Message) -> None:
        """Tell what the client says. If the application does not look, it is lost: it has no meaning here."""
        if len(self._messages) < MESSAGES_MAX:
            self.tell(message)

    def end(self, code: int, reason: str = "") -> None:
        """Tell once that the client has gone."""
        if not self.is_ended:
            self.is_ended = True
            self.tell({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def receive(self) -> Message:
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        if len(self._messages) == 1 and self.is_ended:
            return self._messages[0]  # and again, each time it is asked for
        return self._messages.popleft()
