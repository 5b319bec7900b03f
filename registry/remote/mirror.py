"""`mirror`: while clients move one by one, each registry shows what the other one has."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import groupby

import click
from msgspec.structs import replace

from registry.client.calls import steady
from registry.client.errors import ClientError
from registry.remote import following
from registry.remote.asking import Asking, asks
from registry.remote.failing import Exit
from registry.remote.importing import BRINGS, COLUMNS, at
from registry.remote.mirroring import Direction, Put, Remove, Step, copies, done, hear, pause_s, plan, report
from registry.remote.reaching import each
from registry.remote.side import Side
from registry.remote.waiting import interrupted
from registry.remote.writing import write_rows


@click.command()
@click.option("--from", "source", required=True, metavar="URL,…", help="The registry that clients move from.")
@click.option("--to", "target", required=True, metavar="URL,…", help="The registry that they move to.")
@click.option("--both", is_flag=True, help="What is registered at --to is shown at --from too.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3600), default=2.0, show_default=True, help="Seconds between looks."
)
@click.option("--report", "reports", is_flag=True, help="Say what is different between originals and copies, and end.")
@click.option("--clear", is_flag=True, help="Remove all copies, and end.")
@asks
async def mirror(asking: Asking, source: str, target: str, both: bool, every: float, reports: bool, clear: bool) -> int:
    """Show the instances of one registry in another one, until Ctrl-C.

    A copy has the id of its original and a property that says where it is from. It goes when the original goes. While
    the registry of the originals is silent the copies are held, until it answers, or SIGUSR1 lets them go. After Ctrl-C
    they live for one more lease, so that a mirror can be restarted; --clear removes them. When properties, tags or
    schemas of a service change, those of the same service in the other registry follow.

    \b
    registry mirror --from http://old:30100 --to http://new:30100 --both
    registry mirror --from http://old:30100 --to http://new:30100 --both --report
    registry mirror --from http://old:30100 --to http://new:30100 --both --clear
    """
    async with _side(at(asking, source)) as old, _side(at(asking, target)) as new:
        ways = [(old, new), (new, old)] if both else [(old, new)]
        if clear:
            return await _clear(ways)
        if reports:
            return await _report(asking, ways)
        mirrors = [Mirror(here, there) for here, there in ways]
        follower, pace = Follower(old, new, both), _Pace(every)
        with interrupted(), _let_go_by_signal(mirrors):
            while True:
                await asyncio.gather(old.look(), new.look())
                for one in mirrors:
                    await one.tick()
                await follower.tick()
                await asyncio.sleep(pace.pause_s(mirrors))
    number = sum(one.copies for one in mirrors)
    sys.stderr.write(f"{number} copies are left to their leases; --clear removes them, a mirror goes on with them\n")
    return Exit.DONE


@asynccontextmanager
async def _side(asking: Asking) -> AsyncIterator[Side]:
    async with asking.client() as client:
        yield Side(client.api, asking.place)


async def _clear(ways: list[tuple[Side, Side]]) -> int:
    for here, there in ways:
        seen = await there.see()
        found = sorted(copies(seen, here.place))
        await each([Remove(ids) for ids in found], partial(there.take, source=here))
        sys.stdout.write(f"{len(found)} copies of {here.place} are removed from {there.place}\n")
    return Exit.DONE


async def _report(asking: Asking, ways: list[tuple[Side, Side]]) -> int:
    found = [row for here, there in ways for row in report(await here.see(), await there.see(), here.place)]
    if found or asking.form in ("json", "ndjson"):
        write_rows(asking.form, found, COLUMNS[:3])
    else:
        sys.stdout.write("nothing is different\n")
    return Exit.NOT_FOUND if found else Exit.DONE


class Mirror:
    """One direction, while the mirror runs."""

    def __init__(self, here: Side, there: Side) -> None:
        self._here = here
        self._there = there
        self._said = "answers again"
        self._refusals = _Refusals()
        self.direction = Direction(here.place, steady())

    async def tick(self) -> None:
        """Do what the last looks at both sides ask for."""
        if self._here.seen is not None:
            self.direction = hear(self.direction, self._here.seen, steady())
        self._say_how_the_source_is()
        if self._there.seen is None:
            return
        # Those of one kind side by side; services come before what is to be in them.
        for _, alike in groupby(plan(self.direction, self._there.seen, steady()), type):
            await each(list(alike), self._take)

    async def _take(self, step: Step) -> None:
        begun = steady()
        try:
            await self._there.take(step, self._here)
        except ClientError as exc:
            what = getattr(step, "ids", getattr(step, "key", None))
            self._refusals.say(what, self._there.place, str(exc))
            return
        self.direction = done(self.direction, step, begun)
        if isinstance(step, Put | Remove):
            key, instance_id = step.ids
            verb = "removed" if isinstance(step, Remove) else "changed" if step.is_there else "added"
            _say(f"{verb:<8} {key.text()} {instance_id} at {self._there.place}")

    def pause_s(self, every: float) -> float:
        return pause_s(self.direction, self._there.seen, every)

    @property
    def copies(self) -> int:
        """How many there were when the other side was last seen."""
        return len(copies(self._there.seen, self._here.place)) if self._there.seen is not None else 0

    def let_go(self) -> None:
        """The copies of a source that is silent are left to their leases."""
        if self._here.seen is None:
            self.direction = replace(self.direction, let_go=True)
            _say(f"the copies of {self._here.place} are let go")

    def _say_how_the_source_is(self) -> None:
        if self._here.seen is not None:
            said = "answers again"
        elif self.direction.is_held(steady()):
            said = "is silent for longer than a lease: its copies are held; SIGUSR1 lets them go"
        else:
            said = "does not answer"
        if said != self._said:
            _say(f"{self._here.place} {said}{f': {self._here.problem}' if said == 'does not answer' else ''}")
            self._said = said


class _Pace:
    """How often a mirror looks."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._is_said = False

    def pause_s(self, mirrors: Sequence[Mirror]) -> float:
        pause = min(one.pause_s(self._every) for one in mirrors)
        if pause < self._every and not self._is_said:
            _say(f"looks every {pause:.1f} s, not {self._every:g}: the lease of a copy would end before it is renewed")
            self._is_said = True
        return pause


