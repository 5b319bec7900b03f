"""Failed starts: registries that cannot work, and what each says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.support.replica import Replica

#: A start keeps a core busy for half a second; one that waits for Redis keeps none.
AT_ONCE: Final = 6
#: Far beyond what any needs (seconds).
LIMIT_S: Final = 60.0


@dataclass(frozen=True)
class FailedStart:
    """A registry and the one sentence that it must end with. A `…` in it stands for anything.

    Names in braces, as in `{folder}/no.sock`, are filled in when the test knows them.
    """

    sentence: str
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "registry")
    wrapper: tuple[str, ...] = ()

    def run(self, known: Mapping[str, object]) -> Ended:
        """Start it and wait until it has ended."""
        replica = Replica(
            *(option.format_map(known) for option in self.options),
            environment={name: value.format_map(known) for name, value in self.environment.items()},
            program=self.program,
            wrapper=[word.replace("{folder}", str(known.get("folder"))) for word in self.wrapper],
        )
        try:
            code = replica.launch().process.wait(LIMIT_S)
            return Ended(self.sentence.format_map(known), code, replica.output())
        finally:
            replica.clean_up()


@dataclass(frozen=True)
class Ended:
    """What such a start came to."""

    sentence: str
    code: int
    output: str

    def check(self) -> None:
        """The operator reads what to mend and nothing else; a supervisor sees an exit code that is not 0."""
        expected = re.escape(f"registry: {self.sentence}\n").replace("…", "[^\n]+")
        assert re.fullmatch(expected, self.output), f"{self.output!r} instead of {self.sentence!r}"
        assert self.code == 2


def run_all(cases: Mapping[str, FailedStart], known: Mapping[str, object]) -> dict[str, Ended]:
    """All of them, some at the same time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(cases, pool.map(lambda case: case.run(known), cases.values()), strict=True))
