"""TLS and ACL users: both sides prove who they are, and the registry needs no more rights than production.md says."""

from __future__ import annotations

import asyncio
import gc
import re
import shlex
import ssl
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from registry.domain.errors import StoreUnavailable
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.store.keys import Keys
from registry.store.lease import Write
from registry.store.redis_durability import WAITAOF_SINCE
from registry.store.redis_limits import RedisLimits
from registry.store.redis_scripts import SCRIPTS
from registry.store.redis_store import RedisStore
from tests.modes.serving import assert_serves, two_replicas
from tests.support.pages import acl_block, acl_further_rights, acl_rights
from tests.support.redis_modes import Certificates, acl_redis, tls_redis
from tests.support.redis_server import redis_server
from tests.support.repair import repair
from tests.support.replica import replica
from tests.support.waiting import until_sync

#: The password of the user; it holds a `%`, so that a URL that is decoded twice is noticed.
PASSWORD: Final = "p%40ss"
LOGIN: Final = "registry:p%2540ss"
#: What production.md has an operator paste. Sentinel needs `role`, a Cluster the three after it.
PASTED: Final = acl_block().replace("PASSWORD", PASSWORD)
#: What the adapter says itself, besides what its scripts do.
SPOKEN: Final = "evalsha script|load info subscribe get mget xrange xread role cluster|slots asking publish ping"
KEYS: Final = Keys("registry:")
#: Questions asked at once, each over a connection of its own.
ASKING: Final = RedisLimits().asking_max


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Certificates]]:
    with tls_redis(PASTED) as server:
        yield server


def test_serves_over_tls_as_a_user_with_exactly_these_rights(server: tuple[str, Certificates]) -> None:
    """`rediss://` with parameters of redis-py and production.md's line are all it takes; nobody need give `+@all`."""
    place, own = server
    tls = f"ssl_ca_certs={own.ca}&ssl_certfile={own.client}&ssl_keyfile={own.client_key}"
    url = f"rediss://{LOGIN}@{place}?{tls}"
    with Redis.from_url(url) as client, pytest.raises(NoPermissionError):
        client.flushall()
    with two_replicas(url) as (one, other):
        assert_serves(one, other)
        # Nor may anything be refused that is tried now and then.
        assert "NOPERM" not in (one.output() + other.output()).upper()
        assert "p%" not in one.output() + other.output()


async def test_many_connections_at_once_hold_up_nobody(server: tuple[str, Certificates]) -> None:
    """After an outage dozens are opened together. To read the certificates for each would take most of the time, on the
    event loop."""
    place, own = server
    store = RedisStore(
        f"rediss://{LOGIN}@{place}?ssl_ca_certs={own.ca}&ssl_certfile={own.client}&ssl_keyfile={own.client_key}"
    )
    before = contexts()
    try:
        await store.open()
        await asyncio.gather(*(store.head(Tenant("many", str(number))) for number in range(ASKING)))
        # Each connection holds the context that it was opened with.
        assert contexts() - before == 1
    finally:
        await store.close()


def contexts() -> int:
    """The number of TLS contexts that something holds; to make one is to read the certificates."""
    gc.collect()
    return sum(isinstance(held, ssl.SSLContext) for held in gc.get_objects())


async def test_a_server_that_nobody_vouches_for_is_not_talked_to(server: tuple[str, Certificates]) -> None:
    """Without the authority's certificate anyone could be the server; without ours the server talks to nobody."""
    place, own = server
    ours = f"ssl_certfile={own.client}&ssl_keyfile={own.client_key}"
    for url in (
        f"rediss://{LOGIN}@{place}?{ours}",
        f"rediss://{LOGIN}@{place}?ssl_ca_certs={own.ca}",
        f"redis://{LOGIN}@{place}",
        f"rediss://{LOGIN}@{place}?ssl_ca_certs=/there/is/none&{ours}",
    ):
        store = RedisStore(url)
        with pytest.raises(StoreUnavailable):
            await store.open()
        await store.close()


