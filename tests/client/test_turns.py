"""Turns, against a list that is sorted by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.client.turns import Turns

AT_ONCE = 2
steps = st.one_of(
    st.tuples(st.just("comes"), st.integers(0, 3)),
    st.tuples(st.just("goes"), st.integers(0, 9)),
    st.tuples(st.just("is cancelled"), st.integers(0, 9)),
    st.tuples(st.just("fails"), st.integers(0, 3)),
)


class Naive:
    """Who has a turn and who waits, by names in the order of their coming."""

    def __init__(self) -> None:
        self.in_turn: list[int] = []
        self.waiting: list[tuple[int, int]] = []
        self.failed: list[int] = []

    def call(self) -> None:
        while self.waiting and len(self.in_turn) < AT_ONCE:
            first = min(self.waiting)
            self.waiting.remove(first)
            self.in_turn.append(first[1])


class Client:
    def __init__(self, turns: Turns, needed_by: int, patience: int = 1) -> None:
        self._turns = turns
        self._needed_by = needed_by
        self._patience = patience
        self.leave = asyncio.Event()
        self.is_in = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._turns.turn(self._needed_by, self._patience):
            self.is_in = True
            try:
                await self.leave.wait()
            finally:
                self.is_in = False


@given(st.lists(steps, max_size=40))
def test_turns_go_to_those_who_need_them_first_and_none_is_lost(history: list[tuple[str, int]]) -> None:
    asyncio.run(play(history))


async def play(history: list[tuple[str, int]]) -> None:
    turns, naive, clients = Turns(AT_ONCE), Naive(), list[Client]()
    for what, number in history:
        match what:
            case "comes":
                naive.waiting.append((number, len(clients)))
                clients.append(Client(turns, number, patience_of(len(clients))))
            case "goes" if naive.in_turn:
                clients[naive.in_turn.pop(number % len(naive.in_turn))].leave.set()
            case "is cancelled" if naive.waiting:
                _, name = naive.waiting.pop(number % len(naive.waiting))
                clients[name].task.cancel()
            case "fails":
                naive.failed += [name for _, name in naive.waiting if patience_of(name) <= number]
                naive.waiting = [one for one in naive.waiting if patience_of(one[1]) > number]
                turns.failed(OSError("nobody is there"), number)
        await settled()
        naive.call()
        assert [name for name, client in enumerate(clients) if client.is_in] == sorted(naive.in_turn)
        assert [n for n, c in enumerate(clients) if has_failed(c.task)] == sorted(naive.failed)
    for client in clients:
        client.task.cancel()
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)
    async with turns.turn(0), turns.turn(0):
        pass


def patience_of(name: int) -> int:
    return name % 3


def has_failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and isinstance(task.exception(), OSError)


async def settled() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.mark.parametrize("first", ["leaves", "is cancelled"])
async def test_a_turn_that_nobody_is_there_to_take_is_given_to_the_next(first: str) -> None:
    """The one that was called was cancelled in the same moment."""
    turns = Turns(1)
    one, two, three = (Client(turns, 0) for _ in range(3))
    await settled()
    acts: list[Callable[[], object]] = [one.leave.set, two.task.cancel]
    for act in acts if first == "leaves" else reversed(acts):
        act()
        if first == "leaves":
            await asyncio.sleep(0)
    await settled()
    assert (two.is_in, three.is_in) == (False, True)
    three.leave.set()
    await asyncio.wait([one.task, two.task, three.task])
