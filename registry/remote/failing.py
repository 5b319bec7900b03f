"""Exit codes, and the one sentence that says why a command failed and what to do."""

from __future__ import annotations

from enum import IntEnum

from registry.client.errors import ClientError, NotOffered, Refused, Unreachable

NOT_FOUND = (400012, 400016, 400017, 400018, 400026, 400200, 400201, 401206)


class Exit(IntEnum):
    """What a script may rely on."""

    DONE = 0
    #: There is no such thing, or what was compared is different.
    NOT_FOUND = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    #: Ctrl-C.
    INTERRUPTED = 130


class Failure(Exception):
    """A command ends with this sentence and this exit code."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


def failure_of(exc: ClientError) -> Failure:
    """What a failed call means to the one who typed the command."""
    if isinstance(exc, Unreachable):
        return Failure(Exit.UNREACHABLE, f"no registry answers: {exc}; give its address as --server or REGISTRY_SERVER")
    if isinstance(exc, NotOffered):
        return Failure(Exit.NOT_FOUND, f"{exc}; it is another registry, or one without accounts (REGISTRY_RBAC)")
    if isinstance(exc, Refused):
        if exc.code in NOT_FOUND:
            return Failure(Exit.NOT_FOUND, str(exc))
        if exc.status == 401:
            return Failure(Exit.REFUSED, f"{exc}; log in with `registry login --user NAME`")
        return Failure(Exit.REFUSED, f"the registry refuses this with {exc.code}: {exc}")
    return Failure(Exit.NOT_FOUND, str(exc))
