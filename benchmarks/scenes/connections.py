"""Connections: every client has one of its own, and is seldom heard."""

from __future__ import annotations

import resource
from typing import Final

from benchmarks import clients, cpu, filling, memory
from benchmarks.clients import Part
from benchmarks.load.driver import Driver
from benchmarks.load.ticks import drive_beside, pauses
from benchmarks.outcome import Number, Outcome
from benchmarks.population import Population
from benchmarks.scenes.closed import unmodified
from benchmarks.scenes.scene import Scene
from benchmarks.setup import populate
from benchmarks.stage import QUIET, Stage

WANTED: Final = 20_000
WANTED_QUICK: Final = 100
#: Files that a process needs beside its connections.
SPARED: Final = 500
PER_SERVICE: Final = 20
#: Two rounds of heartbeats and four of polls.
SECONDS: Final = 60.0


def _run(stage: Stage, outcome: Outcome) -> None:
    open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = WANTED_QUICK if stage.options.quick else WANTED
    connections = wanted if open_files == resource.RLIM_INFINITY else min(wanted, open_files - SPARED)
    seconds = 2.0 if stage.options.quick else SECONDS
    outcome.setting |= {"connections": connections, "seconds": seconds}
    population = Population(connections, PER_SERVICE, "crowd")
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    with stage.registry() as target:
        filling.fill(target.address, population, stage.say)
        populate(target.address, QUIET, 1)
        revs = clients.revs_of(target.address, population, stage.say)
        calls = clients.first_polls(target.address, population, revs)
        filling.send_all(target.address, calls, population.services, "services polled for the first time", stage.say)
        tick = unmodified(target.address, QUIET).sample
        part = Part("", target.address, population, 0, connections, 0, seconds, 0, revs, 0, tick)
        held, before = memory.read(target.pids), cpu.read_usage(target.pids)
        most = held

        def look(_: object) -> None:
            nonlocal most
            now = memory.read(target.pids)
            most = max(most, now, key=lambda held: held.registry_bytes("pss"))

        driver = Driver(target.address, connections, clients.Clients(part).schedule(), look)
        asked = filling.call(target.address, "tick", tick, filling.is_empty, 304)
        [record], ticks = drive_beside(target.address, asked, driver)
        used = cpu.read_usage(target.pids).since(before)
    added = most.registry_bytes("pss") - held.registry_bytes("pss")
    outcome.numbers["bytes per connection"] = Number(added / connections, "B", "less")
    for kind in ("poll", "heartbeat"):
        outcome.numbers |= record.summary(kind).numbers(kind)
    outcome.numbers |= pauses(ticks) | used.numbers(record.answered + ticks.answered, record.elapsed_s)
    outcome.errors |= record.errors + ticks.errors
    outcome.problem = record.problem or ticks.problem


SCENE: Final = Scene(
    "connections",
    f"{WANTED:,} open connections, each polling every 15 s and beating every 30 s; is any request lost?",
    _run,
    own="does not fill what it cannot empty",
)
