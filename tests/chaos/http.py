"""Connection: HTTP/1.1 keep-alive on asyncio streams, just enough to tell an answer from no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from tests.support.http import ConnectionLost, Response

HEAD_MAX_BYTES: Final = 1 << 20


class Connection:
    """One connection of one client, for one request at a time; opened when needed."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Response:
        """Send one request and read its answer. The connection is closed when that fails; nothing is sent twice.

        Raises:
            OSError, TimeoutError: no complete answer came.
        """
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")
        complete = False
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchange(request)
            complete = answer.header("Connection") != "close"
            return answer
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as exc:
            raise ConnectionLost("the server has ended the connection") from exc
        finally:
            if not complete:
                self.close()

    async def _exchange(self, request: bytes) -> Response:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port, limit=HEAD_MAX_BYTES)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        status = int(first.split(" ")[1])
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        answer = Response(status, headers, b"", head)
        length = 0 if status in (204, 304) else int(answer.header("Content-Length") or 0)
        return Response(status, headers, await reader.readexactly(length), head)
