"""Redis in every way in which it is deployed, for real: TLS, ACL users, a Sentinel trio, a Cluster. All on loopback."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from tests.support.redis_server import RedisServer, redis_program
from tests.support.waiting import until_sync

#: Outside the range from which the kernel takes the ports of clients; a cluster's bus is 10,000 above.
PORTS: Final = range(12_000, 22_000)
BUS: Final = 10_000
SLOTS: Final = 16_384
MASTER_NAME: Final = "registry-master"
START_LIMIT_S: Final = 30.0
#: What every server of these deployments runs with: on loopback, quick to copy to a replica.
COMMON: Final = ("--bind", "127.0.0.1", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


def free_port() -> int:
    """A port that nobody uses, and whose cluster bus is free too."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as bus:
            one.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + BUS))
            return port


class Member(RedisServer):
    """One server of several, reached over TCP by everybody but the tests."""

    def __init__(self, directory: Path, port: int, *options: str) -> None:
        directory.mkdir()
        super().__init__(directory, options=("--port", str(port), *COMMON, *options))
        self.port = port

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=5.0)

    def log_of(self, domain: str) -> bytes:
        """The events of a tenant as they stand here, one behind the other."""
        with self.client() as client:
            entries: Any = client.xrange(f"registry:{{{domain}/default}}:events")
        return b"".join(fields[b"e"] for _, fields in entries)

    def info(self, section: str) -> dict[str, Any]:
        with self.client() as client:
            return dict(client.info(section))


# -- TLS ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """Files of an authority of our own, a server's certificate for 127.0.0.1, and a client's."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(directory: Path, rsa: bool = False) -> Certificates:
    """An authority, and what it has signed; keys are of elliptic curves, or RSA. Each says what it is for, since Python
    looks strictly from 3.13 on.
    """

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    kind = ("rsa:2048",) if rsa else ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    new = ("req", "-x509", "-newkey", *kind, "-nodes", "-days", "2")
    openssl(*new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test authority", *_for("keyCertSign"))
    for name in ("server", "client"):
        names = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", *names, *_for("digitalSignature"))
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}", *signed)
    files = ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")
    return Certificates(*(directory / file for file in files))


def _for(use: str) -> tuple[str, str]:
    return "-addext", f"keyUsage=critical,{use}"


@contextlib.contextmanager
def tls_redis(pasted: str) -> Iterator[tuple[str, Certificates]]:
    """HOST:PORT of a server that speaks only TLS and asks clients for a certificate, and the certificates.

    Only the user that is made by what is `pasted` into a shell may do anything there.
    """
    with _directory() as directory:
        certificates = make_certificates(directory)
        port = free_port()
        files = ("--tls-cert-file", str(certificates.server), "--tls-key-file", str(certificates.server_key))
        options = ("--tls-port", str(port), *files, "--tls-ca-cert-file", str(certificates.ca))
        place = f"127.0.0.1:{port}"
        if _speaks_tls():
            server = RedisServer(directory, options=(*options, "--tls-auth-clients", "yes"))
            with _running([server]):
                _admit_only(server, pasted)
                yield place, certificates
        else:
            # The servers of wheels have no TLS. Hosted ones often have it in front of them, too.
            server = RedisServer(directory)
            with _running([server]), _tls_in_front(server.socket, port, certificates):
                _admit_only(server, pasted)
                yield place, certificates


def _speaks_tls() -> bool:
    """One that does misses a certificate first; every other one ends, too."""
    words = [redis_program().path, "--port", "0", "--tls-port", str(free_port())]
    return "No tls-cert-file" in subprocess.run(words, capture_output=True, text=True, timeout=START_LIMIT_S).stdout


