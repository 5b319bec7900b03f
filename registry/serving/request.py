"""Request: one hot request as it was understood, and what the door is asked in its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from registry.http_api import operations
from registry.http_api.call import Call, add_header, request_id_of
from registry.http_api.client_address import FORWARDED
from registry.http_api.operation import Operation
from registry.http_api.shared_parts import Parts
from registry.serving.heads import Head
from registry.serving.hot import Owed
from registry.serving.polls import Poll
from registry.serving.recognise import BatchFind, Beat, Find, Hot, Registration
from registry.serving.responses import named


class Request(Struct, frozen=True, gc=False):
    """`began`: when it came (`perf_counter` seconds)."""

    hot: Hot
    target: bytes
    head: Head
    body: bytes
    began: float
    #: The header block as it came.
    block: bytes = b""
    #: What the client calls it, "" when it does not.
    request_id: str = ""
    #: What the body of a batch find means, if that is known.
    poll: Poll | None = None

    def named(self, response: Parts) -> Parts:
        """The response, which says what the request is called."""
        return named(response, self.request_id) if self.request_id else response


#: Headers that say who asks, for the record.
_RECORDED: Final = re.compile(
    rb"^(user-agent|x-request-id|%b):([^\r\n]*)" % b"|".join(FORWARDED), re.IGNORECASE | re.MULTILINE
)

_NAMED: Final = re.compile(rb"^x-request-id:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def id_in(block: bytes) -> str:
    """What a client calls its request. Of several names the last one counts, as on the other way."""
    found = _NAMED.findall(block) if b"x-request-id" in block.lower() else ()
    return request_id_of(found[-1].strip()) if found else ""


#: Has the door answer a request whose answer is owed.
AskDoor = Callable[[Owed, Request], None]


def operation_of(hot: Hot) -> Operation:
    """Which operation it is."""
    match hot:
        case Find():
            return operations.FIND
        case BatchFind():
            return operations.BATCH_FIND
        case Registration(service_id=""):
            return operations.REGISTER_SERVICE
        case Registration():
            return operations.REGISTER_INSTANCE
        case Beat():
            return operations.HEARTBEAT


def call_of(request: Request, client_address: str, body_max: int) -> tuple[Operation, Call]:
    """What the door is to answer, with all that has been understood."""
    hot, head = request.hot, request.head
    path: dict[str, str] = {}
    match hot:
        case Registration():
            path = {"service_id": hot.service_id} if hot.service_id else {}
        case Beat():
            path = {"service_id": hot.service_id, "instance_id": hot.instance_id}
    headers = {
        b"x-consumerid": head.consumer,
        b"accept-encoding": b"gzip" if head.gzip else b"",
        b"authorization": head.credentials,
    }
    for name, value in _RECORDED.findall(request.block):
        add_header(headers, name.lower(), value.strip())

    operation, query = operation_of(hot), request.target.partition(b"?")[2]
    target = f"{operation.method} {request.target.decode('latin-1')}"
    return operation, Call(path, query, headers, client_address, request.body, hot.tenant, body_max, target)
