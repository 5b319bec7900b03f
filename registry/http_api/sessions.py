"""Sessions: a websocket or feed ends when the token that opened it does, or no longer has the right to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from registry.access.rule import Rule
from registry.domain.errors import RegistryError, StoreUnavailable
from registry.http_api.admission import Admission
from registry.http_api.call import Call
from registry.http_api.reply import Droppable

#: Seconds between two looks at all open websockets, and those looked at before other tasks get a turn.
LOOK_EVERY_S: Final = 1.0
LOOK_AT_ONCE: Final = 1_000


class _Session(NamedTuple):
    name: str
    rule: Rule
    call: Call
    socket: Droppable


class Sessions:
    """The websockets that are open."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._open: dict[int, _Session] = {}

    @contextmanager
    def open(self, name: str, rule: Rule, call: Call, socket: Droppable) -> Iterator[None]:
        """Look after a websocket as long as its endpoint runs."""
        if call.grant is None:  # it needs no token
            yield
            return
        self._open[id(call)] = _Session(name, rule, call, socket)
        try:
            yield
        finally:
            del self._open[id(call)]

    async def run(self) -> None:
        """Look after them until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for number, session in enumerate(list(self._open.values()), 1):
                await self._look(session)
                if number % LOOK_AT_ONCE == 0:
                    await asyncio.sleep(0)

    async def _look(self, session: _Session) -> None:
        grant = session.call.grant
        if grant is not None and self._admission.principals.counts(grant):
            return
        before = session.call.reach
        try:
            await self._admission.admit(session.name, session.rule, session.call)
            if session.call.reach != before:
                session.socket.drop()  # what is sent was chosen by what the right was
        except StoreUnavailable:
            return  # nobody can tell now
        except RegistryError:
            session.socket.drop()