@contextlib.contextmanager
def _tls_in_front(path: Path, port: int, certificates: Certificates) -> Iterator[None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", port)) as listening:
        threading.Thread(target=_accept, args=(listening, path, context), daemon=True).start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def _accept(listening: socket.socket, path: Path, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        while True:
            plain, _ = listening.accept()
            threading.Thread(target=_serve, args=(plain, path, context), daemon=True).start()


def _serve(plain: socket.socket, path: Path, context: ssl.SSLContext) -> None:
    far = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(OSError), far, context.wrap_socket(plain, server_side=True) as near:
        far.connect(str(path))
        threading.Thread(target=_pump, args=(far, near), daemon=True).start()
        _pump(near, far)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


# -- ACL ---------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def acl_redis(pasted: str, *options: str) -> Iterator[str]:
    """HOST:PORT of a server on which only the user may do anything that is made by what is `pasted` into a shell."""
    with _directory() as directory:
        server = Member(directory / "acl", free_port(), *options)
        with _running([server]):
            _admit_only(server, pasted)
            yield f"127.0.0.1:{server.port}"


#: What takes the place of redis-cli where it is missing: it says what it is told, and prints the answer.
_CLI: Final = "import sys, redis; print(redis.Redis.from_url(sys.argv[1]).execute_command(*sys.argv[2:]).decode())"


def paste(server: RedisServer, text: str) -> list[str]:
    """Run lines of a shell in which `redis-cli` reaches the server; what they print, line by line."""
    commands = server.directory / "bin"
    commands.mkdir(exist_ok=True)
    real = shutil.which("redis-cli")
    line = f"{real} -s {server.socket}" if real else f"{sys.executable} -c '{_CLI}' {server.url}"
    (commands / "redis-cli").write_text(f'#!/bin/sh\nexec {line} "$@"\n')
    (commands / "redis-cli").chmod(0o755)
    environment = os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-euc", text], cwd=server.directory, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()


def _admit_only(server: RedisServer, pasted: str) -> None:
    assert set(paste(server, pasted)) == {"OK"}
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "off")


# -- Sentinel ----------------------------------------------------------------------------------------------------------


class SentinelTrio:
    """A master, two replicas, and three sentinels of which two must agree."""

    def __init__(self, directory: Path, down_after_ms: int = 1000) -> None:
        ports = [free_port() for _ in range(6)]
        follow = ("--replicaof", "127.0.0.1", str(ports[0]))
        # A master that is cut off from its replicas must not go on acknowledging.
        careful = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")
        self.servers = [
            Member(directory / "master", ports[0], *careful),
            *(Member(directory / f"replica{n}", ports[n], *careful, *follow) for n in (1, 2)),
        ]
        self.sentinels = []
        for n in range(3):
            configuration = directory / f"sentinel{n}.conf"
            configuration.write_text(
                f"sentinel monitor {MASTER_NAME} 127.0.0.1 {ports[0]} 2\n"
                f"sentinel down-after-milliseconds {MASTER_NAME} {down_after_ms}\n"
                f"sentinel failover-timeout {MASTER_NAME} 4000\n"
                f"sentinel parallel-syncs {MASTER_NAME} 2\n"
            )
            self.sentinels.append(_Sentinel(directory / f"sentinel{n}", ports[3 + n], configuration))
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{places}/{MASTER_NAME}"

    def wait_ready(self) -> None:
        """Until everybody has found everybody: before that there is nobody to fail over to."""
        until_sync(lambda: self.servers[0].info("replication")["connected_slaves"] == 2, "the replicas", START_LIMIT_S)
        until_sync(lambda: all(map(self._has_found_all, self.sentinels)), "the sentinels", START_LIMIT_S)

    def _has_found_all(self, sentinel: Member) -> bool:
        told = self._asked(sentinel)
        return (told["num-slaves"], told["num-other-sentinels"]) == (2, 2)

    @staticmethod
    def _asked(sentinel: Member) -> dict[str, Any]:
        with sentinel.client() as client:
            return dict(client.sentinel_master(MASTER_NAME))

    def is_down(self) -> bool:
        """Whether every sentinel misses the master."""
        return all("s_down" in self._asked(sentinel)["flags"] for sentinel in self.sentinels)

    def switch_over(self) -> None:
        """Make another server the master, as an operator would, and wait until most sentinels know."""
        before = self.master()
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL FAILOVER", MASTER_NAME)
        until_sync(lambda: self.master() is not before, "another master", START_LIMIT_S)

    def master(self) -> Member:
        """The master as most sentinels see it."""
        ports = [int(self._asked(sentinel)["port"]) for sentinel in self.sentinels]
        port = max(ports, key=ports.count)
        return next(server for server in self.servers if server.port == port)

    @property
    def all(self) -> list[RedisServer]:
        return [*self.servers, *self.sentinels]


class _Sentinel(Member):
    def __init__(self, directory: Path, port: int, configuration: Path) -> None:
        super().__init__(directory, port)
        self._command = [
            *(redis_program().path, str(configuration), "--sentinel", "--port", str(port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket), "--dir", str(directory), "--logfile", str(self._log)),
        ]


@contextlib.contextmanager
def sentinel_trio(down_after_ms: int = 1000) -> Iterator[SentinelTrio]:
    with _directory() as directory:
        trio = SentinelTrio(directory, down_after_ms)
        with _running(trio.all):
            trio.wait_ready()
            yield trio


# -- Cluster -----------------------------------------------------------------------------------------------------------


class Cluster:
    """Three masters, each with a third of the slots and, unless `replicas` is off, a replica.

    They are born knowing each other: what `redis-cli --cluster create` leads to is written into their files.
    """

    def __init__(self, directory: Path, replicas: bool = True, node_timeout_ms: int = 1500) -> None:
        count = 6 if replicas else 3
        ports = [free_port() for _ in range(count)]
        options = (
            *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
            *("--cluster-node-timeout", str(node_timeout_ms), "--cluster-replica-validity-factor", "0"),
        )
        self.servers = [Member(directory / f"node{n}", port, *options) for n, port in enumerate(ports)]
        for member in range(count):
            lines = [_node_line(n, port, n == member) for n, port in enumerate(ports)]
            lines.append(f"vars currentEpoch {count} lastVoteEpoch 0\n")
            (self.servers[member].directory / "nodes.conf").write_text("".join(lines))
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:2])

    def wait_ready(self) -> None:
        """Until every server calls the cluster healthy and every replica has its copy."""
        until_sync(lambda: all(map(self._is_ready, self.servers)), "the cluster", START_LIMIT_S)

    @staticmethod
    def _is_ready(server: Member) -> bool:
        with server.client() as client:
            told = client.execute_command("CLUSTER INFO")
        link = server.info("replication").get("master_link_status", "up")
        return (told["cluster_state"], link) == ("ok", "up")

    def masters(self) -> list[Member]:
        """Those that hold slots now, by their own word."""
        return [
            server for server in self.servers if server.is_running and server.info("replication")["role"] == "master"
        ]

    def move(self, key: str) -> SlotMove:
        """The slot of `key`, to be moved to another master."""
        source = self.holder(key)
        target, *others = [server for server in self.masters() if server is not source]
        with source.client() as client:
            slot: Any = client.execute_command("CLUSTER KEYSLOT", key)
        return SlotMove(slot, source, target, others)

    def holder(self, key: str) -> Member:
        """The master that holds the key, as a living server says."""
        asked = next(server for server in self.servers if server.is_running)
        with asked.client() as client:
            slot = client.execute_command("CLUSTER KEYSLOT", key)
            slots = client.execute_command("CLUSTER SLOTS")
        for first, last, master, *_ in slots:
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == master[1])
        raise AssertionError(f"nobody holds slot {slot}")


