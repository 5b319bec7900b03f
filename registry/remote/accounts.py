"""`accounts`: who may ask the registry, and the tokens of machines."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from registry.client.accounts import Account, Accounts, MachineToken
from registry.remote.asking import NEW_PASSWORD_VARIABLE, Asking, asks, password_of, prompted
from registry.remote.failing import Exit, Failure
from registry.remote.reading import moment
from registry.remote.writing import Column, write_rows

#: Verbs of `accounts` that work on the store rather than over HTTP (`registry.command`), and what they are for.
ON_THE_STORE: Final = {
    "reset-root": "on the store: give the account root a new password",
    "rotate-key": "on the store: sign tokens with a new key from now on",
}
ACCOUNT_COLUMNS: Final = (
    Column[Account]("ACCOUNT", lambda row: row.name),
    Column[Account]("ROLES", lambda row: " ".join(row.roles)),
    Column[Account]("STATUS", lambda row: row.status),
    Column[Account]("CREATED", lambda row: moment(row.create_time), wide=True),
    Column[Account]("CHANGED", lambda row: moment(row.update_time), wide=True),
)
TOKEN_COLUMNS: Final = (
    Column[MachineToken]("TOKEN OF", lambda row: row.name),
    Column[MachineToken]("ROLES", lambda row: " ".join(row.roles)),
    Column[MachineToken]("UNTIL", lambda row: moment(str(row.expires_at))),
    Column[MachineToken]("BY", lambda row: row.created_by, wide=True),
)
ROLES: Final = click.option("--role", "-r", "roles", multiple=True, metavar="ROLE", help="A role it has; repeatable.")


@click.group()
def accounts() -> None:
    """Accounts of a registry, and tokens of machines.

    New passwords are asked for, or taken from REGISTRY_NEW_PASSWORD.

    \b
    registry accounts list
    registry accounts create ann --role developer
    registry accounts tokens give prometheus --role scraper --for 8760h > token
    """


for _name, _about in ON_THE_STORE.items():
    accounts.add_command(click.Command(_name, help=_about, add_help_option=False))


@accounts.command("list")
@asks
async def list_accounts(asking: Asking) -> int:
    """List all accounts."""
    async with asking.client() as client:
        write_rows(asking.form, await Accounts(client.api.calls).all(), ACCOUNT_COLUMNS)
    return Exit.DONE


@accounts.command()
@click.argument("name")
@ROLES
@asks
async def create(asking: Asking, name: str, roles: tuple[str, ...]) -> int:
    """Create an account.

    \b
    registry accounts create ann --role developer
    """
    if not roles:
        raise Failure(Exit.USAGE, f"what {name} may do is missing; give --role, `registry roles list` lists them")
    async with asking.client() as client:
        await Accounts(client.api.calls).create(name, new_password_of(name), roles)
    return done(f"account {name} is created")


@accounts.command()
@click.argument("name")
@ROLES
@click.option("--status", type=click.Choice(("active", "inactive")), default=None, help="Whether it may log in.")
@asks
async def change(asking: Asking, name: str, roles: tuple[str, ...], status: str | None) -> int:
    """Change the roles or the status of an account; the roles that are given replace those that it has.

    \b
    registry accounts change ann --role developer --role scraper
    registry accounts change ann --status inactive
    """
    if not roles and not status:
        raise Failure(Exit.USAGE, f"what changes of {name} is missing; give --role or --status")
    async with asking.client() as client:
        await Accounts(client.api.calls).change(name, roles, status or "")
    return done(f"account {name} is changed")


@accounts.command()
@click.argument("name")
@asks
async def delete(asking: Asking, name: str) -> int:
    """Delete an account; its tokens count no more."""
    async with asking.client() as client:
        await Accounts(client.api.calls).delete(name)
    return done(f"account {name} is deleted")


@accounts.command()
@click.argument("name", required=False)
@asks
async def password(asking: Asking, name: str | None) -> int:
    """Set a password: your own, or as an admin that of another account. Tokens that were given before count no more.

    \b
    registry accounts password
    registry accounts password ann
    """
    own = asking.account
    whose = name or own
    if not whose:
        raise Failure(Exit.USAGE, "whose password it is, is missing; give its NAME, or log in")
    current = password_of(whose) if whose == own else ""
    async with asking.client(keep=False) as client:
        await Accounts(client.api.calls).set_password(whose, new_password_of(whose), current)
    return done(f"the password of {whose} is set{'; log in with it' if whose == own else ''}")


def new_password_of(name: str) -> str:
    """What is to be the password of an account; typed twice where it is asked for."""
    return os.environ.get(NEW_PASSWORD_VARIABLE, "") or prompted(
        f"New password of {name}", f"the new password of {name} is missing; set {NEW_PASSWORD_VARIABLE}", twice=True
    )


def done(message: str) -> int:
    """Say that it is done."""
    sys.stdout.write(f"{message}\n")
    return Exit.DONE


# -- tokens of machines ------------------------------------------------------------------------------------------------


@accounts.group()
def tokens() -> None:
    """Tokens of machines: they have roles of their own, and belong to no account."""


@tokens.command("list")
@asks
async def list_tokens(asking: Asking) -> int:
    """List whose tokens there are, and until when they count."""
    async with asking.client() as client:
        write_rows(asking.form, await Accounts(client.api.calls).machine_tokens(), TOKEN_COLUMNS)
    return Exit.DONE


@tokens.command()
@click.argument("name")
@ROLES
@click.option("--for", "lasts", default="", metavar="TIME", help="How long it counts, 15m to 8784h.  [2160h]")
@asks
async def give(asking: Asking, name: str, roles: tuple[str, ...], lasts: str) -> int:
    """Give a token to a machine, and write it; it is shown this once.

    \b
    registry accounts tokens give prometheus --role scraper --for 8760h > token
    """
    async with asking.client() as client:
        token = await Accounts(client.api.calls).give_machine_token(name, roles, lasts)
    return done(token)


@tokens.command()
@click.argument("name")
@asks
async def revoke(asking: Asking, name: str) -> int:
    """Revoke the token of a machine."""
    async with asking.client() as client:
        await Accounts(client.api.calls).revoke_machine_token(name)
    return done(f"the token of {name} is revoked")
