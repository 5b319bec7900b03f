"""A Redis on which no registry can start: why, and what helps, in one sentence. Each test looks at the whole output."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import redis

from tests.support.failed_start import Ended, FailedStart, run_all
from tests.support.far_redis import far_redis
from tests.support.redis_modes import MASTER_NAME, acl_redis, free_port, redis_cluster, sentinel_trio, tls_redis
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import until_sync

#: A user with all rights; what it lacks is appended.
USER = "redis-cli ACL SETUSER registry on '>secret' '~registry:*' '&*' +@all"
HURRY = ("--redis-timeout-s", "0.5")
TOO_OLD = "is too old: the registry needs 6.2 or newer"
NOT_ALLOWED = "does not allow its user what the registry needs (…); registry/docs/production.md has the ACL line"
NO_TLS = "and the registry do not agree on TLS: …; look at the parameters ssl_… of the URL"
NOT_TRUSTED = "is not trusted: …; ssl_ca_certs must name its authority, and its certificate the host in the URL"


def at(url: str, said: str, *options: str) -> FailedStart:
    return FailedStart(said, ("--redis-url", url, *options))


NETWORK = {
    "nobody": at(
        "redis://127.0.0.1:{nobody}",
        "Redis at 127.0.0.1:{nobody} cannot be reached: Connection refused; start it, or mend the URL",
    ),
    "nobody by IPv6": at(
        "redis://[::1]:{nobody}",
        "Redis at [::1]:{nobody} cannot be reached: Connection refused; start it, or mend the URL",
    ),
    "nobody, workers": at(
        "redis://127.0.0.1:{nobody}",
        "Redis at 127.0.0.1:{nobody} cannot be reached: Connection refused; start it, or mend the URL",
        *("--workers", "2"),
    ),
    "no socket": at(
        "unix://{folder}/no.sock",
        "Redis at {folder}/no.sock cannot be reached: No such file or directory; start it, or mend the URL",
    ),
    "unknown name": at(
        "redis://nobody.invalid", "Redis at nobody.invalid:6379 cannot be found: …; mend the host in the URL"
    ),
    "impossible name": at("redis://a..b", "Redis at a..b:6379 cannot be found: …; mend the host in the URL"),
    "silent": at(
        "redis://127.0.0.1:{silent}",
        "Redis at 127.0.0.1:{silent} does not answer in time; look at it, or raise REGISTRY_REDIS_TIMEOUT_S",
        *HURRY,
    ),
    "other server": at(
        "redis://127.0.0.1:{other}", "Redis at 127.0.0.1:{other} is something else than Redis; mend the URL"
    ),
}
LOGINS = {
    "no password": at("redis://{acl}", "Redis at {acl} wants a login; put USER:PASSWORD@ before the host in the URL"),
    "no password, RESP2": at(
        "redis://{acl}?protocol=2", "Redis at {acl} wants a login; put USER:PASSWORD@ before the host in the URL"
    ),
    "wrong password": at(
        "redis://registry:other@{acl}", "Redis at {acl} refuses the login; mend the user or the password in the URL"
    ),
    "wrong user": at(
        "redis://nobody:secret@{acl}", "Redis at {acl} refuses the login; mend the user or the password in the URL"
    ),
    "user without a command": at("redis://registry:secret@{acl_command}", f"Redis at {{acl_command}} {NOT_ALLOWED}"),
    "user without a command of scripts": at(
        "redis://registry:secret@{acl_script}", f"Redis at {{acl_script}} {NOT_ALLOWED}"
    ),
    "user without the keys": at(
        "redis://registry:secret@{acl}", f"Redis at {{acl}} {NOT_ALLOWED}", "--redis-prefix", "other:"
    ),
    "user without databases": at("redis://registry:secret@{acl_command}/3", f"Redis at {{acl_command}} {NOT_ALLOWED}"),
}
TLS = {
    "TLS to a server without": at(
        "rediss://{plain}",
        "Redis at {plain} does not answer in time; if it does not speak TLS, the URL must begin with redis",
        *HURRY,
    ),
    "no TLS to a server with": at(
        "redis://registry:secret@{tls}",
        "Redis at {tls} ends the connection; if it wants TLS, the URL must begin with rediss",
    ),
    "authority unknown": at("rediss://registry:secret@{tls}?{tls_client}", f"Redis at {{tls}} {NOT_TRUSTED}"),
    "certificate of another host": at(
        "rediss://registry:secret@localhost:{tls_port}?{tls_authority}&{tls_client}",
        f"Redis at localhost:{{tls_port}} {NOT_TRUSTED}",
    ),
    "no certificate of the client": at(
        "rediss://registry:secret@{tls}?{tls_authority}",
        f"Redis at {{tls}} {NO_TLS}",
    ),
    "no such ciphers": at(
        "rediss://registry:secret@{tls}?{tls_authority}&{tls_client}&ssl_ciphers=none",
        f"Redis at {{tls}} {NO_TLS}",
    ),
    "no file of the authority": at(
        "rediss://registry:secret@{tls}?ssl_ca_certs={folder}/none",
        "Redis at {tls} cannot be asked by TLS: what the URL names cannot be read: ssl_ca_certs {folder}/none",
    ),
}
SERVERS = {
    "wrong database": at("redis://{plain}/99", "Redis at {plain} has no database of that number; mend it in the URL"),
    "client name": at("redis://{plain}?client_name=a+b", "Redis at {plain} cannot be used: Client names cannot …"),
    "evicts": at(
        "unix://{evicting}",
        "Redis may evict the registry's data: its maxmemory-policy is allkeys-lru, it must be noeviction",
    ),
    "Redis 5": at("unix://{old}", f"Redis at {{old}} {TOO_OLD}"),
    "Redis 5, RESP2": at("{older}?protocol=2", f"Redis 5.… {TOO_OLD}"),
    "replica": at(
        "unix://{replica}",
        "Redis at {replica} is a replica; the URL must name its master, or the sentinels that know it",
    ),
    "no memory": at("unix://{full}", "Redis at {full} refuses writes, for its memory is full; raise its maxmemory"),
    "no replicas": at(
        "unix://{alone}",
        "Redis at {alone} refuses writes, for it has fewer replicas than its min-replicas-to-write; "
        "start them, or lower that",
    ),
    "cannot save": at(
        "unix://{unsaved}",
        "Redis at {unsaved} refuses writes, for it cannot save them; look at its disk and its log",
    ),
}
DEPLOYMENTS = {
    "no sentinel": at(
        "redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{nobody}/name",
        "the sentinels at 127.0.0.1:{nobody}, 127.0.0.1:{nobody} cannot be reached: …; start it, or mend the URL",
    ),
    "server for a sentinel": at(
        "redis+sentinel://{plain}/name",
        "the sentinels at {plain} are no sentinels; the URL of a server begins with redis:// or rediss://",
    ),
    "sentinels want a login": at(
        "redis+sentinel://registry:secret@{acl}/name",
        "the sentinels at {acl} refuse the login; mend sentinel_username and sentinel_password in the URL",
    ),
    "no server of the cluster": at(
        "redis+cluster://127.0.0.1:{nobody}",
        "the Redis Cluster at 127.0.0.1:{nobody} cannot be reached: …; start it, or mend the URL",
    ),
    "server for a cluster": at(
        "redis+cluster://{plain}",
        "the Redis Cluster at {plain} is no cluster; its URL must begin with redis:// or rediss://",
    ),
    "cluster for a server": at("unix://{slotless}", "Redis runs as cluster: its URL must begin with redis+cluster://"),
    "cluster without slots": at(
        "redis+cluster://127.0.0.1:{slotless_port}",
        "the Redis Cluster at 127.0.0.1:{slotless_port} is down (…); look at its CLUSTER INFO",
    ),
}
CASES = NETWORK | LOGINS | TLS | SERVERS | DEPLOYMENTS


class World:
    """All that the cases find. `known` is what their texts name."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.known: dict[str, object] = {"folder": folder}
        self._network()
        self._logins()
        self._tls()
        self._servers()

    def _network(self) -> None:
        silent = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        other = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
        self._stack.enter_context(other)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        self._stack.callback(other.shutdown)
        self.known |= {"silent": silent.getsockname()[1], "other": other.server_port, "nobody": free_port()}

    def _logins(self) -> None:
        for name, lacks in (("acl", ""), ("acl_command", " -info -select"), ("acl_script", " -xadd")):
            self.known[name] = self._stack.enter_context(acl_redis(USER + lacks))

    def _tls(self) -> None:
        place, files = self._stack.enter_context(tls_redis(USER))
        self.known |= {
            "tls": place,
            "tls_port": place.rpartition(":")[2],
            "tls_authority": f"ssl_ca_certs={files.ca}",
            "tls_client": f"ssl_certfile={files.client}&ssl_keyfile={files.client_key}",
        }

    def _servers(self) -> None:
        plain, slotless = free_port(), free_port()
        server = self._server("plain", "--port", str(plain))
        self.known["plain"] = f"127.0.0.1:{plain}"
        self._server("evicting", "--maxmemory-policy", "allkeys-lru")
        self._server("old", "--rename-command", "HELLO", "")
        with redis.Redis.from_url(server.url) as client:
            major = client.info("server")["redis_version"].partition(".")[0].encode()
        change = (b"redis_version:" + major, b"redis_version:5")
        self.known["older"] = self._stack.enter_context(far_redis(str(server.socket), change=change))
        self._server("replica", "--replicaof", "127.0.0.1", str(self.known["nobody"]))
        self._server("full", "--maxmemory", "1")
        self._server("alone", "--min-replicas-to-write", "1")
        _cannot_save(self._server("unsaved"))
        self._server("slotless", "--port", str(slotless), "--cluster-enabled", "yes")
        self.known["slotless_port"] = slotless

    def _server(self, name: str, *options: str) -> RedisServer:
        server = self._stack.enter_context(redis_server(options=options))
        self.known[name] = server.socket
        return server