class SlotMove:
    """A slot on its way from its master to another one, step by step as `redis-cli --cluster reshard` goes."""

    def __init__(self, slot: int, source: Member, target: Member, others: Sequence[Member]) -> None:
        self._slot = slot
        self._source = source
        self._target = target
        self._others = others

    def begin(self) -> None:
        self._say(self._target, "IMPORTING", self._source)
        self._say(self._source, "MIGRATING", self._target)

    def keys(self, choose: Callable[[str], bool]) -> None:
        """Move those that are still there and chosen."""
        with self._source.client() as client:
            there: Any = client.execute_command("CLUSTER GETKEYSINSLOT", self._slot, 1000)
            chosen = [key for key in there if choose(key)]
            client.execute_command("MIGRATE", "127.0.0.1", self._target.port, "", 0, 5000, "KEYS", *chosen)

    def end(self) -> None:
        for member in (self._target, self._source, *self._others):
            self._say(member, "NODE", self._target)

    def _say(self, to: Member, what: str, of: Member) -> None:
        with of.client() as client:
            node: Any = client.execute_command("CLUSTER MYID")
        with to.client() as client:
            client.execute_command("CLUSTER SETSLOT", self._slot, what, node)


def _node_line(n: int, port: int, myself: bool) -> str:
    flags = ("myself," if myself else "") + ("master" if n < 3 else "slave")
    first, last = n * SLOTS // 3, (n + 1) * SLOTS // 3 - 1
    of = "-" if n < 3 else _node_id(n - 3)
    slots = f" {first}-{last}" if n < 3 else ""
    return f"{_node_id(n)} 127.0.0.1:{port}@{port + BUS} {flags} {of} 0 0 {n % 3 + 1} connected{slots}\n"


def _node_id(n: int) -> str:
    return f"{n + 1:040x}"


@contextlib.contextmanager
def redis_cluster(replicas: bool = True, node_timeout_ms: int = 1500) -> Iterator[Cluster]:
    with _directory() as directory:
        cluster = Cluster(directory, replicas, node_timeout_ms)
        with _running(cluster.servers):
            cluster.wait_ready()
            yield cluster


# -- all of them -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rr-", dir="/tmp") as directory:
        yield Path(directory)


@contextlib.contextmanager
def _running(servers: Sequence[RedisServer]) -> Iterator[None]:
    """All of them started; all of them killed at the end, they have nothing to keep."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(RedisServer.kill, servers))
