"""Certificates for Redis: files that change are read for the next connection, without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from registry.store.dial import Dial
from registry.store.tls import TlsConnection, tls_context
from tests.support.redis_modes import Certificates, make_certificates

LIMIT_S = 5.0


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[Certificates]:
    """Two of them, which do not know each other, with what each has signed."""
    return [make_certificates(tmp_path_factory.mktemp(name)) for name in ("old", "new")]


class Mounted:
    """The files that the registry is told of, as a secret that is mounted: another pair takes the place of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, certificates: Certificates, *names: str) -> None:
        for name in names or ("ca", "client", "client_key"):
            shutil.copy(getattr(certificates, name), self._folder / "next")
            os.replace(self._folder / "next", self._folder / name)

    @property
    def options(self) -> dict[str, Any]:
        files = {"ssl_ca_certs": "ca", "ssl_certfile": "client", "ssl_keyfile": "client_key"}
        return {option: str(self._folder / name) for option, name in files.items()} | {"ssl_check_hostname": True}

    def pipe(self, name: str) -> Path:
        """A pipe in the place of a file."""
        place = self._folder / name
        place.unlink()
        os.mkfifo(place)
        return place

    def of(self, port: int) -> dict[str, Any]:
        """What a connection to a server is told."""
        return {"host": "127.0.0.1", "port": port, "connection_class": TlsConnection, **self.options}


@pytest.fixture
def mounted(tmp_path: Path, authorities: list[Certificates]) -> Mounted:
    mounted = Mounted(tmp_path)
    mounted.put(authorities[0])
    return mounted


@contextlib.asynccontextmanager
async def redis_of(authority: Certificates, shown: list[bytes]) -> AsyncIterator[int]:
    """The port of a server that only clients of the authority may ask, and which notes what they show."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"GET\r\n$1\r\na\r\n")
            writer.write(b"+yes\r\n")
        await reader.read()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca))
    context.load_cert_chain(authority.server, authority.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def asked(options: dict[str, Any]) -> object:
    """What is answered over a new line."""
    dial = Dial(options, LIMIT_S)
    line = await dial.open(LIMIT_S)
    try:
        return await line.say("GET", "a")
    finally:
        dial.let_go("the test is over")


async def test_new_certificates_are_shown_and_believed_without_a_restart(
    mounted: Mounted, authorities: list[Certificates]
) -> None:
    """A certificate lasts some weeks, a registry longer."""
    shown: list[bytes] = []
    old, new = authorities
    async with redis_of(old, shown) as port:
        assert await asked(mounted.of(port)) == b"yes"
    async with redis_of(new, shown) as port:
        with pytest.raises(RedisConnectionError):
            await asked(mounted.of(port))
        mounted.put(new)
        assert await asked(mounted.of(port)) == b"yes"
    assert [shown[0], shown[-1]] == [ssl.PEM_cert_to_DER_cert(one.client.read_text()) for one in authorities]


def test_certificates_are_read_once_for_all_connections(mounted: Mounted) -> None:
    """After an outage there are dozens at once, and to read the system's takes a tenth of a second."""
    first = tls_context(mounted.options)
    assert tls_context(mounted.options) is first
    assert tls_context({**mounted.options, "host": "elsewhere"}) is first


def test_half_of_a_new_pair_is_not_used(
    mounted: Mounted, authorities: list[Certificates], caplog: pytest.LogCaptureFixture
) -> None:
    """The other half comes in a moment; meanwhile connections are made as before, and it is said once."""
    first = tls_context(mounted.options)
    mounted.put(authorities[1], "client")
    for _ in range(3):
        assert tls_context(mounted.options) is first
    assert [getattr(record, "action", "") for record in caplog.records] == ["store_certificates_unusable"]
    mounted.put(authorities[1], "client_key", "ca")
    assert tls_context(mounted.options) is not first
    assert len(caplog.records) == 1


def test_files_that_are_not_there_yet_are_used_when_they_come(tmp_path: Path, authorities: list[Certificates]) -> None:
    mounted = Mounted(tmp_path)
    with pytest.raises(OSError, match="No such file"):
        tls_context(mounted.options)
    mounted.put(authorities[0])
    assert tls_context(mounted.options) is tls_context(mounted.options)


async def by_redis_py(options: dict[str, Any]) -> object:
    """As one of a pool's connections, which greets nobody."""

    async def silent(connection: object) -> None: ...

    named = {name: value for name, value in options.items() if name != "connection_class"}
    connection = TlsConnection(**named, redis_connect_func=silent)
    await connection.connect_check_health()
    try:
        return b"yes" if connection.is_connected else b"no"
    finally:
        await connection.disconnect()


@pytest.mark.parametrize("ask", [asked, by_redis_py])
async def test_files_that_are_slow_hold_up_nobody(
    mounted: Mounted, authorities: list[Certificates], ask: Callable[[dict[str, Any]], Coroutine[Any, Any, object]]
) -> None:
    """Certificates may lie on a disk of the network. Here one is a pipe, of which the reader waits for a writer."""
    place = mounted.pipe("ca")
    rescue = threading.Timer(LIMIT_S, place.write_bytes, (b"",))  # else a failure would hang
    rescue.start()
    async with redis_of(authorities[0], []) as port:
        asking = asyncio.create_task(ask(mounted.of(port)))
        async with asyncio.timeout(LIMIT_S):
            writer = await opened_by_a_reader(place)
        os.write(writer, authorities[0].ca.read_bytes())
        os.close(writer)
        assert await asking == b"yes"
    rescue.cancel()


async def opened_by_a_reader(pipe: Path) -> int:
    """The end of the pipe that is written to, once somebody reads from the other."""
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO  # noqa: PT017
        await asyncio.sleep(0.01)
