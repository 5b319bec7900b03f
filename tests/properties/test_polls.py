"""Polls say what was known and what is new, and never the one for the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain import find as domain_find
from registry.domain.batch_find import batch_find, encode_batch
from registry.domain.events import DependenciesAdded, Event, ServiceRegistered, ServiceUnregistered
from registry.domain.find import FindQuery, find, unrecorded
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.version import ALL_VERSIONS, parse_rule
from registry.domain.view import RegistryView
from registry.projection.projector import Projector
from registry.serving import elements
from registry.serving.polls import Poll, Polls
from registry.usecases.discovery import Discovery
from tests.support.builders import (
    append,
    instance,
    instance_registered,
    microservice,
    service_registered,
    stamp,
    view_of,
)
from tests.support.strategies import comings_and_goings, find_queries, logs

LARGEST = 1 << 20


class OneView:
    """What polls need of a projector: the view, which may be replaced."""

    def __init__(self, view: RegistryView) -> None:
        self._it = view
        self.changes = 0

    @property
    def it(self) -> RegistryView:
        return self._it

    @it.setter
    def it(self, view: RegistryView) -> None:
        self._it = view
        self.changes += 1

    def knows(self, tenant: Tenant) -> bool:
        return tenant == self.it.tenant

    def view(self, tenant: Tenant) -> RegistryView:
        return self.it

    def view_if_known(self, tenant: Tenant) -> RegistryView | None:
        return self.it if self.knows(tenant) else None

    def listen_for_leaves(self, listener: object) -> None:
        """No tenant leaves."""


class Registry:
    """Polls about one view, and what they must answer."""

    def __init__(self, *events: Event) -> None:
        self.held = OneView(view_of(*events))
        self.discovery = Discovery(cast(Projector, self.held), answer_max_bytes=LARGEST)
        self.polls = Polls(self.discovery)
        #: Who asked for what, and what that means.
        self.known: list[tuple[Sequence[FindQuery], str, Poll]] = []

    def happens(self, event: Event) -> None:
        append(self.held.it, event)
        self.held.changes += 1

    def told(self, *queries: FindQuery, consumer: str = "") -> Any:
        """The decoded answer; None: there is none that can be given at once."""
        answer = self.polls.answer(DEFAULT_TENANT, body_of(queries), consumer)
        if answer is not None and answer.poll.lasts:
            self.known.append((queries, consumer, answer.poll))
        return None if answer is None else json.loads(answer.body)

    def told_again(self) -> None:
        """What is known to be asked is answered as it would be now, without being read."""
        for queries, consumer, poll in self.known:
            if self.polls.renew(DEFAULT_TENANT, poll, consumer):
                expected = self.expected(*queries, consumer=consumer)
                answer = self.polls.answer(DEFAULT_TENANT, b"", consumer, poll)
                assert answer is not None
                assert json.loads(answer.body) == expected
                assert poll.is_same == ("updated" not in expected["services"])

    def expected(self, *queries: FindQuery, consumer: str = "") -> Any:
        """Made anew, each element for itself."""
        view = self.held.it
        asked = [structs.replace(query, consumer_id=consumer) for query in queries]
        result = batch_find(asked, lambda query: find(view, cast(FindQuery, query)), LARGEST)
        if result.failed or (consumer and any(unrecorded(view, query) for query in asked)):
            return None
        return {"services": json.loads(b"".join(encode_batch(result)))}


def body_of(queries: Sequence[FindQuery]) -> bytes:
    return json.dumps({"services": [element_of(query) for query in queries]}, separators=(",", ":")).encode()


def element_of(query: FindQuery) -> dict[str, Any]:
    named = {"appId": query.app_id, "serviceName": query.service_name, "version": query.rule.text}
    service = named | ({"environment": query.environment} if query.environment else {})
    return {"service": service} | ({"rev": query.rev} if query.rev else {})


@given(comings_and_goings | logs(max_size=20), st.lists(find_queries, max_size=4), st.data())
def test_what_is_known_is_what_would_be_found_now(
    log: list[Event], asked: list[FindQuery], data: st.DataObject
) -> None:
    """An answer that outlives a change is a 304 that lies; one for another consumer shows what nobody may see."""
    registry = Registry()
    present = [
        FindQuery(event.service.app_id, event.service.service_name, ALL_VERSIONS, event.service.environment)
        for event in log
        if isinstance(event, ServiceRegistered)
    ]
    queries = [structs.replace(query, tags=(), consumer_id="") for query in [*present, *asked]]
    found = [(query.environment, query.app_id, query.service_name) for query in queries]
    recorded = DependenciesAdded(consumer_id="s1", providers=found, **stamp()._asdict())
    with patch.object(domain_find, "ANSWERS_PER_GROUP_MAX", 2), patch.object(elements, "KINDS_MAX", 2):
        for event in [log[0], recorded, *log[1:]]:
            registry.happens(event)
            registry.told_again()
            if data.draw(st.integers(0, 15)) == 15:
                registry.held.it = view_of()  # a rebuild, of a log that is gone
                registry.told_again()
            for consumer in ("", "s1", "s2"):
                some = data.draw(st.lists(st.sampled_from(queries), min_size=1, max_size=3)) if queries else []
                told = registry.told(*some, consumer=consumer) if some else None
                assert told == (registry.expected(*some, consumer=consumer) if some else None)
                for updated in (told or {"services": {}})["services"].get("updated", []):
                    # Some client remembers what it was told, and asks with that from now on.
                    query = structs.replace(some[updated["index"]], rev=updated["rev"])
                    queries[data.draw(st.integers(0, len(queries) - 1))] = query


CART = FindQuery("shop", "cart")
ELEMENT = b'{"service":{"appId":"shop","serviceName":"cart","version":"0+"},"rev":"x"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"services":[%b],"services":[%b]}' % (ELEMENT, ELEMENT),
        b'{"services":[{"service":{"appId":"shop","serviceName":"cart"},"rev":"x","rev":"y"}]}',
        b'{"services":[{"service":{"appId":"shop","serviceName":"cart"},"service":{"serviceName":"till"}}]}',
        b'{"services":[{"service":{"appId":"shop","serviceName":"cart","serviceName":"till"}}]}',
        b'{"services":[{"service":{"appId":"shop","serviceName":"cart"},"rev":"x","r\\u0065v":"y"}]}',
        b'{"services":[{"service":{"appId":"shop","serviceName":"cart"},"Rev":"x"}]}',
        b'{"services":[%b],"instances":[{"instance":{"serviceId":"s1","instanceId":"i1"}}]}' % ELEMENT,
        b'{"services":[%b],"instances":[],"instances":[]}' % ELEMENT,
        b'{"services":[%b],"other":1}' % ELEMENT,
        b'{"services":[{"service":{"appId":"shop"}}]}',
        b'{"services":[{"service":null}]}',
        b'{"services":[{"service":{"appId":"shop","serviceName":"c\xff"}}]}',
        b'{"services":[]}',
        b'{"services":[%b' % ELEMENT,
        b"",
        b'{"services":[%b]}' % b",".join([ELEMENT] * 1001),
    ],
)
def test_what_is_unusual_is_left_to_the_other_way(body: bytes) -> None:
    """It refuses, or finds another meaning: here nothing may be guessed."""
    registry = Registry(service_registered(microservice("s1", "cart")), service_registered(microservice("s2", "till")))
    for _ in range(2):
        assert registry.polls.answer(DEFAULT_TENANT, body, "") is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"services":[%b],"instances":[]}' % ELEMENT,
        b'{"services":[%b],"instances":null}' % ELEMENT,
        b' { "services" :[%b]} ' % ELEMENT.replace(b",", b" , "),
        b'{"services":[{"service":{"AppId":"shop","ServiceName":"cart"}}]}',
        b'{"services":[{"rev":null,"service":{"appId":"shop","serviceName":"cart","extra":[1]}}]}',
    ],
)
def test_what_clients_write_in_their_own_ways_means_the_same(body: bytes) -> None:
    registry = Registry(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "i1")))
    usual = registry.polls.answer(DEFAULT_TENANT, b'{"services":[%b]}' % ELEMENT, "")
    answer = registry.polls.answer(DEFAULT_TENANT, body, "")
    assert usual is not None
    assert answer is None or answer.body == usual.body


def test_an_answer_beyond_the_limit_is_refused_elsewhere() -> None:
    registry = Registry(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "i1")))
    size = len(find(registry.held.it, CART).body)
    for most, is_given in ((size, True), (size - 1, False)):
        answers = Polls(Discovery(cast(Projector, registry.held), answer_max_bytes=most))
        assert (answers.answer(DEFAULT_TENANT, body_of([CART]), "") is not None) is is_given


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_answer_that_made_room_for_others_still_falls_with_the_next_change(number: int) -> None:
    """A group prepares a few answers only; one that it has put away must not outlive a change that it cannot see."""
    registry = Registry(service_registered(microservice("s1", "cart")))
    with patch.object(domain_find, "ANSWERS_PER_GROUP_MAX", number):
        queries = [structs.replace(CART, rule=rule) for rule in map(parse_rule, ("0+", "1.0.0", "latest"))]
        before = [registry.told(*queries), registry.told(*queries)]
        registry.happens(instance_registered(instance("s1", "i1")))
        assert before[0] == before[1] != registry.told(*queries) == registry.expected(*queries)


def test_a_consumer_that_left_is_not_answered_what_it_was_answered_before() -> None:
    registry = Registry(service_registered(microservice("s1", "cart")), service_registered(microservice("s2", "till")))
    assert registry.told(CART, consumer="s2") is None  # it is to be recorded first
    found = DependenciesAdded(consumer_id="s2", providers=[("", "shop", "cart")], **stamp()._asdict())
    registry.happens(found)
    assert registry.told(CART, consumer="s2") is not None
    registry.happens(ServiceUnregistered(service_id="s2", **stamp()._asdict()))
    assert registry.told(CART, consumer="s2") is None


def test_a_view_that_was_replaced_answers_for_itself() -> None:
    """The replaced one may have counted as many changes."""
    registry = Registry(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "i1")))
    before = registry.told(CART)
    other = instance_registered(instance("s1", "i2"))
    registry.held.it = view_of(service_registered(microservice("s1", "cart")), other)
    assert before != registry.told(CART) == registry.expected(CART)


def test_a_known_poll_is_not_answered_from_a_view_that_was_replaced() -> None:
    """What the replaced one holds is true for it for ever."""
    registry = Registry(service_registered(microservice("s1", "cart")), instance_registered(instance("s1", "i1")))
    rev = find(registry.held.it, CART).rev
    answer = registry.polls.answer(DEFAULT_TENANT, body_of([structs.replace(CART, rev=rev)]), "")
    assert answer is not None
    assert answer.poll.is_same
    registry.held.it = view_of(service_registered(microservice("s1", "cart")))
    assert not registry.polls.renew(DEFAULT_TENANT, answer.poll, "")


def test_a_tenant_that_nobody_knows_leaves_nothing_behind() -> None:
    registry = Registry(service_registered(microservice("s1", "cart")))
    assert registry.polls.answer(Tenant("made", "up"), body_of([CART]), "") is None
    assert registry.polls.elements.size == 0
