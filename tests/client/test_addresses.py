"""The address book: what may be given, what is learned, and which address is asked next."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.client.addresses import (
    ADDRESSES_MAX,
    Address,
    AddressBook,
    Zone,
    address_book,
    parse_zone,
    registry_url,
    server_url,
)
from registry.domain.model import DataCenterInfo, Instance

HERE = Zone("r1", "az1")
A, B, C = "http://a:1", "http://b:1", "http://c:1"

addresses = st.builds(
    Address,
    st.sampled_from([f"http://h{n}:1" for n in range(9)]),
    st.sampled_from([Zone(), HERE, Zone("r1", "az2"), Zone("r2", "az1")]),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([0.0, 5.0, 9.0, 10.0, 15.0, 20.0]),
)
books = st.builds(
    AddressBook,
    st.lists(addresses, min_size=1, max_size=6, unique_by=lambda address: address.url).map(tuple),
    st.sampled_from(["", "http://h0:1", "http://h1:1"]),
)


@given(books)
def test_order_is_every_address_and_prefers_as_documented(book: AddressBook) -> None:
    """Pair by pair, against the sentence in the docstring."""
    now = 10.0
    order = book.order(now, HERE)
    assert sorted(order) == sorted(address.url for address in book.addresses)
    by_url = {address.url: address for address in book.addresses}
    for earlier, later in pairwise(order):
        first, second = by_url[earlier], by_url[later]
        if first.rested_at > now or second.rested_at > now:
            assert max(first.rested_at, now) <= max(second.rested_at, now)
        elif first.learned != second.learned:
            assert second.learned
        elif HERE.distance(first.zone) != HERE.distance(second.zone):
            assert HERE.distance(first.zone) < HERE.distance(second.zone)
        else:
            assert second.url != book.current


@given(books, st.integers(1, 12), st.floats(0, 0.999))
def test_an_address_that_fails_rests_and_is_well_again_when_it_answers(
    book: AddressBook, times: int, draw: float
) -> None:
    url, now = book.addresses[0].url, 100.0
    failing = book
    for _ in range(times):
        failing = failing.failed(url, now, draw)
        (tired,) = (a for a in failing.addresses if a.url == url)
        assert now < tired.rested_at <= now + 30.0
    assert failing.order(now)[0] != url or len(book.addresses) == 1
    well = failing.answered(url)
    assert well.current == url
    assert (well.addresses[0].failures, well.addresses[0].rested_at) == (0, 0.0)
    assert [a.url for a in well.addresses] == [a.url for a in book.addresses]


def test_fail_over_and_back_to_the_own_zone() -> None:
    book = AddressBook((Address(A, HERE), Address(B, Zone("r1", "az2")))).answered(A)
    away = book.failed(A, now=0.0, draw=0.5).answered(B)
    assert away.order(0.5, HERE) == [B, A]
    assert away.order(60.0, HERE) == [A, B]


def test_without_zones_it_stays_where_it_was_answered() -> None:
    """Going back and forth would cost connections, and waiting for positions."""
    book = address_book([A, B]).failed(A, now=0.0, draw=0.5).answered(B)
    assert book.order(60.0) == [B, A]


def replica(endpoint: str, az: str = "az1") -> Instance:
    return Instance(endpoints=[endpoint], data_center_info=DataCenterInfo("dc", "r1", az))


def test_replicas_are_learned_and_asked_last() -> None:
    """A single given address is often a balancer: what stands behind it is for when it is away."""
    book = address_book(A).learned([replica("rest://b:1/"), replica("rest://a:1/")], tls=False)
    assert book.order(0.0, HERE) == [A, B]
    assert book.addresses[0].zone == HERE
    assert book.failed(A, 0.0, 0.5).order(0.0) == [B, A]
    assert [a.url for a in book.learned([replica("rest://c:1/")], tls=False).addresses] == [A, C]


def test_what_is_known_of_a_learned_address_stays() -> None:
    book = address_book(A).learned([replica("rest://b:1")], tls=False).failed(B, 0.0, 0.5)
    assert book.learned([replica("rest://b:1")], tls=False).addresses[1].failures == 1


def test_learned_addresses_are_limited_and_need_tls_where_they_say_so() -> None:
    many = [replica(f"rest://h{n}:1/") for n in range(ADDRESSES_MAX + 5)]
    assert len(address_book(A).learned(many, tls=False).addresses) == ADDRESSES_MAX
    secured = [replica("rest://b:1/?sslEnabled=true")]
    assert len(address_book(A).learned(secured, tls=False).addresses) == 1
    assert address_book(A).learned(secured, tls=True).addresses[1].url == "https://b:1"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost", "http://localhost:30100"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://a", "http://a:80"),
        ("https://a/", "https://a:443"),
        ("http://[::1]:9", "http://[::1]:9"),
        ("[::1]:9", "http://[::1]:9"),
    ],
)
def test_address_may_be_short(text: str, url: str) -> None:
    assert server_url(text) == url


@pytest.mark.parametrize(
    "text", ["ftp://a", "http://", "http://a/v4", "a:b", "http://u:p@a", "http://a?x=1", "http://a:99999"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address of a registry"):
        server_url(text)


def test_addresses_as_text_and_limits() -> None:
    assert [a.url for a in address_book("a:1, b:1,,a:1").addresses] == [A, B]
    for none_or_many in ("", " , ", [f"h{n}" for n in range(ADDRESSES_MAX + 1)]):
        with pytest.raises(ValueError, match="addresses of a registry were given"):
            address_book(none_or_many)


@pytest.mark.parametrize("endpoint", ["highway://a:1", "rest://a", "", "rest://[", "rest://a:x"])
def test_endpoints_that_are_no_registry_are_passed_over(endpoint: str) -> None:
    assert registry_url(endpoint) == ""


def test_zones_as_text() -> None:
    assert (parse_zone("r1/az1"), parse_zone("r1"), parse_zone("")) == (HERE, Zone("r1"), Zone())
    assert [HERE.distance(zone) for zone in (HERE, Zone("r1", "x"), Zone("r1"), Zone("r2", "az1"), Zone())] == [
        0,
        1,
        1,
        2,
        2,
    ]
