"""ChaosStore: a Redis that keeps everything on disk, and a copy of it that can take its place."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from registry.running.redis_program import find_program
from tests.chaos.clocks import Clock
from tests.chaos.proxy import CUT, Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

OPTIONS: Final = (
    *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "16mb"),
    *("--repl-diskless-load", "swapdb", "--repl-timeout", "600", "--repl-ping-replica-period", "1"),
    *("--notify-keyspace-events", "Ex"),
)
IN_STEP_LIMIT_S: Final = 20.0


class ChaosServer(RedisServer):
    """One server; with a clock it sees the time that the clock says."""

    def __init__(self, directory: Path, clock: Clock | None) -> None:
        directory.mkdir(exist_ok=True)
        super().__init__(directory, appendonly=True, options=OPTIONS)
        if clock is not None:
            # Debian's server, with its jemalloc, does not start under libfaketime; the wheel's does.
            variables = [f"{name}={value}" for name, value in clock.environment.items()]
            self._command = ["env", *variables, find_program().path, *self._command[1:]]

    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=5.0)

    async def command(self, *words: str) -> object:
        async with self.client() as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]


class ChaosStore:
    """The server that the replicas are to use, `main`, and with `copied` another one that follows it.

    The copy follows through a proxy of its own, so that it can be kept behind.
    """

    def __init__(self, directory: Path, copied: bool, clock: Clock | None = None) -> None:
        self.main = ChaosServer(directory / "r0", clock)
        self.copy = ChaosServer(directory / "r1", clock) if copied else None
        self.link = Proxy(lambda: self.main.socket)

    async def start(self) -> None:
        await asyncio.to_thread(self.main.start)
        if self.copy is not None:
            await self.link.start()
            await self._follow(self.copy)

    async def _follow(self, server: ChaosServer) -> None:
        """Make this server, emptied, a copy of the main one."""
        self.link.heal()
        for path in (server.directory / "appendonlydir", *server.directory.glob("appendonly*")):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not server.is_running:
            await asyncio.to_thread(server.start)
        await server.command("REPLICAOF", "127.0.0.1", str(self.link.port))
        await until(lambda: self._in_step(server), "the copy to be in step", IN_STEP_LIMIT_S)

    async def _in_step(self, server: ChaosServer) -> bool:
        try:
            async with server.client() as copy, self.main.client() as main:
                followed = await copy.info("replication")
                if followed["role"] != "slave" or followed["master_link_status"] != "up":
                    return False
                return int(followed["slave_repl_offset"]) >= int((await main.info("replication"))["master_repl_offset"])
        except (RedisError, OSError):
            return False

    def keep_copy_behind(self) -> None:
        self.link.break_with(CUT)

    async def promote(self) -> ChaosServer:
        """Let the copy take over, whatever has become of the main server; the old one."""
        assert self.copy is not None, "there is no copy"
        old, self.main, self.copy = self.main, self.copy, None
        await self.main.command("REPLICAOF", "NO", "ONE")
        return old

    async def take_back(self, old: ChaosServer) -> None:
        """Let the server that was replaced follow the one that replaced it; what it alone held is lost."""
        await asyncio.to_thread(old.kill)
        await self._follow(old)
        self.copy = old

    async def flush(self) -> None:
        await self.main.command("FLUSHALL")

    async def close(self) -> None:
        for server in (self.main, self.copy):
            if server is not None:
                await asyncio.to_thread(server.kill)
        await self.link.close()
