"""Requests wait for the store only as long as their limit, in whatever order they come and are answered."""

from __future__ import annotations

import asyncio

import pytest

from registry.domain.decide import Known
from registry.domain.errors import InstanceNotExists, StoreUnavailable
from registry.domain.tenant import DEFAULT_TENANT as T
from registry.domain.view import RegistryView
from registry.projection.waiting import CatchUps
from registry.store.memory_server import MemoryServer
from registry.usecases.patience import Patience
from registry.usecases.writes import DECIDE_TIMEOUT_S
from tests.support.builders import microservice_body
from tests.support.memory_replica import VIRTUAL, MemoryReplica, elapse, virtual_ms

pytestmark = pytest.mark.anyio

LIMIT_S = 3.0


@pytest.fixture
def anyio_backend() -> object:
    return VIRTUAL


def future() -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


async def test_each_is_given_up_after_its_own_time() -> None:
    """The timer is one for all, and looks again where the eldest was answered."""
    patience = Patience(LIMIT_S, "it does not answer")
    first, answered, last = (future() for _ in range(3))
    patience.watch(first)
    await elapse(1)
    patience.watch(answered).set_result(1)
    await elapse(1)
    patience.watch(last)
    await elapse(LIMIT_S - 2.1)
    assert not first.done()
    await elapse(0.2)
    with pytest.raises(StoreUnavailable, match="it does not answer"):
        await first
    assert await answered == 1
    assert not last.done()
    await elapse(LIMIT_S - 1.2)
    assert not last.done()
    await elapse(0.2)
    with pytest.raises(StoreUnavailable):
        await last


async def test_what_comes_after_a_quiet_time_is_given_up_too() -> None:
    patience = Patience(LIMIT_S, "")
    patience.watch(future()).set_result(1)
    await elapse(2 * LIMIT_S)
    late = patience.watch(future())
    await elapse(LIMIT_S + 0.1)
    assert isinstance(late.exception(), StoreUnavailable)


async def test_a_cancelled_one_troubles_nobody() -> None:
    patience = Patience(LIMIT_S, "")
    gone, other = patience.watch(future()), patience.watch(future())
    gone.cancel()
    await elapse(LIMIT_S + 0.1)
    assert gone.cancelled()
    assert isinstance(other.exception(), StoreUnavailable)


async def test_those_who_come_during_a_catch_up_wait_for_another_one() -> None:
    """What was read for those before them may be older than their question."""
    begun: list[asyncio.Future[int]] = []

    async def catch_up(tenant: object) -> None:
        begun.append(future())
        await begun[-1]

    catch_ups = CatchUps(catch_up)
    early = [catch_ups.join(T), catch_ups.join(T)]
    await elapse(0)
    late = [catch_ups.join(T), catch_ups.join(T)]
    late[0].cancel()
    await elapse(1)
    assert len(begun) == 1
    begun[0].set_exception(StoreUnavailable("away"))
    await elapse(1)
    assert [isinstance(one.exception(), StoreUnavailable) for one in early] == [True, True]
    assert len(begun) == 2
    assert not late[1].done()
    begun[1].set_result(0)
    await late[1]


class Decision:
    """Whether the service is there, and how often that was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, view: RegistryView) -> Known:
        self.asked += 1
        if "cart" not in view.services:
            raise InstanceNotExists("cart")
        return Known("cart")


async def test_a_decision_is_made_again_only_when_the_log_went_on() -> None:
    """Many clients register what is there already: to decide it twice would change nothing but the cost."""
    server = MemoryServer(virtual_ms)
    one, other = MemoryReplica(server, "one"), MemoryReplica(server, "other")
    await one.services.register(T, microservice_body("else"), "t")
    refused = Decision()
    with pytest.raises(InstanceNotExists):
        await one.writes.decide(T, refused)
    assert refused.asked == 1
    await other.follow()
    await other.services.register(T, microservice_body("cart", service_id="cart"), "t")
    again, known = Decision(), Decision()
    assert (await one.writes.decide(T, again), again.asked) == (Known("cart"), 2)
    assert (await one.writes.decide(T, known), known.asked) == (Known("cart"), 1)


async def test_a_decision_that_cannot_be_confirmed_is_not_told() -> None:
    one = MemoryReplica(MemoryServer(virtual_ms), "one")
    await one.services.register(T, microservice_body("cart", service_id="cart"), "t")
    one.store.hang()
    began = virtual_ms()
    with pytest.raises(StoreUnavailable, match="the log has not answered"):
        await one.writes.decide(T, Decision())
    assert virtual_ms() - began == DECIDE_TIMEOUT_S * 1000
