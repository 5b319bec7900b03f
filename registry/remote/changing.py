"""`register` and `unregister`: what an operator does by hand."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from registry.client.names import VERSION_DEFAULT, parse_name
from registry.domain.model import STATUSES, HealthCheck, Instance, Microservice
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit, Failure
from registry.remote.naming import name_of, one, several
from registry.remote.waiting import interrupted

SCHEMA_MAX: Final = 4 << 20


@click.command()
@click.argument("name")
@click.argument("endpoints", nargs=-1, metavar="[ENDPOINT]…")
@click.option("--env", default="", metavar="NAME", help="The environment of the service.")
@click.option("--property", "-p", "properties", multiple=True, metavar="KEY=VALUE", help="Of the instance; repeatable.")
@click.option("--status", type=click.Choice(STATUSES), default="UP", help="Of the instance.")
@click.option("--id", "instance_id", default="", metavar="ID", help="Of the instance; else that of its endpoints.")
@click.option("--interval", type=click.IntRange(1, 3600), default=30, show_default=True, help="Seconds between beats.")
@click.option("--openapi", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A document in JSON.")
@click.option("--once", is_flag=True, help="Leave it to its lease, rather than beat until Ctrl-C.")
@asks
async def register(
    asking: Asking,
    name: str,
    endpoints: tuple[str, ...],
    env: str,
    properties: tuple[str, ...],
    status: str,
    instance_id: str,
    interval: int,
    openapi: Path | None,
    once: bool,
) -> int:
    """Register an instance of a service, and beat for it until Ctrl-C, which unregisters it.

    \b
    registry register shop/cart:1.0.0 rest://10.0.0.1:8080
    registry register shop/cart rest://10.0.0.1:8080 -p colour=blue --once
    """
    wanted = parse_name(name, env)
    if not wanted.is_exact and wanted != parse_name(name.partition(":")[0], env):
        raise Failure(Exit.USAGE, f"{name}: what is registered has one version, as in shop/cart:1.0.0")
    version = wanted.version if wanted.is_exact else VERSION_DEFAULT
    service = Microservice(environment=env, app_id=wanted.app, service_name=wanted.name, version=version)
    instance = Instance(
        instance_id=instance_id,
        status=status,
        properties=dict(map(_pair, properties)),
        health_check=HealthCheck("push", 0, interval, 3),
    )
    async with asking.client() as client:
        registered = await client.register(
            service, endpoints, instance=instance, openapi=_document(openapi), wait_s=asking.options.timeout_s
        )
        if not registered.is_registered:
            raise Failure(Exit.UNREACHABLE, "no registry answers; give its address as --server or REGISTRY_SERVER")
        sys.stdout.write(f"{name_of(service)} {registered.instance_id}\n")
        sys.stdout.flush()
        if once:
            registered.leave_it()
            return Exit.DONE
        sys.stderr.write("beating; Ctrl-C unregisters it\n")
        with interrupted():
            await asyncio.Event().wait()
    return Exit.DONE


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(Exit.USAGE, f"{text!r} is no property; write KEY=VALUE")
    return key, value


def _document(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        if path.stat().st_size > SCHEMA_MAX:
            raise ValueError(f"it is larger than {SCHEMA_MAX} bytes")
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, ValueError, msgspec.MsgspecError) as exc:
        raise Failure(Exit.USAGE, f"{path} is no OpenAPI document in JSON: {exc}") from exc


@click.command()
@click.argument("name")
@click.argument("instance", required=False)
@click.option("--env", default="", metavar="NAME", help="Only of this environment.")
@click.option("--force", is_flag=True, help="A service with its instances, and though others find it.")
@asks
async def unregister(asking: Asking, name: str, instance: str | None, env: str, force: bool) -> int:
    """Unregister one instance of a service, or a whole service version.

    \b
    registry unregister shop/cart:1.0.0 3f1c…     # the instance whose id begins so
    registry unregister shop/cart:1.0.0 --force   # the service, with all its instances
    """
    async with asking.client() as client:
        api = client.api
        if instance is None:
            service = await one(api, name, env)
            await api.unregister_service(service.service_id, force=force)
            sys.stdout.write(f"{name_of(service)} is unregistered\n")
            return Exit.DONE
        candidates = [
            (service, found)
            for service in await several(api, name, env)
            for found in await api.instances(service.service_id)
            if found.instance_id.startswith(instance)
        ]
        exact = [pair for pair in candidates if pair[1].instance_id == instance] or candidates
        if len(exact) != 1:
            said = f"{len(exact)} instances of {name} begin so" if exact else f"{name} has no instance {instance}"
            raise Failure(Exit.USAGE if exact else Exit.NOT_FOUND, f"{said}; `registry instances {name}` lists them")
        service, found = exact[0]
        await api.unregister_instance(service.service_id, found.instance_id)
    sys.stdout.write(f"{found.instance_id} of {name_of(service)} is unregistered\n")
    return Exit.DONE