async def test_a_wrong_password_is_told_without_it() -> None:
    """What is printed at a failed start ends in logs."""
    with acl_redis(PASTED) as place:
        for login in ("registry:s3cret", "nobody:s3cret", ":s3cret"):
            store = RedisStore(f"redis://{login}@{place}")
            with pytest.raises(StoreUnavailable) as refused:
                await store.open()
            assert "s3cret" not in refused.value.detail
            await store.close()


def test_the_line_allows_what_is_used_and_nothing_else() -> None:
    """A script that needs another command must not be noticed first by those who have used the line in production."""
    called = set(SPOKEN.split())
    for name in SCRIPTS:
        text = files("registry.store").joinpath("scripts", f"{name}.lua").read_text()
        called |= {command.lower() for command in re.findall(r"redis\.p?call\('([A-Z]+)'", text)}
    called = called - {"xinfo"} | {"xinfo|stream"}  # of this command one part is enough
    assert acl_rights(acl_block()) == called


def test_a_user_that_may_not_subscribe_is_told_so_once() -> None:
    """The sweep does without; the attempts go on, since the right may be given at any time."""
    with acl_redis(PASTED.replace("+subscribe", "")) as place:
        url = f"redis://{LOGIN}@{place}"
        with replica("--redis-url", url) as one, Redis.from_url(url) as client:
            until_sync(lambda: bool(one.said("notifications_lost")), "it to be said")
            before = rejected(client, "subscribe")
            until_sync(lambda: rejected(client, "subscribe") >= before + 3, "three more attempts")
            (said,) = one.said("notifications_lost")
            assert (
                "does not allow its user to subscribe; registry/docs/production.md has the ACL line" in said["message"]
            )


def rejected(client: Any, command: str) -> int:
    """How often it was not allowed."""
    return int(client.info("commandstats").get(f"cmdstat_{command}", {}).get("rejected_calls", 0))


def test_a_repair_needs_one_right_more() -> None:
    """It looks through all keys; without the right it says so. With it, everything can be mended."""
    for granted, code in (("", 2), ("+scan", 0)):
        with acl_redis(f"{PASTED}\nredis-cli ACL SETUSER registry {granted}") as place:
            url = f"redis://{LOGIN}@{place}"
            with replica("--redis-url", url) as one:
                one.api("harmed").service("cart")
            with Redis.from_url(url) as client:
                for key in (KEYS.head(Tenant("harmed", "default")), KEYS.tenants, KEYS.tenants_stream):
                    client.delete(key)
                    client.set(key, "not yours")
            done = repair(url, "--apply")
            assert done.returncode == code, done.stderr
            if code:
                assert "does not allow its user what the registry needs" in done.stderr
            else:
                assert done.stdout.endswith("Nothing is damaged any more.\n")


async def test_further_rights_are_what_another_database_and_durability_need() -> None:
    """With them it works, without them it is refused."""
    further = ["+select", "+wait", "+config|get", "+waitaof"]
    assert acl_further_rights() == [*further, "+scan", "+sentinel|masters"]
    for granted, works in (([], False), ([right for right in further if right != "+waitaof" or has_waitaof()], True)):
        pasted = f"{PASTED}\nredis-cli ACL SETUSER registry {shlex.join(granted)}"
        with acl_redis(pasted, "--appendonly", "yes") as place:
            store = RedisStore(f"redis://{LOGIN}@{place}/3")
            try:
                assert await opens_and_confirms(store) == works
            finally:
                await store.close()


def has_waitaof() -> bool:
    """The server of this run may be older than the command."""
    with redis_server() as server, Redis.from_url(server.url) as client:
        version = str(client.info("server")["redis_version"]).split(".")
    return tuple(int(part) for part in version[:2]) >= WAITAOF_SINCE


async def opens_and_confirms(store: RedisStore) -> bool:
    try:
        await store.open()
        (position,) = await store.commit(DEFAULT_TENANT, 0, [Write(b"event")])
        assert position is not None
        await store.confirm(DEFAULT_TENANT, "disk", 2000, position)
    except StoreUnavailable:
        return False
    return True
