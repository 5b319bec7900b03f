"""`roles`: named lists of what is allowed."""

from __future__ import annotations

from typing import Final

import click

from registry.client.accounts import Accounts, Permission, Resource, Role
from registry.remote.accounts import done
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit, Failure
from registry.remote.writing import Column, pairs, write_rows

ROLE_COLUMNS: Final = (
    Column[Role]("ROLE", lambda row: row.name),
    Column[Role]("ALLOWS", lambda row: "; ".join(map(permission_text, row.perms))),
)
ALLOW: Final = click.option(
    "--allow",
    "allowed",
    multiple=True,
    required=True,
    metavar="'VERBS TYPES [LABEL=VALUE]…'",
    help="What the role allows; repeatable.",
)


@click.group()
def roles() -> None:
    """Roles: named lists of what is allowed.

    A permission is written as 'VERBS TYPES [LABEL=VALUE]…'. Verbs are get, create, update, delete, or *; types are
    service, service/schema, governance, ops, account and role; labels are environment, appId and serviceName. Commas
    stand between several verbs or types.

    \b
    registry roles list
    registry roles create shop-reader --allow 'get service,service/schema appId=shop'
    """


@roles.command("list")
@asks
async def list_roles(asking: Asking) -> int:
    """List all roles, and what each allows."""
    async with asking.client() as client:
        write_rows(asking.form, await Accounts(client.api.calls).roles(), ROLE_COLUMNS)
    return Exit.DONE


@roles.command("create")
@click.argument("name")
@ALLOW
@asks
async def create_role(asking: Asking, name: str, allowed: tuple[str, ...]) -> int:
    """Create a role.

    \b
    registry roles create shop-reader --allow 'get service,service/schema appId=shop'
    registry roles create scraper --allow 'get ops'
    """
    async with asking.client() as client:
        await Accounts(client.api.calls).create_role(name, [parse_permission(text) for text in allowed])
    return done(f"role {name} is created")


@roles.command("change")
@click.argument("name")
@ALLOW
@asks
async def change_role(asking: Asking, name: str, allowed: tuple[str, ...]) -> int:
    """Replace what a role allows. It counts at once, for tokens that were given before too."""
    async with asking.client() as client:
        await Accounts(client.api.calls).change_role(name, [parse_permission(text) for text in allowed])
    return done(f"role {name} is changed")


@roles.command("delete")
@click.argument("name")
@asks
async def delete_role(asking: Asking, name: str) -> int:
    """Delete a role that nobody has."""
    async with asking.client() as client:
        await Accounts(client.api.calls).delete_role(name)
    return done(f"role {name} is deleted")


def parse_permission(text: str) -> Permission:
    """Read `get,create service appId=shop`; the registry says which verbs, types and labels there are."""
    words = text.split()
    labels = dict(word.split("=", 1) for word in words[2:] if "=" in word)
    if len(words) < 2 or len(labels) != len(words) - 2:
        raise Failure(Exit.USAGE, f"{text!r} is no permission; write 'VERBS TYPES [LABEL=VALUE]…'")
    return Permission([Resource(type_, labels) for type_ in words[1].split(",")], words[0].split(","))


def permission_text(permission: Permission) -> str:
    """Write it as `parse_permission` reads it; one for each set of labels."""
    by_labels: dict[str, list[str]] = {}
    for resource in permission.resources:
        by_labels.setdefault(pairs(resource.labels), []).append(resource.type)
    verbs = ",".join(permission.verbs)
    return "; ".join(f"{verbs} {','.join(types)} {labels}".rstrip() for labels, types in by_labels.items())
