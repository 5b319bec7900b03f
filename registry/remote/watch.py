"""`watch`: one line for every change."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final

import click
from msgspec import Struct

from registry.client import AsyncRegistry, Change, Provider
from registry.client.errors import ClientError
from registry.client.names import ServiceName
from registry.domain.model import Microservice
from registry.remote.asking import Asking, Form, asks
from registry.remote.failing import Exit
from registry.remote.naming import provider_of
from registry.remote.waiting import interrupted
from registry.remote.writing import STYLES, console, write_line

#: Services that are watched at once.
WATCHED_MAX: Final = 1000


class Line(Struct, frozen=True, rename="camel"):
    """What `watch --output ndjson` writes. `at`: Unix seconds."""

    at: float
    service: str
    change: Change


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--env", default="", metavar="NAME", help="The environment of the services.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option("--since-now", is_flag=True, help="Without the instances that are there already.")
@asks
async def watch(asking: Asking, names: tuple[str, ...], env: str, every: float, since_now: bool) -> int:
    """Write a line for every change of some services, or of all services, until Ctrl-C.

    \b
    registry watch
    registry watch shop/cart shop/stock:1.0+ --output ndjson
    """
    async with asking.client(poll_s=every) as client:
        writer = _Writer(asking.form)
        wanted = {await provider_of(client.api, name, env) for name in names} or await _all_names(client, env)
        known: set[ServiceName] = set()
        with interrupted():
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_say(client, wanted))
                    present = not since_now
                    while True:
                        for name in sorted(wanted - known)[: WATCHED_MAX - len(known)]:
                            group.create_task(writer.follow(client.provider(name), present=present))
                        known |= wanted
                        # What comes later is new, with all its instances.
                        present = True
                        await asyncio.sleep(every)
                        if not names:
                            wanted = await _names_or(known, client, env)
            except* BrokenPipeError as exc:
                raise BrokenPipeError from exc
    return Exit.DONE


async def _say(client: AsyncRegistry, names: set[ServiceName]) -> None:
    """Say when a registry has answered: what happens from then on is written."""
    for name in names:
        while not await client.provider(name).ready():
            pass
    sys.stderr.write(f"watching {len(names)} service(s); Ctrl-C ends it\n")
    sys.stderr.flush()


async def _all_names(client: AsyncRegistry, env: str) -> set[ServiceName]:
    return {_name(service) for service in await client.api.services() if not env or service.environment == env}


async def _names_or(known: set[ServiceName], client: AsyncRegistry, env: str) -> set[ServiceName]:
    """The services that there are now; those that are known while no registry answers."""
    try:
        return await _all_names(client, env)
    except ClientError:
        return known


def _name(service: Microservice) -> ServiceName:
    return ServiceName(service.app_id, service.service_name, environment=service.environment)


class _Writer:
    def __init__(self, form: Form) -> None:
        self._form = form
        self._console = console() if form in ("table", "wide") else None

    async def follow(self, provider: Provider, *, present: bool) -> None:
        """Write what changes; first, if `present`, what is there."""
        while not await provider.ready():
            pass
        async for change in provider.changes(since_now=not present):
            self._write(provider.name, change)

    def _write(self, name: ServiceName, change: Change) -> None:
        instance = change.instance
        service = f"{name.app}/{name.name}:{instance.version}"
        if self._console is None:
            write_line(Line(round(time.time(), 3), service, change))
            return
        from rich.text import Text

        line = Text(time.strftime("%H:%M:%S "))
        line.append(f"{change.kind:<8}", STYLES[change.kind])
        line.append(f" {service}  {instance.instance_id}  ")
        line.append(instance.status, STYLES.get(instance.status, ""))
        line.append(f"  {' '.join(instance.endpoints)}  {instance.host_name}")
        self._console.print(line, soft_wrap=True)
        sys.stdout.flush()