def _cannot_save(server: RedisServer) -> None:
    """Have it notice that its snapshots cannot be written."""
    (server.directory / "dump.rdb").mkdir()
    with redis.Redis.from_url(server.url) as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        until_sync(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "the snapshot to fail")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """Every case, ended."""
    with ExitStack() as stack:
        yield run_all(CASES, World(stack, tmp_path_factory.mktemp("starts")).known)


@pytest.mark.parametrize("case", CASES)
def test_redis_that_cannot_be_used_is_told_in_one_sentence(starts: dict[str, Ended], case: str) -> None:
    """What to mend, and nothing else; no password either."""
    starts[case].check()
    assert "secret" not in starts[case].output


def test_sentinels_without_a_master_to_name_are_told_in_one_sentence() -> None:
    """That the name is wrong, or that nobody is alive."""
    with sentinel_trio() as trio:
        places = ", ".join(f"127.0.0.1:{sentinel.port}" for sentinel in trio.sentinels)
        wrong = at(
            trio.url.replace(MASTER_NAME, "other"),
            "the Redis that sentinels name as other cannot be found: "
            f"the sentinels know no master other, only {MASTER_NAME}; look at them, or mend the name in the URL",
        )
        wrong.run({}).check()
        for server in trio.servers:
            server.kill()
        until_sync(trio.is_down, "the sentinels to miss the servers")
        down = at(
            trio.url,
            f"the Redis that sentinels name as {MASTER_NAME} cannot be found: "
            f"the sentinels say that the master {MASTER_NAME} is down; look at them, or mend the name in the URL",
        )
        down.run({}).check()
        for sentinel in trio.sentinels:
            sentinel.kill()
        at(trio.url, f"the sentinels at {places} cannot be reached: …; start it, or mend the URL").run({}).check()


def test_cluster_that_lacks_a_server_is_told_in_one_sentence() -> None:
    """It is named, for it is one of several."""
    with redis_cluster(replicas=False) as cluster:
        dead = cluster.servers[2]
        dead.kill()
        place = cluster.url.removeprefix("redis+cluster://").replace(",", ", ")
        at(
            cluster.url,
            f"the Redis Cluster at {place} cannot be reached: Error 111 connecting to 127.0.0.1:{dead.port}. "
            "Connection refused; start it, or mend the URL",
        ).run({}).check()
