"""Cold start: how long until a new replica serves everything that is in the log?"""

from __future__ import annotations

import time
from typing import Final

from benchmarks import memory, workload
from benchmarks.checking import verify
from benchmarks.errors import BenchmarkError
from benchmarks.outcome import Outcome, median_of
from benchmarks.scenes.scene import Scene
from benchmarks.stage import Filled, Stage
from benchmarks.wire import Address, Reply

_MB: Final = 1e6


def _run(stage: Stage, outcome: Outcome) -> None:
    filled, options = stage.filled(), stage.options
    outcome.setting |= {"instances": filled.population.instances}
    ready_s, resident, proportional = [], [], []
    for number in range(1, options.rounds + 1):
        started_s = time.monotonic()
        with stage.replica_of(filled.target) as replica:
            ready_s.append(time.monotonic() - started_s)
            _verify_all(replica.address, filled)
            held = memory.read(replica.pids)
            resident.append(held.registry_bytes("rss") / _MB)
            proportional.append(held.registry_bytes("pss") / _MB)
        stage.say(f"  start {number}/{options.rounds}: ready after {ready_s[-1]:.2f} s")
    outcome.numbers["until ready"] = median_of(ready_s, "s", "less")
    outcome.numbers["rss when ready"] = median_of(resident, "MB", "less")
    outcome.numbers["pss when ready"] = median_of(proportional, "MB", "less")


def _verify_all(address: Address, filled: Filled) -> None:
    """A replica that is ready must hold everything: each first and last service whole, and the number of instances."""
    population = filled.population
    for number in {0, population.services - 1}:
        service, expected = population.service(number), population.size_of(number)

        def check(reply: Reply, service: str = service, expected: int = expected) -> str | None:
            found = reply.body.count(b'"instanceId":"%b-' % service.encode())
            return None if found == expected else f"expected {expected} instances, got {found}"

        verify(address, workload.find(service), check)
    reply = verify(address, workload.statistics(), lambda reply: None if reply.status == 200 else "expected status 200")
    count = int(reply.json()["statistics"]["instances"]["count"])
    if count < population.instances:
        raise BenchmarkError(f"a replica said that it is ready with {count} of {population.instances} instances.")


SCENE: Final = Scene(
    "cold-start",
    "a new replica on a log with --instances instances: seconds until it is ready, and right",
    _run,
    filled=True,
    own="cannot start another replica of a registry that it did not start",
)
