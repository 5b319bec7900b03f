"""`top`: the registry, live."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import click

from registry.client import AsyncRegistry
from registry.client.errors import ClientError
from registry.client.listing import differences
from registry.client.wire import Details
from registry.domain.model import Instance
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit
from registry.remote.naming import name_of
from registry.remote.replicas import Replica, replicas
from registry.remote.status import REPLICA_COLUMNS
from registry.remote.waiting import interrupted
from registry.remote.writing import STYLES, console

#: Seconds over which churn is counted.
CHURN_S: Final = 60.0
#: Services that fit on a screen.
SHOWN_MAX: Final = 30
#: Changes that are remembered for the churn.
CHANGES_MAX: Final = 100_000


class Churn:
    """Changes of the last minute."""

    def __init__(self) -> None:
        self._instances: list[Instance] | None = None
        self._changes: deque[tuple[float, str]] = deque(maxlen=CHANGES_MAX)

    def see(self, instances: list[Instance], now: float) -> Counter[str]:
        """How many were added, removed and changed within the minute before `now`; the first look counts nothing."""
        if self._instances is not None:
            self._changes.extend((now, change.kind) for change in differences(self._instances, instances))
        self._instances = instances
        while self._changes and self._changes[0][0] <= now - CHURN_S:
            self._changes.popleft()
        return Counter(kind for _, kind in self._changes)


@click.command()
@click.option(
    "--every", type=click.FloatRange(0.5, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="Look once, and end.")
@asks
async def top(asking: Asking, every: float, once: bool) -> int:
    """Look at the registry live: services, instances, churn and replicas, until Ctrl-C.

    Where the output is no terminal, one look is written after the other.

    \b
    registry top
    registry top --once
    """
    from rich.live import Live

    output, churn = console(), Churn()

    def write(screen: Any) -> None:
        output.print(screen, "")
        sys.stdout.flush()

    async with asking.client() as client:
        screen = await _look(client, asking, churn)
        if once:
            output.print(screen)
        elif output.is_terminal:
            with Live(screen, console=output, screen=True, auto_refresh=False) as live, interrupted():
                await _look_on(client, asking, churn, every, lambda screen: live.update(screen, refresh=True))
        else:
            write(screen)
            with interrupted():
                await _look_on(client, asking, churn, every, write)
    return Exit.DONE


async def _look_on(
    client: AsyncRegistry, asking: Asking, churn: Churn, every: float, show: Callable[[Any], None]
) -> None:
    """Show one look after the other until cancelled. What fails from now on is shown too."""
    from rich.text import Text

    while True:
        await asyncio.sleep(every)
        try:
            screen = await _look(client, asking, churn)
        except ClientError as exc:
            screen = Text(f"no registry answers: {exc}", "red")
        show(screen)


async def _look(client: AsyncRegistry, asking: Asking, churn: Churn) -> Any:
    from rich.console import Group
    from rich.text import Text

    details = await client.api.all_details("instances")
    found = await replicas(client)
    instances = [instance for detail in details for instance in detail.instances]
    counted = churn.see(instances, time.monotonic())
    statuses = Counter(instance.status for instance in instances)
    head = Text(f"{time.strftime('%H:%M:%S')}  {asking.options.tenant}/{asking.options.project}  ")
    head.append(f"{len(details)} services  {len(instances)} instances  ")
    for status, number in sorted(statuses.items()):
        head.append(f"{number} {status}  ", STYLES.get(status, ""))
    head.append("in the last minute: ")
    for kind in ("added", "removed", "changed"):
        head.append(f"{counted[kind]} {kind}  ", STYLES[kind])
    return Group(head, Text(), _replica_table(found), Text(), _service_table(details))


def _replica_table(found: list[Replica]) -> Any:
    table = _table()
    columns = [column for column in REPLICA_COLUMNS if not column.wide]
    for column in columns:
        table.add_column(column.title, overflow="fold")
    for replica in found:
        table.add_row(*(column.text(replica) for column in columns), style="" if replica.is_ready else "red")
    return table


def _service_table(details: list[Details]) -> Any:
    table = _table()
    for title in ("SERVICE", "INSTANCES", "UP"):
        table.add_column(title)
    in_order = sorted(details, key=lambda detail: (-len(detail.instances), name_of(detail.micro_service)))
    for detail in in_order[:SHOWN_MAX]:
        up = sum(instance.status == "UP" for instance in detail.instances)
        table.add_row(name_of(detail.micro_service), str(len(detail.instances)), str(up))
    if len(in_order) > SHOWN_MAX:
        table.add_row(f"and {len(in_order) - SHOWN_MAX} more", "", "")
    return table


def _table() -> Any:
    from rich.table import Table

    return Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
