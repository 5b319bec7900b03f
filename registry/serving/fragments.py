"""Fragments: the frames of a websocket's message, until all of it has come."""

from __future__ import annotations

from typing import Final

from starlette.types import Message
from websockets.frames import Frame, Opcode

#: Bytes of a client's message. Clients have nothing to say.
MESSAGE_MAX_BYTES: Final = 64


class TooLarge(Exception):
    """The message has more than `MESSAGE_MAX_BYTES`."""


class Fragments:
    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._are_text = False

    def add(self, frame: Frame) -> Message | None:
        """A text, binary or continuation frame has come; the message, when it is whole.

        Raises:
            TooLarge
            UnicodeDecodeError: it is text, and not UTF-8.
        """
        if frame.opcode is not Opcode.CONT:
            self._are_text = frame.opcode is Opcode.TEXT
            self._parts.clear()
        self._parts.append(bytes(frame.data))
        if sum(map(len, self._parts)) > MESSAGE_MAX_BYTES:
            raise TooLarge
        if not frame.fin:
            return None
        data = b"".join(self._parts)
        self._parts.clear()
        if self._are_text:
            return {"type": "websocket.receive", "text": data.decode()}
        return {"type": "websocket.receive", "bytes": data}
