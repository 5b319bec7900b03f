"""Watch races: whatever a provider does while a consumer finds and watches, the consumer ends with the true list.

api-rules.md 3.9, 3.12, D13; clients.md 1.0.3. Seeded: what races is the network and the registry, not the dice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Any

import pytest

from tests.support.api import Api, ok, wanted
from tests.support.replica import Replica
from tests.support.websocket import watch

ROUNDS = 50

Instances = dict[str, Any]


@pytest.fixture
def provider(registry: Replica, api: Api) -> Iterator[Provider]:
    """Providers that register and unregister meanwhile, over a connection of its own."""
    with registry.connect() as connection, ThreadPoolExecutor(1) as pool:
        yield Provider(api.on(connection), pool)


class Provider:
    def __init__(self, api: Api, pool: ThreadPoolExecutor) -> None:
        self._api = api
        self._pool = pool

    def change(self, service_id: str, dice: Random) -> Future[None]:
        """Begin to change one or two instances of a service, at some moment that is drawn."""
        reads, steps = dice.randrange(6), dice.sample([self._register, self._lower, self._remove], dice.randint(1, 2))
        return self._pool.submit(self._run, service_id, reads, steps)

    def _run(self, service_id: str, reads: int, steps: Iterable[Callable[[str], object]]) -> None:
        for _ in range(reads):
            self._api.read_service(service_id)
        for step in steps:
            step(service_id)

    def _register(self, service_id: str) -> None:
        self._api.instance(service_id, instanceId="new")

    def _lower(self, service_id: str) -> None:
        ok(self._api.put(f"/microservices/{service_id}/instances/old/status?value=DOWN"))

    def _remove(self, service_id: str) -> None:
        ok(self._api.delete(f"/microservices/{service_id}/instances/going"))


def found(api: Api, name: str, consumer_id: str) -> Instances:
    instances = ok(api.find(name, consumer=consumer_id)).json().get("instances", [])
    return {instance["instanceId"]: instance for instance in instances}


def found_in_batch(api: Api, name: str, consumer_id: str) -> Instances:
    updated = ok(api.batch([wanted(name)], consumer=consumer_id)).json()["services"]["updated"]
    return {instance["instanceId"]: instance for instance in updated[0].get("instances", [])}


def after(known: Instances, events: Iterable[Any]) -> Instances:
    """What a client holds that applies events to what it has found."""
    known = dict(known)
    for event in events:
        instance = event["instance"]
        if event["action"] == "DELETE":
            known.pop(instance["instanceId"], None)
        else:
            known[instance["instanceId"]] = instance
    return known


def is_news(event: Any, known: Instances) -> bool:
    """Whether the event says something that is not in what was found."""
    before = known.get(event["instance"]["instanceId"])
    return before is not None if event["action"] == "DELETE" else before != event["instance"]


def prepare(api: Api, number: int) -> tuple[str, str, str]:
    """A provider with two instances and a consumer: the provider's name, both ids."""
    name = f"provider{number}"
    service_id, consumer_id = api.service(name), api.service(f"consumer{number}")
    for instance_id in ("old", "going"):
        api.instance(service_id, instanceId=instance_id)
    return name, service_id, consumer_id


@pytest.mark.slow
def test_find_then_watch_then_find_misses_and_repeats_nothing(api: Api, provider: Provider) -> None:
    """As go-chassis: the find before the handshake subscribes, the one after it is what events are applied to.

    No event repeats what the first find showed: go-chassis would hold that instance twice.
    """
    dice = Random(1)
    for number in range(ROUNDS):
        name, service_id, consumer_id = prepare(api, number)
        changing = provider.change(service_id, dice)
        before = found(api, name, consumer_id)
        with watch(api, consumer_id) as watcher:
            known = found(api, name, consumer_id)
            changing.result()
            events = watcher.events()
            final = found(api, name, "")
        assert after(known, events) == final, f"round {number}"
        first_of_each = {event["instance"]["instanceId"]: event for event in reversed(events)}
        assert all(is_news(event, before) for event in first_of_each.values()), f"round {number}"


@pytest.mark.slow
@pytest.mark.parametrize("find", [found, found_in_batch], ids=["find", "batch"])
def test_first_find_on_an_open_watcher_misses_nothing(
    api: Api, provider: Provider, find: Callable[[Api, str, str], Instances]
) -> None:
    """As java: its socket is open since the start, each provider is found when first called.

    What happens between the find's answer and the subscription would be in neither, until the next poll.
    """
    dice = Random(2)
    for number in range(ROUNDS):
        name, service_id, consumer_id = prepare(api, number)
        with watch(api, consumer_id) as watcher:
            changing = provider.change(service_id, dice)
            known = find(api, name, consumer_id)
            changing.result()
            events = watcher.events()
            final = found(api, name, "")
        assert after(known, events) == final, f"round {number}"
