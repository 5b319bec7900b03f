"""Sentinel: connections to the server that the sentinels name as the master, whichever that is at the moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool, SentinelManagedConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from registry.store.address import Address
from registry.store.connections import (
    FINDING_TIMEOUT_S,
    LOOK_EVERY_S,
    OneMaster,
    Pools,
    StreamEntries,
    connection_options,
    never_again,
    pool_options,
    pool_sizes,
    says_replica,
)
from registry.store.dial import Dial
from registry.store.password_file import PasswordFile
from registry.store.tls import TlsConnection

#: What is said of a master that refuses to be written to.
BECAME_REPLICA: Final = "the master has become a replica"


class SentinelsSilent(MasterNotFoundError):
    """None of the sentinels tells who is master."""


class NoMaster(MasterNotFoundError):
    """The sentinels have no server to name."""


class NamedMaster(OneMaster):
    """Connections to the server that the sentinels name as the master."""

    def __init__(self, address: Address, pools: Pools) -> None:
        options = connection_options(address)
        dial = Dial({**options}, pools.timeout_s, self._master_address)
        options.pop("host", None)
        secure = options.pop("connection_class", None) is TlsConnection
        tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
        self._sentinel = _Sentinels(  # type: ignore[no-untyped-call]
            list(address.nodes),
            sentinel_kwargs={
                **_sentinel_login(address),
                **({"ssl": True, **tls} if secure else {}),
                "socket_timeout": min(pools.timeout_s, FINDING_TIMEOUT_S),
                "socket_connect_timeout": min(pools.timeout_s, FINDING_TIMEOUT_S),
                "retry": never_again(),
                "driver_info": None,
            },
        )
        if secure:
            for sentinel in self._sentinel.sentinels:
                sentinel.connection_pool.connection_class = TlsConnection
        siblings: list[_MasterPool] = []
        for most, timeout_s in pool_sizes(pools):
            limits = pool_options(most, timeout_s, pools.timeout_s)
            connection = _SecureMasterConnection if secure else _MasterConnection
            pool = _MasterPool(  # type: ignore[no-untyped-call]
                address.service, self._sentinel, connection_class=connection, **options, **limits
            )
            pool.siblings, pool.dial = siblings, dial
            siblings.append(pool)
        super().__init__(dial, siblings, pools.timeout_s)
        self._pool = siblings[0]
        self._look_at = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def run(self, digest: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        try:
            return await super().run(digest, keys, arguments)
        except ResponseError as error:
            if not says_replica(error):
                raise
            self._scripts.end(BECAME_REPLICA)
            raise RedisConnectionError(BECAME_REPLICA) from error

    async def read(self, streams: Mapping[str, str], count: int, block_ms: int, follow: bool) -> StreamEntries:
        now = asyncio.get_running_loop().time()
        if now >= self._look_at and (self._looking is None or self._looking.done()):
            self._look_at = now + LOOK_EVERY_S
            self._looking = asyncio.create_task(self._look())
        return await super().read(streams, count, block_ms, follow)

    async def _look(self) -> None:
        # Sentinels that are away keep nobody from a master that answers.
        with contextlib.suppress(RedisError, OSError):
            await self._master_address()

    async def _master_address(self) -> tuple[str, int]:
        return await self._pool.get_master_address()

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait((self._looking,))
        await super().close()
        with contextlib.suppress(RedisError, OSError):
            await self._sentinel.aclose()


class _Sentinels(Sentinel):
    """Says in a few words why there is no master: redis-py prints whole clients, and drops what went wrong."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        known: set[str] = set()
        failure: RedisError | None = None
        for place, sentinel in enumerate(self.sentinels):
            try:
                masters: Any = await sentinel.sentinel_masters()
            except RedisError as error:
                failure = error
                continue
            known |= set(masters)
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):
                # The one that knew is asked first next time.
                self.sentinels[0], self.sentinels[place] = sentinel, self.sentinels[0]
                return state["ip"], state["port"]
        if failure is not None and not known:
            raise SentinelsSilent(f"no sentinel tells who is master: {failure}") from failure
        if service_name in known:
            raise NoMaster(f"the sentinels say that the master {service_name} is down")
        raise NoMaster(f"the sentinels know no master {service_name}, only {', '.join(sorted(known)) or 'nobody'}")


class _MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the master. When it is another one than before, every pool and line lets go of the old one."""

    siblings: list[_MasterPool]
    dial: Dial

    async def get_master_address(self) -> tuple[str, int]:
        address: tuple[str, int] = await self.sentinel_manager.discover_master(self.service_name)
        left = [pool for pool in self.siblings if pool.master_address not in (None, address)]
        for pool in self.siblings:
            pool.master_address = address
        # Also what is under way: the old master may answer questions for ever, with what it was left with.
        if left:
            self.dial.let_go("another server is the master now")
        for pool in left:
            await pool.disconnect()
        return address


class _MasterConnection(SentinelManagedConnection):
    """A connection that wants a master, even if a sentinel that is behind names another server."""

    def __init__(self, **options: Any) -> None:
        super().__init__(redis_connect_func=self._greet, **options)  # type: ignore[no-untyped-call]

    @staticmethod
    async def _greet(connection: _MasterConnection) -> None:
        await connection.on_connect()
        await connection.send_command("ROLE", check_health=False)
        role = (await connection.read_response())[0]
        if role != b"master":
            raise RedisConnectionError(f"{connection.host}:{connection.port} is not the master but a {role.decode()}")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if says_replica(error):
                await self.disconnect()
                raise RedisConnectionError(BECAME_REPLICA) from error
            raise


class _SecureMasterConnection(_MasterConnection, TlsConnection):
    pass


def _sentinel_login(address: Address) -> dict[str, Any]:
    login = dict(address.sentinel_login)
    path = login.pop("password_file", "")
    return {"credential_provider": PasswordFile(path, login.get("username", ""))} if path else login
