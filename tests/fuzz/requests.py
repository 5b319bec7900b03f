"""Requests: of every operation in the table, with every header that means something."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final
from urllib.parse import quote

from registry.http_api.operation import Operation
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS
from tests.fuzz.bodies import ACCOUNTS, INSTANCES, NAMES, POOLS, SERVICES, body, odd_text

#: Those that are asked all the time, as many times as often.
USUAL: Final = {
    "find-instances": 20,
    "batch-find-instances": 12,
    "heartbeat": 12,
    "register-instance": 8,
    "register-microservice": 10,
    # Each costs a password hash.
    "log-in": 0.05,
}
PATH_VALUES: Final = {
    "project": [*["default"] * 7, "other"],
    "service_id": SERVICES,
    "instance_id": INSTANCES,
    "schema_id": NAMES,
    "key": NAMES,
    "kind": ["match-group", "retry", "circuit-breaker", "rate-limiting", "display"],
    "id": NAMES,
    "name": ACCOUNTS,
    "role_name": NAMES,
}
QUERY_VALUES: Final[dict[str, list[str]]] = {
    **{name: [str(value) for value in values] for name, values in POOLS.items()},
    "type": ["query", "microservice", "schema"],
    "tags": ["a", "a,b", ""],
    "value": ["UP", "DOWN", "a"],
    "options": ["all", "tags,instances", "statistics", "info", "cache"],
    "property": ["a:b", "a"],
    "schemaId": NAMES,
    **{name: ["2026-11-29T20:00:00Z", "1795981241000", "0-1", "1-5"] for name in ("at", "from", "to")},
    "before": ["1-5"],
    "wait": ["0s", "1s"],
    "limit": ["1", "100"],
}
FLAGS: Final = ["0", "1", "true", "false", ""]
HEADERS: Final[list[tuple[str, list[str]]]] = [
    ("X-Domain-Name", [*["default"] * 6, "tenant-1", "tenant-2"]),
    ("X-ConsumerId", SERVICES),
    ("Accept-Encoding", ["gzip", "gzip;q=0", "br"]),
    ("User-Agent", ["fuzz"]),
    ("traceparent", ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]),
    ("Origin", ["http://console", "null"]),
    ("X-Registry-Position", ["0-0", "1-1", "x", "-1", ""]),
    ("X-Registry-Durability", ["memory", "paper"]),
    ("X-Forwarded-For", ["203.0.113.9", "203.0.113.9, 10.0.0.1"]),
    ("Expect", ["100-continue"]),
    ("Content-Type", ["application/json", "text/plain"]),
    ("Connection", ["keep-alive", "close", "Upgrade"]),
    ("Upgrade", ["websocket", "h2c"]),
    ("X-Auth-Token", ["none", "a.b.c"]),
    ("If-None-Match", ["*"]),
    ("Range", ["bytes=0-10"]),
]
WEBSOCKET: Final = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
#: Frames of a client: pings, pongs, texts, closes, and what no client may send.
FRAMES: Final = (
    *(b"\x89\x80\x00\x00\x00\x00", b"\x8a\x80\x00\x00\x00\x00", b"\x81\x81\x00\x00\x00\x00a"),
    *(b"\x88\x82\x00\x00\x00\x00\x03\xe8", b"\x81\x01a", b"\xff\xff\xff\xff", b"\x82\xff" + b"\x7f" * 12),
)


@dataclass
class Request:
    """One request, before it is bytes."""

    method: str
    target: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    content: bytes = b""
    #: What follows it, when it asks for a websocket.
    frames: bytes = b""

    def encode(self, version: str = "1.1") -> bytes:
        lines = [f"{self.method} {self.target} HTTP/{version}", *(f"{name}: {value}" for name, value in self.headers)]
        head = "\r\n".join(lines).encode("utf-8", "surrogatepass")
        return head + b"\r\n\r\n" + self.content + self.frames


class Requests:
    """Makes requests.

    Args:
        tokens: of which some requests have one; none without accounts.
    """

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        operations = [*OPERATIONS, *(ACCOUNT_OPERATIONS if tokens else ())]
        self._operations = operations
        rare = {"DELETE": 0.3}
        self._weights = [float(USUAL.get(one.name, rare.get(one.method, 1.0))) for one in operations]

    def make(self, random: Random) -> Request:
        (operation,) = random.choices(self._operations, self._weights)
        method = operation.method if random.random() < 0.97 else random.choice(("HEAD", "OPTIONS", "PATCH", "PUT"))
        request = Request(method, _target(operation, random), [("Host", "h")])
        # Most requests are as clients repeat them, so that they go the short way.
        for name, values in HEADERS:
            if random.random() < (0.35 if name in ("X-Domain-Name", "X-ConsumerId", "Accept-Encoding") else 0.03):
                request.headers.append((name, _odd_or(values, random, 0.05)))
        if self._tokens and random.random() < 0.85:
            request.headers.append(("Authorization", f"Bearer {random.choice(self._tokens)}"))
        if operation.socket is not None and random.random() < 0.7:
            request.headers = [header for header in request.headers if header[0] not in ("Upgrade", "Connection")]
            request.headers += WEBSOCKET
            request.frames = b"".join(random.choices(FRAMES, k=random.randrange(4)))
        elif operation.request is not None or random.random() < 0.02:
            request.content = body(operation.request or dict, random)
            request.headers.append(("Content-Length", str(len(request.content))))
        return request


def _target(operation: Operation, random: Random) -> str:
    segments = []
    for segment in operation.path.split("/"):
        if segment.startswith("{"):
            segment = quote(_odd_or(PATH_VALUES[segment[1:-1]], random, 0.03), safe="")
        segments.append(segment)
    path = "/".join(segments)
    if operation.in_v3 and random.random() < 0.2:
        path = path.replace("/v4/default/registry", "/registry/v3").replace("/v4/other/registry", "/registry/v3")
    pairs = []
    for name in operation.query:
        if name in operation.required or name == "wait" or random.random() < 0.4:
            values = ["query"] if name == "type" and operation.method == "POST" else QUERY_VALUES.get(name, FLAGS)
            value = _odd_or(values, random, 0.03)
            pairs.append(f"{name}={quote(value, safe='') if random.random() < 0.9 else value}")
    return path + ("?" + "&".join(pairs) if pairs else "")


def _odd_or(values: list[str], random: Random, share: float) -> str:
    text = odd_text(random) if random.random() < share else random.choice(values)
    return text.encode("utf-8", "replace").decode()
