"""`services`, `instances`, `find` and `show`: what there is."""

from __future__ import annotations

import sys
import time
from typing import Final

import click
from msgspec import Struct

from registry.client.api import Found
from registry.client.wire import Details
from registry.domain.model import Instance, Microservice
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit, Failure
from registry.remote.naming import name_of, one, provider_of, several
from registry.remote.writing import Column, pairs, write_one, write_rows

ENVIRONMENT: Final = click.option("--env", default="", metavar="NAME", help="Only of this environment.")


class ServiceRow(Struct, frozen=True, rename="camel"):
    """One service version, and how many instances it has by status."""

    service: Microservice
    instances: dict[str, int]


class InstanceRow(Struct, frozen=True):
    """One instance, and the name of its service."""

    service: str
    instance: Instance


SERVICE_COLUMNS: Final = (
    Column[ServiceRow]("SERVICE", lambda row: name_of(row.service)),
    Column[ServiceRow]("INSTANCES", lambda row: str(sum(row.instances.values()))),
    Column[ServiceRow]("UP", lambda row: str(row.instances.get("UP", 0))),
    Column[ServiceRow]("ID", lambda row: row.service.service_id),
    Column[ServiceRow]("ALIAS", lambda row: row.service.alias, wide=True),
    Column[ServiceRow]("REGISTERED", lambda row: moment(row.service.timestamp), wide=True),
    Column[ServiceRow]("PROPERTIES", lambda row: pairs(row.service.properties), wide=True),
)
INSTANCE_COLUMNS: Final = (
    Column[InstanceRow]("SERVICE", lambda row: row.service),
    Column[InstanceRow]("INSTANCE", lambda row: row.instance.instance_id),
    Column[InstanceRow]("STATUS", lambda row: row.instance.status),
    Column[InstanceRow]("ENDPOINTS", lambda row: " ".join(row.instance.endpoints)),
    Column[InstanceRow]("HOST", lambda row: row.instance.host_name),
    Column[InstanceRow]("ZONE", lambda row: zone(row.instance), wide=True),
    Column[InstanceRow]("LEASE", lambda row: f"{row.instance.health_check.ttl_ms() // 1000} s", wide=True),
    Column[InstanceRow]("REGISTERED", lambda row: moment(row.instance.timestamp), wide=True),
    Column[InstanceRow]("PROPERTIES", lambda row: pairs(row.instance.properties), wide=True),
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@ENVIRONMENT
@click.option("--shared", is_flag=True, help="Those too that every tenant sees, such as SERVICECENTER.")
@asks
async def services(asking: Asking, names: tuple[str, ...], env: str, shared: bool) -> int:
    """List the services of a tenant, and how many instances each has.

    \b
    registry services
    registry services shop/cart --json
    """
    async with asking.client() as client:
        details = await client.api.all_details("instances", shared=shared)
        if names:
            wanted = {s.service_id for name in names for s in await several(client.api, name, env)}
            details = [detail for detail in details if detail.micro_service.service_id in wanted]
    rows = [ServiceRow(d.micro_service, _counted(d.instances)) for d in details if not env or _is_of(d, env)]
    write_rows(asking.form, sorted(rows, key=lambda row: name_of(row.service)), SERVICE_COLUMNS)
    return Exit.DONE


def _is_of(details: Details, environment: str) -> bool:
    return details.micro_service.environment == environment


def _counted(instances: list[Instance]) -> dict[str, int]:
    statuses = [instance.status for instance in instances]
    return {status: statuses.count(status) for status in sorted(set(statuses))}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@ENVIRONMENT
@asks
async def instances(asking: Asking, names: tuple[str, ...], env: str) -> int:
    """List the instances of services, or of all services.

    A service is named as [APP/]NAME[:VERSION], or by its id.

    \b
    registry instances
    registry instances shop/cart:1.0.0 --output wide
    """
    async with asking.client() as client:
        if names:
            chosen = [s for name in names for s in await several(client.api, name, env)]
        else:
            chosen = [s for s in await client.api.services() if not env or s.environment == env]
        rows = [
            InstanceRow(name_of(service), instance)
            for service in {service.service_id: service for service in chosen}.values()
            for instance in await client.api.instances(service.service_id)
        ]
    _write_instances(asking, rows)
    return Exit.DONE


def _write_instances(asking: Asking, rows: list[InstanceRow]) -> None:
    in_order = sorted(rows, key=lambda row: (row.service, row.instance.instance_id))
    if asking.form in ("json", "ndjson"):
        write_rows(asking.form, [row.instance for row in in_order], ())
    else:
        write_rows(asking.form, in_order, INSTANCE_COLUMNS)


@click.command()
@click.argument("name")
@ENVIRONMENT
@click.option(
    "--consumer", default="", metavar="NAME", help="As this service sees it; the find is remembered as its own."
)
@asks
async def find(asking: Asking, name: str, env: str, consumer: str) -> int:
    """Find the instances of a service as a consumer does.

    The version may be a rule: 1.0.0, 1.0.0+, 1.0.0-2.0.0, latest.

    \b
    registry find shop/cart
    registry find shop/cart:1.0.0+ --consumer shop/front:2.0.0
    """
    async with asking.client() as client:
        api = client.api
        by = (await one(api, consumer)).service_id if consumer else ""
        result = await api.find(await provider_of(api, name, env), "", by)
        assert isinstance(result, Found), "without a rev there is always an answer"
        names = {service.service_id: name_of(service) for service in await api.services(shared=True)}
    rows = [InstanceRow(names.get(i.service_id, i.service_id), i) for i in result.instances]
    if not rows:
        raise Failure(Exit.NOT_FOUND, f"{name} has no instance" + (f" that {consumer} may see" if consumer else ""))
    _write_instances(asking, rows)
    return Exit.DONE


@click.command()
@click.argument("name")
@ENVIRONMENT
@asks
async def show(asking: Asking, name: str, env: str) -> int:
    """Show everything about one service version: instances, schemas, tags, who finds whom.

    \b
    registry show shop/cart:1.0.0
    registry show shop/cart --json
    """
    async with asking.client() as client:
        service = await one(client.api, name, env)
        details = await client.api.details(service.service_id)
    if asking.form in ("json", "ndjson"):
        write_one(asking.form, details)
        return Exit.DONE
    lines = {
        "service": name_of(details.micro_service),
        "id": details.micro_service.service_id,
        "alias": details.micro_service.alias,
        "status": details.micro_service.status,
        "description": details.micro_service.description,
        "registered": moment(details.micro_service.timestamp),
        "properties": pairs(details.micro_service.properties),
        "tags": pairs(details.tags),
        "schemas": " ".join(sorted(schema.schema_id for schema in details.schema_infos)),
        "finds": " ".join(sorted(map(name_of, details.providers))),
        "found by": " ".join(sorted(map(name_of, details.consumers))),
    }
    for title, text in lines.items():
        if text:
            sys.stdout.write(f"{title + ':':<12} {text}\n")
    if details.instances:
        sys.stdout.write("\n")
        _write_instances(asking, [InstanceRow(name_of(details.micro_service), i) for i in details.instances])
    return Exit.DONE


def moment(seconds: str) -> str:
    """A time stamp of the API, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(int(seconds))) if seconds.isdigit() else ""


def zone(instance: Instance) -> str:
    info = instance.data_center_info
    return f"{info.region}/{info.available_zone}" if info else ""
