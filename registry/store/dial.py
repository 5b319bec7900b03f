"""Dial: how a line to a server is opened: which server, by which kind of socket, and what is said first."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakSet

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from registry.store.line import Line
from registry.store.tls import TlsConnection, tls_context


class Dial:
    """Opens lines to one server: always the same, or the one that is the master when a line is opened.

    Args:
        options: redis-py's, as `connection_options` gives them.
        limit_s: seconds until a server counts as not answering.
        master: tells the host and port of the master; None where the options name the server.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        limit_s: float,
        master: Callable[[], Awaitable[tuple[str, int]]] | None = None,
    ) -> None:
        self._options = options
        self._limit_s = limit_s
        self._master = master
        #: Those that are open, or being opened.
        self._lines: WeakSet[Line] = WeakSet()

    async def open(self, timeout_s: float | None) -> Line:
        """A line on which everything has been said that must be said first. `timeout_s` is that of its commands."""
        host, port = self._options.get("host", "localhost"), self._options.get("port", 6379)
        if self._master is not None:
            host, port = await self._master()
        line = Line(timeout_s)
        self._lines.add(line)
        try:
            async with asyncio.timeout(self._limit_s):
                await self._connect(line, host, port)
                await self._greet(line, f"{host}:{port}")
        except BaseException as error:
            line.end("it could not be opened")
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError(f"no connection within {self._limit_s:g} s") from error
            if isinstance(error, (OSError, ValueError)):  # ValueError: what the URL says of TLS makes no sense
                raise RedisConnectionError(f"no connection: {error}") from error
            raise
        return line

    def let_go(self, why: str, but: Line | None = None) -> None:
        """End all lines, also those that are being opened, but this one."""
        for line in list(self._lines):
            if line is not but:
                line.end(why)

    async def _connect(self, line: Line, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        if "path" in self._options:
            await loop.create_unix_connection(lambda: line, self._options["path"])
            return
        secure = self._options.get("connection_class") is TlsConnection
        tls = await asyncio.to_thread(tls_context, self._options) if secure else None
        transport, _ = await loop.create_connection(lambda: line, host, port, ssl=tls)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    async def _greet(self, line: Line, place: str) -> None:
        answers = [line.say(*command) for command in await self._greeting()]
        # All are waited for, so that none of several refusals is left unheard.
        for answer in await asyncio.gather(*answers, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
        if self._master is not None:
            role = (await answers[-1])[0].decode()
            if role != "master":
                raise RedisConnectionError(f"{place} is not the master but a {role}")

    async def _greeting(self) -> list[tuple[Any, ...]]:
        user, password = self._options.get("username"), self._options.get("password")
        commands: list[tuple[Any, ...]] = []
        if provider := self._options.get("credential_provider"):
            commands.append(("AUTH", *await provider.get_credentials_async()))
        elif user or password:
            commands.append(("AUTH", *((user,) if user else ()), password or ""))
        if name := self._options.get("client_name"):
            commands.append(("CLIENT", "SETNAME", name))
        if database := self._options.get("db"):
            commands.append(("SELECT", database))
        if self._master is not None:
            commands.append(("ROLE",))  # a sentinel that is behind names a master that is none
        return commands
