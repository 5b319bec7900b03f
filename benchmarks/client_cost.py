"""What does the client cost the service it runs in: CPU per poll, heartbeat and connection, and memory per client?

    python -m benchmarks.client_cost --server 127.0.0.1:30100

Against a running registry. A poll asks for ten providers that have not changed; beside it a bare httpx client sends the
same bytes, in the same run, in turn. A first call is that of a new client: it makes a connection, and the client. CPU
is that of this process alone. Memory is what `--clients` clients with one registration and ten providers each add to
it, connections included; what the registry spends on them is not shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path

import httpx
import msgspec

from registry.client import AsyncRegistry, Options
from registry.client.addresses import address_book

ROUNDS = 5
CALLS = 200
PROVIDERS = 10


def resident_kib() -> int:
    """What this process holds in memory."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


async def cpu_us(call: Callable[[], Awaitable[object]]) -> float:
    """CPU of one call, in microseconds."""
    begun = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - begun) / CALLS * 1e6


async def costs(options: Options, clients: int) -> dict[str, object]:
    (address,) = (each.url for each in address_book(options.servers).addresses)
    names = [f"cost/provider-{number}" for number in range(PROVIDERS)]
    async with AsyncRegistry(options=options) as client, httpx.AsyncClient() as bare:
        for name in names:
            await client.register(f"{name}:1.0.0", [f"rest://10.0.0.1:80/{name}"])
        providers = [client.provider(name) for name in names]
        assert all([await provider.ready() for provider in providers])
        me = await client.register("cost/me:1.0.0", ["rest://10.0.0.2:80"])
        element = [
            {"service": {"appId": "cost", "serviceName": p.name.name, "version": "0+"}, "rev": p.listing.rev}
            for p in providers
        ]
        body = msgspec.json.encode({"services": element})
        root = f"{address}/v4/default/registry"
        beat = f"{root}/microservices/{me.service_id}/instances/{me.instance_id}/heartbeat"
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        contenders: dict[str, Callable[[], Awaitable[object]]] = {
            "poll, client": client.poll,
            "poll, httpx": lambda: bare.post(f"{root}/instances/action?type=query", content=body),
            "heartbeat, client": lambda: client.api.heartbeat(me.service_id, me.instance_id),
            "heartbeat, httpx": lambda: bare.put(beat),
            "first call, client": lambda: first_call(options),
            "first call, httpx": lambda: first_bare_call(f"{root}/version", tls),
        }
        rounds = [{name: await cpu_us(call) for name, call in contenders.items()} for _ in range(ROUNDS)]
        best = {name: round(min(one[name] for one in rounds)) for name in contenders}
        return {"cpu_us": best, "memory_kib_per_client": await memory_kib(options, names, clients)}


async def first_call(options: Options) -> None:
    async with AsyncRegistry(options=options) as client:
        await client.api.version()


async def first_bare_call(url: str, tls: ssl.SSLContext) -> None:
    """`tls` is not used, and made once: httpx would read the authorities for each client."""
    async with httpx.AsyncClient(verify=tls) as client:
        await client.get(url)


async def memory_kib(options: Options, names: list[str], clients: int) -> int:
    before = resident_kib()
    many = [AsyncRegistry(options=options) for _ in range(clients)]
    for number, client in enumerate(many):
        await client.__aenter__()
        await client.register("cost/crowd:1.0.0", [f"rest://10.0.1.1:{number}"])
        providers = [client.provider(name) for name in names]
        assert all([await provider.ready() for provider in providers])
    used = resident_kib() - before
    await asyncio.gather(*(client.__aexit__(None, None, None) for client in many))
    return used // clients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="127.0.0.1:30100")
    parser.add_argument("--clients", type=int, default=200)
    given = parser.parse_args()
    options = Options(given.server, watch=False, learn=False, poll_s=3600.0)
    found = asyncio.run(costs(options, given.clients))
    versions = {name: version(name) for name in ("httpcore", "httpx", "msgspec")}
    print(json.dumps({**found, "versions": versions}, indent=2))


if __name__ == "__main__":
    main()
