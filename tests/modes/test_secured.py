"""TLS and ACL users: both sides prove who they are, and the registry needs no more rights than README.md says."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from registry.domain.errors import StoreUnavailable
from registry.domain.view import Tenant
from registry.store.redis_scripts import SCRIPTS
from registry.store.redis_store import RedisLimits, RedisStore
from tests.modes.serving import assert_serves, two_replicas
from tests.support.redis_modes import Certificates, acl_redis, tls_redis

#: The line of README.md, for the prefix `registry:`. Sentinel needs `role`, a Cluster the three after it.
ACL_LINE: Final = (
    "ACL SETUSER registry on >p%40ss ~registry:* resetchannels &registry:* &__keyevent@* "
    "+evalsha +script|load +info +subscribe +time "
    "+get +set +del +unlink +exists +persist +pexpire +pttl +xadd +xrange +xread +xtrim +sadd "
    "+hset +hdel +hexists +hgetall +hvals "
    "+role +cluster|slots +asking +publish +ping"
)
#: What the adapter says itself, besides what its scripts do.
SPOKEN: Final = "evalsha script|load info subscribe get xrange xread role cluster|slots asking publish ping"
#: Questions asked at once, each over a connection of its own.
ASKING: Final = RedisLimits().asking_max
#: The password of the line; it holds a `%`, so that a URL that is decoded twice is noticed.
LOGIN: Final = "registry:p%2540ss"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Certificates]]:
    with tls_redis(ACL_LINE) as server:
        yield server


def test_serves_over_tls_as_a_user_with_exactly_these_rights(server: tuple[str, Certificates]) -> None:
    """`rediss://` with redis-py's parameters and the line in README.md are all it takes; nobody should give `+@all`."""
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
    began = time.perf_counter()
    ssl.create_default_context()
    reading_s = time.perf_counter() - began
    store = RedisStore(
        f"rediss://{LOGIN}@{place}?ssl_ca_certs={own.ca}&ssl_certfile={own.client}&ssl_keyfile={own.client_key}"
    )
    try:
        await store.open()
        began = time.perf_counter()
        await asyncio.gather(*(store.head(Tenant("many", str(number))) for number in range(ASKING)))
        assert time.perf_counter() - began < ASKING * reading_s / 4
    finally:
        await store.close()


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
    with acl_redis(ACL_LINE) as place:
        for login in ("registry:s3cret", "nobody:s3cret", ":s3cret"):
            store = RedisStore(f"redis://{login}@{place}")
            with pytest.raises(StoreUnavailable) as refused:
                await store.open()
            assert "s3cret" not in refused.value.detail
            await store.close()


def test_the_line_allows_what_is_used_and_nothing_else() -> None:
    """A script that needs another command must not be noticed first by whoever has written the line into production."""
    called = set(SPOKEN.split())
    for name in SCRIPTS:
        text = files("registry.store").joinpath("scripts", f"{name}.lua").read_text()
        called |= {command.lower() for command in re.findall(r"redis\.p?call\('([A-Z]+)'", text)}
    assert {word[1:] for word in ACL_LINE.split() if word.startswith("+")} == called
