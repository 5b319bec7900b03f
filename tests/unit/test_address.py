"""REGISTRY_REDIS_URL: what it may say, and that no mistake in it prints the password."""

from __future__ import annotations

import pytest

from registry.environment import read_settings
from registry.settings import BadSetting
from registry.store.address import Address, BadAddress, Node, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address("server", "redis://")),
        ("redis://u:p@h:1/3?protocol=2", Address("server", "redis://u:p@h:1/3?protocol=2")),
        ("rediss://h?ssl_ca_certs=/ca.crt", Address("server", "rediss://h?ssl_ca_certs=/ca.crt")),
        ("unix:///run/redis.sock?db=7", Address("server", "unix:///run/redis.sock?db=7")),
        (
            "redis+sentinel://u:p%40@h,[::1]:2/name?db=2&sentinel_username=a&sentinel_password=b",
            Address(
                "sentinel",
                "redis://u:p%40@?db=2",
                (Node("h", 26379), Node("::1", 2)),
                "name",
                {"username": "a", "password": "b"},
            ),
        ),
        (
            "rediss+cluster://:p@h1,h2:7000?ssl_cert_reqs=none",
            Address("cluster", "rediss://:p@?ssl_cert_reqs=none", (Node("h1", 6379), Node("h2", 7000))),
        ),
    ],
)
def test_urls_of_every_deployment(url: str, address: Address) -> None:
    """A colon, a port or a login more or less is how such URLs go wrong."""
    assert parse_address(url) == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://:s3cret@h", "must begin with redis://"),
        (":s3cret", "must begin with redis://"),
        ("unix://", "must name a socket"),
        ("redis://:s3cret@h:port", "HOST:PORT"),
        ("redis://:s3cret@h:65536", "HOST:PORT"),
        ("redis://:s3cret@h:0", "HOST:PORT"),
        ("redis://:s3cret/x@h", "HOST:PORT"),
        ("redis://:s3cret@[h", "percent-encoded"),
        ("redis://:s3cret@a,b", "names several servers"),
        ("redis+sentinel://:s3cret@a,b", "name of the master"),
        ("redis+sentinel://:s3cret@a,,b/name", "HOST:PORT"),
        ("redis+cluster://:s3cret@", "HOST:PORT"),
        ("redis+cluster://:s3cret@a/1", "only one"),
        ("redis+cluster://:s3cret@a?db=1", "only one"),
        ("redis://:s3cret@h?db=one", "db"),
        ("redis://:s3cret@h?socket_timeout=1", "socket_timeout"),
        ("redis://:s3cret@h?sentinel_password=s3cret", "sentinel_password"),
        ("redis://:s3cret@h?ssl_ca_certs=/ca.crt", "needs TLS"),
        ("rediss://:s3cret@h?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("redis://:s3cret@h?=", "percent-encoded|parameter"),
        ("redis://:s3cret@h/one", "number of a database"),
        ("redis://:s3cret@h/1/2", "number of a database"),
        ("redis://:s3cret@h/12345678901", "number of a database"),
        ("redis://:s3cret@h/0#1", "percent-encoded"),
        ("unix://:s3cret@h/redis.sock", "must name a socket"),
        ("redis://:s3cret@h?db=12345678901", "db"),
        ("redis://:s3cret@h?protocol=4", "protocol that is not 2 or 3"),
        ("rediss://:s3cret@h?ssl_min_version=TLS", "ssl_min_version"),
        ("rediss://:s3cret@h?ssl_check_hostname=off", "ssl_check_hostname that is not true or false"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_the_start_in_one_sentence_without_its_password(
    url: str, reason: str
) -> None:
    """What is printed at a failed start ends in logs, and a stack trace would print the URL too."""
    with pytest.raises(BadAddress, match=reason):
        parse_address(url)
    with pytest.raises(BadSetting, match="REGISTRY_REDIS_URL") as told:
        read_settings({"REGISTRY_REDIS_URL": url})
    assert "s3cret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_an_address_does_not_show_its_password() -> None:
    assert "s3cret" not in repr(parse_address("redis+sentinel://:s3cret@h/name?sentinel_password=s3cret"))
