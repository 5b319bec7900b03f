"""`import`: bring what a running registry holds into another one."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Final

import click
from msgspec import Struct
from msgspec.structs import replace

from registry.client.errors import Refused
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit
from registry.remote.moving import (
    AddInstance,
    AddProviders,
    AddService,
    Difference,
    PutSchema,
    RemoveSchema,
    SetProperties,
    SetTags,
    Step,
    differences,
    steps,
)
from registry.remote.reaching import Taker, each, picture
from registry.remote.writing import Column, write_one, write_rows


class Refusal(Struct, frozen=True):
    """A step that the registry did not want, and why."""

    service: str
    what: str
    why: str


class Report(Struct, frozen=True, rename="camel"):
    """What `import --json` writes. `brought` counts steps by what they bring; `left` is what is different now."""

    brought: dict[str, int]
    refused: list[Refusal]
    left: list[Difference]


#: What each kind of step brings.
BRINGS: Final[dict[type[Step], str]] = {
    AddService: "services",
    SetProperties: "properties",
    SetTags: "tags",
    PutSchema: "schemas",
    RemoveSchema: "schemas",
    AddProviders: "dependencies",
    AddInstance: "instances",
}
COLUMNS: Final = (
    Column[Difference]("SERVICE", lambda row: row.service),
    Column[Difference]("INSTANCE", lambda row: row.instance),
    Column[Difference]("WHAT", lambda row: row.what),
    Column[Difference]("", lambda row: "" if row.step is not None else "stays so"),
)


def at(asking: Asking, servers: str) -> Asking:
    """The same tenant at another registry, with the account that is logged in there."""
    return replace(asking, options=replace(asking.options, servers=servers), user="")


@click.command("import")
@click.option("--from", "source", required=True, metavar="URL,…", help="The registry that everything is taken from.")
@click.option("--apply", is_flag=True, help="Do it, rather than say what would be done.")
@asks
async def import_(asking: Asking, source: str, apply: bool) -> int:
    """Bring the services and instances of a running registry into the one at --server.

    Services come with their ids, schemas, tags, properties and with what they find. Living instances come with one
    lease: they live on only if their clients move, or a mirror beats for them. Nothing is removed, and an import that
    was interrupted is begun again. Without --apply nothing is changed: the command lists what would be, and ends
    with 1 if that is anything.

    \b
    registry import --from http://old:30100 --server http://new:30100
    registry import --from http://old:30100 --server http://new:30100 --tenant acme --apply
    """
    there = at(asking, source)
    async with there.client() as old, asking.client() as new:
        target = await picture(new.api)
        found = differences(await picture(old.api), target, there.place)
        if not apply:
            _write(asking, found)
            return Exit.NOT_FOUND if found else Exit.DONE
        taker = Taker(new.api, target)
        brought, refused = await take(taker, steps(found))
        left = differences(await picture(old.api), await picture(new.api), there.place)
    report = Report(brought, refused, left)
    _write_report(asking, report)
    return Exit.NOT_FOUND if left or refused else Exit.DONE


async def take(taker: Taker, wanted: Sequence[Step]) -> tuple[dict[str, int], list[Refusal]]:
    """Take steps: first services, then what belongs to them, then instances. What was brought, and what refused."""
    brought: Counter[str] = Counter()
    phases = (
        [step for step in wanted if isinstance(step, AddService)],
        [step for step in wanted if not isinstance(step, AddService | AddInstance)],
        [step for step in wanted if isinstance(step, AddInstance)],
    )
    refused: list[Refusal] = []

    async def one(step: Step) -> None:
        try:
            await taker.take(step)
            brought[BRINGS[type(step)]] += 1
        except Refused as exc:
            refused.append(Refusal(step.key.text(), BRINGS[type(step)], str(exc)))

    for phase in phases:
        await each(phase, one)
    return {what: brought[what] for what in BRINGS.values() if what in brought}, refused


def _write(asking: Asking, found: Sequence[Difference]) -> None:
    if asking.form in ("json", "ndjson") or found:
        write_rows(asking.form, found, COLUMNS)
    else:
        sys.stdout.write("nothing is different\n")


def _write_report(asking: Asking, report: Report) -> None:
    if asking.form in ("json", "ndjson"):
        write_one(asking.form, report)
        return
    brought = ", ".join(f"{number} {name}" for name, number in report.brought.items()) or "nothing"
    sys.stdout.write(f"brought: {brought}\n")
    for refusal in report.refused:
        sys.stdout.write(f"refused for {refusal.service}, {refusal.what}: {refusal.why}\n")
    if report.left:
        sys.stdout.write("what is different now:\n")
    _write(asking, report.left)
