"""Gate: stands between a client and a real registry, counts what passes, and answers in its place if told so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Self

import httpcore


class Request(NamedTuple):
    """A request as it came: its names of headers in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


#: None: the registry answers; "hang": nobody does.
Answer = Reply | str | None
HTML = Reply(200, b"<html><body>Please log in</body></html>", (("Content-Type", "text/html"),))
BROKEN = Reply(500, b'{"errorCode":"500003","errorMessage":"Internal server error","detail":"broken"}')


class Gate:
    """`answer` decides about each request, `shows` which headers of the registry's answers pass, in small letters."""

    def __init__(self, upstream: int) -> None:
        self._upstream = f"http://127.0.0.1:{upstream}"
        self.answer: Callable[[Request], Answer] = lambda request: None
        self.shows: Callable[[str], bool] = lambda name: name.startswith("x-")
        self.requests: list[Request] = []
        self.replies: list[Reply] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._pool = httpcore.AsyncConnectionPool()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._pool.aclose()

    def seen(self, method: str, ends: str) -> list[Request]:
        """The requests of this method whose path ends so."""
        return [one for one in self.requests if one.method == method and one.path.endswith(ends)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while request := await _read(reader):
                self.requests.append(request)
                answer = self.answer(request)
                if isinstance(answer, str):
                    await asyncio.Event().wait()
                reply = answer if isinstance(answer, Reply) else await self._pass_on(request)
                self.replies.append(reply)
                head = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
                writer.write(
                    f"HTTP/1.1 {reply.status} X\r\n{head}Content-Length: {len(reply.body)}\r\n\r\n".encode()
                    + reply.body
                )
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(self, request: Request) -> Reply:
        left_out = {"host", "upgrade", "connection"}
        headers = [(name, value) for name, value in request.headers.items() if name not in left_out]
        try:
            response = await self._pool.request(
                request.method, self._upstream + request.target, headers=headers, content=request.body
            )
        except (httpcore.NetworkError, httpcore.ProtocolError):
            return Reply(502, b"<html>bad gateway</html>")
        kept = [
            (name.decode(), value.decode()) for name, value in response.headers if self.shows(name.decode().lower())
        ]
        return Reply(response.status, response.content, tuple(kept))


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, target, headers, await reader.readexactly(int(headers.get("content-length", 0))))
