"""An answer that is larger than the registry sends costs nothing: it is refused before it is put together."""

from __future__ import annotations

import json
import tracemalloc
from typing import Final

import pytest

from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import run, virtual_ms
from tests.support.wires import BASE, BATCH, FIND, Lane, fill, register, status, whole, write

LIMIT: Final = 64 * 1024
#: What a refusal may take: the list of what the answer would have is some of it.
SPENT_MAX: Final = 200_000

PROVIDER: Final = {"service": {"appId": "shop", "serviceName": "cart", "version": "0+"}}
ANY: Final = {"service": {"appId": "shop", "serviceName": "*", "version": "0+"}}


def batch(*finds: object) -> bytes:
    return whole(b"POST", BATCH, body=json.dumps({"services": finds}, separators=(",", ":")).encode())


#: Every question of which the answer holds all instances.
QUESTIONS: Final = [
    whole(b"GET", FIND),
    whole(b"GET", FIND + b"&version=latest"),
    whole(b"GET", FIND + b"&rev=other"),
    whole(b"GET", b"/v1/default/find/explain?appId=shop&serviceName=cart"),
    whole(b"GET", BASE + b"/microservices/cart/instances"),
    whole(b"GET", b"/registry/v3/instances?appId=shop&serviceName=cart"),
    whole(b"GET", b"/registry/v3/microservices/cart/instances"),
    batch(PROVIDER),
    batch({**PROVIDER, "rev": "other"}),
    batch({"service": {"appId": "shop", "serviceName": "empty"}}, *[ANY] * 50),
]


#: Every question of which the answer holds the microservices that have found cart.
SERVICE_QUESTIONS: Final = [
    whole(b"GET", BASE + path)
    for path in (
        b"/microservices",
        b"/microservices/cart/consumers",
        b"/microservices/buyer/providers",
    )
] + [
    whole(b"GET", b"/v4/default/govern/microservices/cart"),
    whole(b"GET", b"/v4/default/govern/microservices?options=dependencies&serviceName=cart"),
    whole(b"GET", b"/registry/v3/microservices"),
]


async def assert_costs_nothing(lane: Lane, questions: list[bytes]) -> None:
    for question in questions:
        await lane.say(lane.connect(), question)  # what is made once is made
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for question in questions:
            tracemalloc.reset_peak()
            answer = await lane.say(lane.connect(), question)
            assert b"REGISTRY_ANSWER_MAX_BYTES" in answer, (question, answer[:300])
            kept, peak = tracemalloc.get_traced_memory()
            assert peak - before < SPENT_MAX, question
            assert kept - before < SPENT_MAX, question
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("fast", [True, False])
def test_what_is_refused_for_its_size_is_not_put_together_and_nothing_of_it_is_kept(fast: bool) -> None:
    async def main() -> None:
        lane = Lane(MemoryServer(virtual_ms), fast, Settings(answer_max_bytes=LIMIT))
        await lane.replica.projector.start()
        await fill(lane, 0)
        for number in range(40):
            await register(lane, "cart", f"i{number}", properties={"p": "x" * 50_000})
        await assert_costs_nothing(lane, QUESTIONS)

    run(main)


def test_nor_are_microservices() -> None:
    """Each is small, and they are many: a consumer may have found all that there are."""

    async def main() -> None:
        lane = Lane(MemoryServer(virtual_ms), False, Settings(answer_max_bytes=LIMIT))
        await lane.replica.projector.start()
        await fill(lane, 0)
        cart = {"appId": "shop", "serviceName": "cart"}
        buyer = {"consumer": {"appId": "shop", "serviceName": "buyer", "version": "0.0.1"}}
        providers = []
        for number in range(40):
            consumer = {"appId": "shop", "serviceName": f"c{number}", "version": "1.0.0"}
            await write(lane, b"POST", b"/microservices", {"service": {**consumer, "properties": {"p": "x" * 50_000}}})
            dependency = {"consumer": consumer, "providers": [cart]}
            await write(lane, b"POST", b"/dependencies", {"dependencies": [dependency]})
            providers.append({"appId": "shop", "serviceName": f"c{number}"})
        await write(lane, b"POST", b"/dependencies", {"dependencies": [{**buyer, "providers": providers}]})
        await assert_costs_nothing(lane, SERVICE_QUESTIONS)

    run(main)


def test_a_policy_that_is_nested_deeply_does_not_grow_when_it_is_shown() -> None:
    """With a line for each element, and sixty spaces in front of it, two megabytes were sixty."""

    async def main() -> None:
        lane = Lane(MemoryServer(virtual_ms), False)
        await lane.replica.projector.start()
        nested: object = [1] * 100_000
        for _ in range(28):
            nested = [nested]
        body = json.dumps({"name": "p", "spec": {"maxAttempts": 3, "more": nested}}).encode()
        made = await lane.say(lane.connect(), whole(b"POST", b"/v1/default/gov/retry", body=body))
        assert status(made) == 200, made
        policy_id = json.loads(made.partition(b"\r\n\r\n")[2])["id"].encode()
        for path in (b"", b"/" + policy_id):
            answer = await lane.say(lane.connect(), whole(b"GET", b"/v1/default/gov/retry" + path))
            assert status(answer) == 200
            assert len(answer) < len(body) + 2000

    run(main)


def test_what_a_client_holds_is_not_refused_for_its_size() -> None:
    """Nothing of it is sent, and a replica with a lower limit must not contradict the others."""

    async def main() -> None:
        server = MemoryServer(virtual_ms)
        ample = Lane(server, True)
        await ample.replica.projector.start()
        await fill(ample, 0)
        for number in range(3):
            await register(ample, "cart", f"i{number}", properties={"p": "x" * 50_000})
        rev = (await ample.say(ample.connect(), whole(b"GET", FIND))).partition(b"X-Resource-Revision: ")[2][:40]
        for fast in (True, False):
            tight = Lane(server, fast, Settings(answer_max_bytes=LIMIT))
            await tight.replica.projector.start()
            assert status(await tight.say(tight.connect(), whole(b"GET", FIND + b"&rev=" + rev))) == 304
            answer = await tight.say(tight.connect(), batch({**PROVIDER, "rev": rev.decode()}))
            assert answer.endswith(b'{"services":{"notModified":[0]}}')

    run(main)
