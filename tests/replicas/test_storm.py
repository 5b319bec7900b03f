"""A storm: when Redis has been restarted, everybody who had waited for it registers in the same moment."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import NamedTuple

from tests.support.api import ids
from tests.support.fleet import fleet
from tests.support.redis_server import redis_server
from tests.support.replica import Replica
from tests.support.waiting import until_sync

CLIENTS = 2000
#: What java chassis waits for an answer of its registry (seconds).
CLIENT_TIMEOUT_S = 30.0
#: What the slowest may take here: far below a client's patience, far above what it takes.
WITHIN_S = 20.0


class Registered(NamedTuple):
    status: int
    instance_id: str
    took_s: float


async def register(port: int, number: int) -> Registered:
    """One client: a connection of its own, one registration."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(CLIENT_TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = json.dumps({"instance": {"hostName": "h", "endpoints": [f"rest://h:{number}"]}}).encode()
        path = "/v4/default/registry/microservices/cart/instances"
        head = f"POST {path} HTTP/1.1\r\nHost: r\r\nX-Domain-Name: storm\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
    status = int(answer.split(b" ", 2)[1])
    instance_id = json.loads(answer.partition(b"\r\n\r\n")[2])["instanceId"] if status == 200 else ""
    return Registered(status, instance_id, loop.time() - began)


async def storm(ports: Sequence[int]) -> list[Registered]:
    return await asyncio.gather(*(register(ports[number % len(ports)], number) for number in range(CLIENTS)))


def works(replicas: Sequence[Replica]) -> bool:
    body = {"properties": {"a": "b"}}
    return all(one.api("storm").put("/microservices/cart/properties", body).status == 200 for one in replicas)


def test_two_thousand_register_at_once_right_after_a_restart_of_redis() -> None:
    """All are answered in time, over two replicas whose writes are in each other's way, and all are listed by both."""
    with redis_server(None, True) as server:
        options = ["--redis-url", server.url]
        with fleet(options, options) as replicas:
            replicas[0].api("storm").service("cart", serviceId="cart")
            server.stop()
            server.start()
            until_sync(lambda: works(replicas), "writes to work again")
            registered = asyncio.run(storm([one.port for one in replicas]))
            assert {one.status for one in registered} == {200}
            assert max(one.took_s for one in registered) < WITHIN_S
            expected = sorted(one.instance_id for one in registered)
            assert len(set(expected)) == CLIENTS
            for one in replicas:
                until_sync(
                    lambda one=one: ids(one.api("storm").find("cart")) == expected,  # type: ignore[misc]
                    "everybody to be listed",
                )