class Follower:
    """Changes in the metadata of services, while the mirror runs."""

    def __init__(self, here: Side, there: Side, both: bool) -> None:
        self._here = here
        self._there = there
        self._both = both
        self._known = following.Known()
        self._compared: tuple[following.Services, following.Services] = ({}, {})
        self._refusals = _Refusals()

    async def tick(self) -> None:
        """Follow what the last looks at both sides have found."""
        here, there = self._here.seen, self._there.seen
        if here is None or there is None:
            return
        # Services are read more seldom than instances. What was refused is tried again when they have been read again.
        if here.services is self._compared[0] and there.services is self._compared[1]:
            return
        self._compared = (here.services, there.services)
        self._known = following.see(self._known, here.services, there.services)
        for step in following.follow(self._known, here.services, there.services, self._both):
            for side, change in ((self._here, step.here), (self._there, step.there)):
                try:
                    await side.follow(step.key, change)
                except ClientError as exc:
                    self._refusals.say(step.key.text(), side.place, str(exc))
                    break
                for taken in change.steps:
                    _say(f"changed  {step.key.text()} {BRINGS[type(taken)]} at {side.place}")
            else:
                self._known = following.done(self._known, step)


class _Refusals:
    """What a registry refused. The same is said once."""

    def __init__(self) -> None:
        self._said: dict[object, str] = {}

    def say(self, what: object, place: str, problem: str) -> None:
        if self._said.get(what) != problem:
            _say(f"refused  {what} at {place}: {problem}")
        self._said = {**dict(list(self._said.items())[-999:]), what: problem}


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


@contextmanager
def _let_go_by_signal(mirrors: list[Mirror]) -> Iterator[None]:
    def let_go() -> None:
        for one in mirrors:
            one.let_go()

    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        if hasattr(signal, "SIGUSR1"):
            loop.add_signal_handler(signal.SIGUSR1, let_go)
            stack.callback(loop.remove_signal_handler, signal.SIGUSR1)
        yield
