"""`explain` and `diff`: why something is as it is, and what is not as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

import click
from msgspec import Struct
from msgspec.structs import replace

from registry.client.past import Difference, Explanation, FindExplanation, Past
from registry.remote.asked import PAST_TIMEOUT_S, instance_of, question, when
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit
from registry.remote.history import EVENT_COLUMNS, changes_text, service_text
from registry.remote.naming import provider_of
from registry.remote.reading import ENVIRONMENT
from registry.remote.writing import Column, write_json, write_one, write_rows


class Side(Struct, frozen=True):
    """One instance that a find has, or had in the hour before."""

    version: str
    instance_id: str
    about: str


SIDE_COLUMNS: Final = (
    Column[Side]("VERSION", lambda row: row.version),
    Column[Side]("INSTANCE", lambda row: row.instance_id),
    Column[Side]("WHY", lambda row: row.about),
)


@click.command()
@click.argument("name")
@click.argument("instance", required=False, default="")
@ENVIRONMENT
@click.option("--at", default="", metavar="TIME", help="At this time: 10m (ago), RFC 3339, a position.  [now]")
@asks
async def explain(asking: Asking, name: str, instance: str, env: str, at: str) -> int:
    """Say where an instance is and why; without an instance, why a find has what it has.

    The exit code is 1 when the registry has never seen the instance.

    \b
    registry explain shop/cart 3f1c
    registry explain shop/cart:1.0.0+ --at 5m
    """
    async with asking.client(timeout_s=PAST_TIMEOUT_S) as client:
        past = Past(client.api.calls, asking.options.project)
        found: Explanation | FindExplanation
        if instance:
            found = await past.explain(*await instance_of(client.api, past, name, instance, env), at=when(at))
        else:
            wanted = await provider_of(client.api, name, env)
            found = await past.explain_find(wanted.app, wanted.name, wanted.environment, wanted.version, when(at))
    if asking.form in ("json", "ndjson"):
        write_one(asking.form, found)
    else:
        sys.stdout.write(found.sentence + "\n\n")
        if isinstance(found, Explanation):
            write_rows(asking.form, found.events, EVENT_COLUMNS)
        else:
            write_rows(asking.form, list(_sides(found)), SIDE_COLUMNS)
    unseen = isinstance(found, Explanation) and found.state in ("never seen", "before history")
    return Exit.NOT_FOUND if unseen else Exit.DONE


def _sides(found: FindExplanation) -> Iterable[Side]:
    for version in found.versions:
        if version.count and not version.chosen:
            yield Side(version.version, "", f"{version.count} instance(s) of a version that is not asked for")
        for there in version.instances if version.chosen else ():
            yield Side(version.version, there.instance_id, f"{there.status}, registered at position {there.registered}")
        for gone in version.left:
            yield Side(version.version, gone.instance_id, gone.sentence)


class Different(Struct, frozen=True):
    """One row of `diff`."""

    kind: str
    what: Difference


DIFF_COLUMNS: Final = (
    Column[Different]("", lambda row: row.kind),
    Column[Different]("SERVICE", lambda row: service_text(row.what.service)),
    Column[Different]("INSTANCE", lambda row: row.what.instance_id),
    Column[Different]("WHAT CHANGED", lambda row: changes_text(row.what.changes)),
)


@click.command()
@click.argument("name", required=False, default="")
@ENVIRONMENT
@click.option("--from", "since", required=True, metavar="TIME", help="This time: 10m (ago), RFC 3339, a position.")
@click.option("--to", "until", default="", metavar="TIME", help="The other time.  [now]")
@asks
async def diff(asking: Asking, name: str, env: str, since: str, until: str) -> int:
    """Say what is not the same as at another time. The exit code is 1 when something is not.

    \b
    registry diff --from 10m
    registry diff shop/cart --from 2026-11-29T14:00:00Z --to 2026-11-29T15:00:00Z
    """
    async with asking.client(timeout_s=PAST_TIMEOUT_S) as client:
        past = Past(client.api.calls, asking.options.project)
        asked = replace(await question(client.api, name, env), since=when(since), until=when(until))
        found = await past.diff(asked)
    rows = [
        Different(kind, one)
        for part in (found.services, found.instances)
        for kind, several in (("added", part.added), ("removed", part.removed), ("changed", part.changed))
        for one in several
    ]
    if asking.form == "json":
        write_json(found)
    elif rows or asking.form == "ndjson":
        write_rows(asking.form, rows, DIFF_COLUMNS)
    else:
        sys.stdout.write("nothing is different\n")
    return Exit.NOT_FOUND if rows else Exit.DONE
