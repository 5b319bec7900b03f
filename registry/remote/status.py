"""`status`: whether the registry serves, and from where."""

from __future__ import annotations

import sys
from typing import Final

import click
from msgspec import Struct

from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit
from registry.remote.replicas import Replica, replicas
from registry.remote.writing import Column, write_one, write_rows


class Status(Struct, frozen=True, rename="camel"):
    """What `status --json` says. `services` counts versions."""

    version: str
    services: int
    instances: int
    replicas: list[Replica]


REPLICA_COLUMNS: Final = (
    Column[Replica]("REPLICA", lambda row: row.address),
    Column[Replica]("STATE", lambda row: "ready" if row.is_ready else row.problem),
    Column[Replica]("VERSION", lambda row: row.version),
    Column[Replica]("STORE SILENT", lambda row: seconds(row.figures.get("registry_store_silent_seconds"))),
    Column[Replica]("WATCHERS", lambda row: count(row.figures.get("registry_watchers"))),
    Column[Replica]("CONNECTIONS", lambda row: count(row.figures.get("registry_connections"))),
    Column[Replica]("EVENTS", lambda row: count(row.figures.get("registry_events_applied_total"))),
    Column[Replica]("LAG", lambda row: count(row.figures.get("registry_log_lag_events"))),
    Column[Replica]("ZONE", lambda row: row.zone, wide=True),
)


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def count(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


@click.command()
@asks
async def status(asking: Asking) -> int:
    """Say how the registry is: its replicas, and what they hold of the tenant.

    The exit code is 1 when a replica is not ready, and 3 when no registry answers.

    \b
    registry status
    registry status --json --server a:30100,b:30100
    """
    async with asking.client() as client:
        found = await replicas(client)
        version = await client.api.version()
        details = await client.api.all_details("instances")
    said = Status(version.version, len(details), sum(len(d.instances) for d in details), found)
    if asking.form in ("json", "ndjson"):
        write_one(asking.form, said)
    else:
        tenant = f"{asking.options.tenant}/{asking.options.project}"
        sys.stdout.write(
            f"registry {said.version}: {said.services} services, {said.instances} instances of {tenant}\n\n"
        )
        write_rows(asking.form, found, REPLICA_COLUMNS)
    return Exit.DONE if all(replica.is_ready for replica in found) else Exit.NOT_FOUND
