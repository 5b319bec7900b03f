"""`login`: give the password once, and have a token kept for the verbs that follow."""

from __future__ import annotations

import sys
import time

import click

from registry.client import AsyncRegistry
from registry.client.accounts import Accounts
from registry.client.tokens import life_s
from registry.remote import kept
from registry.remote.asking import Asking, asks, password_of
from registry.remote.failing import Exit, Failure


@click.command()
@click.option("--for", "lasts", default="", metavar="TIME", help="How long the token counts, 15m to 24h.  [12h]")
@click.option("--forget", is_flag=True, help="Log out: forget the token that is kept.")
@asks
async def login(asking: Asking, lasts: str, forget: bool) -> int:
    """Log in as --user, and keep the token for the verbs that follow.

    It is kept in ~/.config/registry/tokens.json, which only you can read, for the addresses that were given. The verbs
    ask for the password again when the token has ended; where REGISTRY_PASSWORD is set they renew it by themselves.

    \b
    registry login --user ann
    registry login --user ann --server https://registry.example:30100 --for 1h
    registry login --forget
    """
    known = kept.kept_at(asking.place)
    if forget:
        kept.forget(asking.place)
        said = f"{known.user} is logged out" if known else "nobody was logged in"
        sys.stdout.write(f"{said} at {asking.place}\n")
        return Exit.DONE
    user = asking.user or (known.user if known else "")
    if not user:
        raise Failure(Exit.USAGE, "who logs in is missing; give it as --user or REGISTRY_USER")
    async with AsyncRegistry(options=asking.options, learn=False, watch=False) as client:
        token = await Accounts(client.api.calls).log_in(user, password_of(user), lasts)
    kept.keep(asking.place, kept.Kept(user, token))
    now = time.time()
    ends = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now + life_s(token, now)))
    sys.stdout.write(f"{user} is logged in at {asking.place} until {ends}\n")
    return Exit.DONE
