"""rev moves if and only if what the client would see has changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import combinations, product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.errors import RegistryError
from registry.domain.events import Event, InstanceUnregistered, ServiceRegistered
from registry.domain.find import FindQuery, find
from registry.domain.fold import apply
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.model import Instance
from registry.domain.position import Position
from registry.domain.rev import rev
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.view import Answer, RegistryView
from tests.support import strategies
from tests.support.builders import (
    EPOCH,
    append,
    instance,
    instance_registered,
    microservice,
    service_registered,
    view_of,
)
from tests.support.catching import counterexample
from tests.support.strategies import comings_and_goings, logs

RevOf = Callable[[Answer], str]

QUERIES: list[FindQuery | InstanceQuery] = [
    *(
        FindQuery(app, name, environment=env)
        for app, name, env in product(["shop"], ["cart", "till"], ["", "production"])
    ),
    FindQuery("", "*"),
    *(InstanceQuery(service_id) for service_id in ("s1", "s2")),
    *(InstanceQuery(service_id, "i1") for service_id in ("s1", "s2")),
]


def rev_of(view: RegistryView, query: FindQuery) -> str:
    return find(view, query).rev


def ask(view: RegistryView, query: FindQuery | InstanceQuery) -> Answer | None:
    try:
        if isinstance(query, FindQuery):
            return find(view, query)
        return get_instance(view, query) if query.instance_id else list_instances(view, query)
    except RegistryError:
        return None


def seen(answer: Answer) -> tuple[str, ...]:
    """What a client learns from the answer, as a set: each instance decoded, then written with sorted members."""
    instances = json.loads(answer.body).get("instances", [])
    return tuple(sorted(json.dumps(instance, sort_keys=True) for instance in instances))


def answers(log: list[Event], query: FindQuery | InstanceQuery) -> Iterator[Answer]:
    """The answers a client that polls after every event is given."""
    view = RegistryView(DEFAULT_TENANT)
    for sequence, event in enumerate(log, 1):
        apply(view, Position(EPOCH, sequence), event)
        answer = ask(view, query)
        if answer is not None:
            yield answer


def rev_tells_contents_apart(histories: list[list[Event]], rev_of: RevOf) -> bool:
    """Whether, for each query, over all moments of all histories, revs are equal exactly where contents are."""
    for query in QUERIES:
        moments = [(rev_of(answer), seen(answer)) for log in histories for answer in answers(log, query)]
        for (one_rev, one), (other_rev, other) in combinations(dict.fromkeys(moments), 2):
            if (one_rev == other_rev) != (one == other):
                return False
    return True


@given(st.lists(comings_and_goings | logs(), min_size=1, max_size=2))
def test_revs_are_equal_exactly_where_contents_are(histories: list[list[Event]]) -> None:
    """A rev that stands still hides a dead provider for ever (304); one that moves sends lists for nothing."""
    assert rev_tells_contents_apart(histories, lambda answer: answer.rev)


def _instances(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer.body).get("instances", [])
    return found


def count_only(answer: Answer) -> str:
    return str(answer.count)


def newest_change_only(answer: Answer) -> str:
    return max((instance["modTimestamp"] for instance in _instances(answer)), default="")


def newest_registration_and_count(answer: Answer) -> str:
    return f"{max((instance['timestamp'] for instance in _instances(answer)), default='')}.{answer.count}"


def newest_change_and_count(answer: Answer) -> str:
    """What the reference does, with a clock of seconds in the place of etcd's revision."""
    return f"{newest_change_only(answer)}.{answer.count}"


def ids_only(answer: Answer) -> str:
    return rev((), [str(instance["instanceId"]).encode() for instance in _instances(answer)])


@pytest.mark.parametrize(
    "weak", [count_only, newest_change_only, newest_registration_and_count, newest_change_and_count, ids_only]
)
def test_a_weaker_rev_would_be_caught(weak: RevOf) -> None:
    """The property above must be able to see, or it protects nobody."""
    histories = comings_and_goings.map(lambda log: [log])
    assert counterexample(histories, lambda logs: rev_tells_contents_apart(logs, weak)) is not None


def test_a_rev_that_moves_with_every_event_would_be_caught() -> None:
    """A rev made of the position would send every consumer every list after each change of anything."""
    asked = iter(range(10**9))
    histories = comings_and_goings.map(lambda log: [log])
    assert (
        counterexample(histories, lambda logs: rev_tells_contents_apart(logs, lambda _: str(next(asked)))) is not None
    )


some_instances = st.dictionaries(st.sampled_from([f"i{n}" for n in range(6)]), strategies.instances, min_size=2).map(
    lambda by_id: [
        Instance(id, "s1", "", i.host_name, i.endpoints, i.status, i.properties, i.health_check)
        for id, i in by_id.items()
    ]
)


@given(some_instances, st.randoms(use_true_random=False))
def test_the_order_of_registration_does_not_move_the_rev(contents: list[Instance], random: Random) -> None:
    """Two replicas of two histories that came to the same content must agree, or clients flap between them."""
    service = service_registered(microservice("s1", "cart"))
    shuffled = list(contents)
    random.shuffle(shuffled)
    one, other = (
        view_of(service, *(instance_registered(content, chosen=True) for content in order))
        for order in (contents, shuffled)
    )
    for query in (
        FindQuery("shop", "cart"),
        FindQuery("", "*"),
        InstanceQuery("s1"),
        InstanceQuery("s1", contents[0].instance_id),
    ):
        assert ask(one, query) == ask(other, query)


@given(st.lists(strategies.service_registrations, min_size=2, max_size=8))
def test_services_without_instances_have_different_revs(registrations: list[ServiceRegistered]) -> None:
    """Clients on sc-client up to 0.7 send one rev for all services: a shared rev would answer 304 for another one."""
    view = RegistryView(DEFAULT_TENANT)
    for event in registrations:
        append(view, event)
    finds = [
        FindQuery(group.app_id, group.service_name, environment=group.environment) for group in view.groups.values()
    ]
    lists: list[FindQuery | InstanceQuery] = [InstanceQuery(service_id) for service_id in view.services]
    answers = [ask(view, query) for query in finds + lists]
    revs = [answer.rev for answer in answers if answer is not None]
    assert len(revs) == len(view.groups) + len(view.services)
    assert len(set(revs)) == len(revs)


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_identities_that_differ_only_in_where_their_parts_end_have_different_revs(
    one: list[str], other: list[str]
) -> None:
    """`shop` + `cart` and `shopc` + `art` are two services."""
    assert (rev(one, ()) == rev(other, ())) == (one == other)


def test_setting_back_what_was_changed_sets_the_rev_back() -> None:
    """The rev is of content, not of the number of changes: a rebuilt replica hands out the same one."""
    view = view_of(service_registered(microservice("s1", "cart")))
    query = FindQuery("shop", "cart")
    before = rev_of(view, query)
    append(view, instance_registered(instance("s1", "i1")))
    assert rev_of(view, query) != before
    append(view, InstanceUnregistered(service_id="s1", instance_id="i1", at_ms=1, replica="r1", number=1))
    assert rev_of(view, query) == before
