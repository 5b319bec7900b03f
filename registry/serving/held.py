"""Held: bytes of one connection that came while an answer was owed, or are the begin of a hot request."""

from __future__ import annotations


class Held:
    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        #: Bytes; 0 where nothing is held.
        self.size = 0

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self.size += len(data)

    def take(self) -> bytes:
        """All that is held; then nothing is."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return data

    @property
    def is_heartbeat(self) -> bool:
        """Whether it begins with a request that may renew leases."""
        return b"/heartbeat" in self._parts[0].partition(b"\r\n")[0]
