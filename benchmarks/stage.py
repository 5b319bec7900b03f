"""Stage: where scenes find the registry that they measure, ours or a foreign one, empty or filled."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import cpu, filling, memory, servers, setup
from benchmarks.load.record import Record
from benchmarks.options import Options
from benchmarks.population import Population
from benchmarks.servers import Target
from benchmarks.wire import Address
from benchmarks.workload import PREFIX

Say = Callable[[str], None]

#: A service of one instance that nothing ever changes, beside the population of a filled registry.
QUIET: Final = f"{PREFIX}quiet"


@dataclass(frozen=True, slots=True)
class Filled:
    """A registry that holds a population and beside it `QUIET`, and what filling it has cost."""

    target: Target
    population: Population
    record: Record
    """Of the registrations."""
    held_before: memory.Held
    held_after: memory.Held
    redis_bytes_before: int
    redis_bytes_after: int
    used: cpu.Usage
    """Processor time that filling took."""


class Stage:
    """Starts what scenes ask for and ends all of it.

    Args:
        directory: for data, scripts and logs; goes away with the run.
        say: prints one line of progress.
    """

    def __init__(self, options: Options, directory: Path, say: Say) -> None:
        self.options = options
        self.directory = directory
        self.say = say
        self._shared: Target | None = None
        self._filled: Filled | None = None
        self._stack = contextlib.ExitStack()
        self._started = 0

    @property
    def own(self) -> bool:
        """Whether the registry is one that we start, so that there can be more of it."""
        return not self.options.url

    @contextlib.contextmanager
    def registry(self, *more: str) -> Iterator[Target]:
        """An empty registry for one scene; of a foreign one we only know that our services are not in it.

        Args:
            more: arguments for `serve`, after those of the user.
        """
        if not self.own:
            yield Target(Address.of(self.options.url), self.options.pids)
            return
        self._started += 1
        with servers.registry(self.directory / f"registry-{self._started}", self._arguments(more)) as target:
            yield target

    @contextlib.contextmanager
    def replica_of(self, target: Target) -> Iterator[Target]:
        """Another replica of a registry that the benchmark started: one process, on the same Redis."""
        arguments = self._arguments(["--workers", "1"])
        with servers.replica(self.directory, target.redis_url, arguments) as (address, pid):
            yield Target(address, [pid])

    def _arguments(self, more: Sequence[str]) -> list[str]:
        return [*shlex.split(self.options.serve_args), *more]

    def shared(self) -> Target:
        """The registry that many small scenes use one after the other, each cleaning up after itself."""
        if self._shared is None:
            self._shared = self._stack.enter_context(self.registry())
        return self._shared

    def filled(self) -> Filled:
        """A registry that holds `--instances` instances, registered once for all scenes that ask for it."""
        if self._filled is None:
            self.end()  # What the small scenes have left behind must not be measured.
            self._filled = self._fill(self._stack.enter_context(self.registry()))
        return self._filled

    def end(self) -> None:
        """Stop everything that is still running."""
        self._shared = self._filled = None
        self._stack.close()

    def _fill(self, target: Target) -> Filled:
        population = Population(self.options.instances, self.options.per_service)
        held, redis_bytes = _held(target)
        if not self.own:
            self._stack.callback(filling.remove, target.address, population, self.say)
            self._stack.callback(setup.clear, target.address, [QUIET])
        before = cpu.read_usage(target.pids)
        record = filling.fill(target.address, population, self.say)
        used = cpu.read_usage(target.pids).since(before)
        self.say(f"  {population.instances:,} instances in {record.elapsed_s:.1f} s")
        held_after, redis_bytes_after = _held(target)
        setup.populate(target.address, QUIET, 1)
        return Filled(target, population, record, held, held_after, redis_bytes, redis_bytes_after, used)


def _held(target: Target) -> tuple[memory.Held, int]:
    return memory.read(target.pids), memory.redis_bytes(target.redis_url) if target.redis_url else 0
