"""Beats: heartbeats on the hot way. The batch in which a renewal is tells its heartbeat what came of it."""

from __future__ import annotations

from registry.http_api import operations, reply
from registry.http_api.api import Api
from registry.http_api.shared_parts import Parts
from registry.serving import responses
from registry.serving.counted import Counted
from registry.serving.hot import HotConnection, Owed
from registry.serving.recognise import Beat
from registry.serving.request import AskDoor, Request


class Beats:
    def __init__(self, api: Api, ask_door: AskDoor) -> None:
        self._api = api
        self._ask_door = ask_door
        self._counted = Counted(api, operations.HEARTBEAT)
        #: The last response: at which position, with which lines.
        self._last: tuple[bytes, bytes, Parts] = (b"", b"", (b"",))

    def answer(self, beat: Beat, request: Request, connection: HotConnection) -> bool:
        """Owe the answer; False: the door has to answer."""
        row = self._api.discovery.beating_row(beat.tenant, beat.service_id, beat.instance_id)
        if row is None:
            return False
        owed = _Heartbeat(connection, self, request)
        self._api.heartbeats.renew_for(beat.tenant, row, owed)
        connection.owe(owed)
        return True

    def settle(self, owed: _Heartbeat) -> None:
        """The lease has been renewed. All heartbeats of a batch are answered with the same bytes."""
        request, connection = owed.request, owed.connection
        position, lines = self._api.discovery.position_text(request.hot.tenant), connection.lines
        made_at, made_with, response = self._last
        if made_at is not position or made_with is not lines:
            response = responses.render(reply.empty(reply.position(position)), lines)
            self._last = (position, lines, response)
        connection.settle(owed, request.named(response) if request.request_id else response)
        self._counted.add(request, connection.client_address, 200)

    def hand_over(self, owed: _Heartbeat) -> None:
        """Lapsed, or the store is away: the whole use case, which may wait, decides what is true."""
        self._ask_door(owed, owed.request)


class _Heartbeat(Owed, eq=False, gc=False):
    """A heartbeat. The batch in which its renewal is tells it."""

    beats: Beats
    request: Request

    def done(self) -> bool:
        return False  # its lease is to be renewed also when the client has gone

    def set_result(self, renewed: bool, /) -> None:
        if renewed or not self.is_awaited:
            self.beats.settle(self)
        else:
            self.beats.hand_over(self)

    def set_exception(self, exception: Exception, /) -> None:
        self.beats.hand_over(self)
