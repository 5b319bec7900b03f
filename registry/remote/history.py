"""`history` and `events`: what happened, and what happens."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterable
from typing import Any, Final

import click
from msgspec.structs import replace

from registry.client.api import Api
from registry.client.backoff import delay_s
from registry.client.errors import Unreachable
from registry.client.past import Event, FieldChange, Name, Past, Question
from registry.remote.asked import PAST_TIMEOUT_S, instance_of, question, when
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit
from registry.remote.reading import ENVIRONMENT
from registry.remote.waiting import interrupted
from registry.remote.writing import Column, write_json, write_line, write_rows

#: Events of one request.
PAGE_MAX: Final = 1000
#: Seconds that one request of `--follow` waits; less than a request may last, for nothing may happen.
WAIT_S: Final = 20.0
#: Of one `history`.
LISTED_MAX: Final = 100_000

EVENT_COLUMNS: Final = (
    Column[Event]("AT", lambda row: row.at),
    Column[Event]("EVENT", lambda row: row.kind),
    Column[Event]("SERVICE", lambda row: service_text(row.service) or row.service_id),
    Column[Event]("INSTANCE", lambda row: row.instance_id),
    Column[Event]("WHAT CHANGED", lambda row: _effect(row)),
    Column[Event]("BY", lambda row: _who(row)),
    Column[Event]("POSITION", lambda row: row.position, wide=True),
    Column[Event]("THROUGH", lambda row: row.replica, wide=True),
    Column[Event]("REQUEST", lambda row: row.actor.request_id, wide=True),
)
KINDS: Final = click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only such events; repeatable.")
ACTOR: Final = click.option("--by", "actor", default="", metavar="WHO", help="Only what this address or account did.")


def service_text(name: Name | None) -> str:
    """As verbs take it; the environment in front, where there is one."""
    if name is None or not name.service_name:
        return ""
    return f"{name.env} {name.app_id}/{name.service_name}:{name.version}".strip()


def _effect(event: Event) -> str:
    if event.effect == "refused":
        return f"refused with {event.error_code}: {event.detail}"
    if event.merged_into:
        return f"merged into {event.merged_into}"
    more = f" and {event.changes_left_out} more" if event.changes_left_out else ""
    return changes_text(event.changes) + more


def _who(event: Event) -> str:
    return f"{event.actor.account}@{event.actor.address}" if event.actor.account else event.actor.address


def changes_text(changes: Iterable[FieldChange]) -> str:
    """`status: UP -> DOWN`; of what is new or gone only the one side."""
    return "; ".join(
        f"{change.field}: " + " -> ".join(_value(side) for side in (change.before, change.after) if side is not None)
        if change.field not in ("instance", "service")
        else f"{'new' if change.before is None else 'gone'}"
        for change in changes
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value)) if isinstance(value, list) else str(value)


# -- history and events ------------------------------------------------------------------------------------------------


@click.command()
@click.argument("name", required=False, default="")
@click.argument("instance", required=False, default="")
@ENVIRONMENT
@KINDS
@ACTOR
@click.option("--from", "since", default="", metavar="TIME", help="From this time on: 10m (ago), RFC 3339, a position.")
@click.option("--to", "until", default="", metavar="TIME", help="Up to this time.")
@click.option("--limit", type=click.IntRange(1, LISTED_MAX), default=100, show_default=True, help="Events.")
@click.option("--oldest", is_flag=True, help="The oldest first, rather than the newest.")
@asks
async def history(
    asking: Asking,
    name: str,
    instance: str,
    env: str,
    kinds: tuple[str, ...],
    actor: str,
    since: str,
    until: str,
    limit: int,
    oldest: bool,
) -> int:
    """List what happened, to everything or to one service or instance; what is gone may be named too.

    \b
    registry history --from 10m
    registry history shop/cart:1.0.0 --kind instance-expired --kind instance-unregistered
    registry history cart 3f1c --oldest -o wide
    """
    async with asking.client(timeout_s=PAST_TIMEOUT_S) as client:
        past = Past(client.api.calls, asking.options.project)
        asked = await _question(client.api, past, name, instance, env)
        asked = replace(asked, kinds=kinds, actor=actor, since=when(since), until=when(until))
        events: list[Event] = []
        onward: str | None = ""
        while onward is not None and len(events) < limit:
            place = {"after" if oldest else "before": onward}
            page = await past.page(asked, min(PAGE_MAX, limit - len(events)), oldest_first=oldest, **place)
            events += page.events
            onward = page.next or None
    write_rows(asking.form, events, EVENT_COLUMNS)
    return Exit.DONE


async def _question(api: Api, past: Past, name: str, instance: str, env: str) -> Question:
    if not instance:
        return await question(api, name, env)
    service_id, instance_id = await instance_of(api, past, name, instance, env)
    return Question(service_id=service_id, instance_id=instance_id)


@click.command()
@click.argument("name", required=False, default="")
@click.argument("instance", required=False, default="")
@ENVIRONMENT
@KINDS
@ACTOR
@click.option("-n", "number", type=click.IntRange(0, PAGE_MAX), default=10, show_default=True, help="Events at first.")
@click.option("--after", default="", metavar="POSITION", help="Those behind this position, rather than the newest.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@asks
async def events(
    asking: Asking,
    name: str,
    instance: str,
    env: str,
    kinds: tuple[str, ...],
    actor: str,
    number: int,
    after: str,
    follow: bool,
) -> int:
    """Write what happened last, the newest at the end; with --follow also what happens, as it happens.

    None is left out and none is written twice, whatever becomes of the connection. What has no end is JSON by line.

    \b
    registry events
    registry events shop/cart --follow -o ndjson
    """
    async with asking.client(timeout_s=PAST_TIMEOUT_S) as client:
        past = Past(client.api.calls, asking.options.project)
        asked = replace(await _question(client.api, past, name, instance, env), kinds=kinds, actor=actor)
        page = await past.page(asked, max(number, 1), oldest_first=bool(after), after=after)
        shown = page.events if after else page.events[:number][::-1]
        if asking.form == "json" and not follow:
            write_json(shown)
            return Exit.DONE
        _write(asking, shown)
        if follow:
            # A page that is full ends before the end of the log; the feed goes on where it ended.
            place = page.next if after and page.next else page.position
            with interrupted():
                await _follow(asking, past, asked, place, min(WAIT_S, client.options.timeout_s * 0.8))
    return Exit.DONE


async def _follow(asking: Asking, past: Past, asked: Question, place: str, wait_s: float) -> None:
    """Write what happens behind a position, until cancelled."""
    failures = 0
    while True:
        try:
            heard = await past.listen(asked, place, wait_s)
        except Unreachable as exc:
            if not failures:
                sys.stderr.write(f"no registry answers, it is asked again: {exc}\n")
            failures += 1
            await asyncio.sleep(delay_s(failures, random.random(), cap_s=10.0))
            continue
        failures = 0
        _write(asking, heard.events)
        place = heard.position


def _write(asking: Asking, found: Iterable[Event]) -> None:
    for event in found:
        if asking.form in ("json", "ndjson"):
            write_line(event)
        else:
            cells = [column.text(event) for column in EVENT_COLUMNS if asking.form == "wide" or not column.wide]
            sys.stdout.write("  ".join(filter(None, cells)) + "\n")
            sys.stdout.flush()
