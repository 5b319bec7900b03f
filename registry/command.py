"""`registry`: its verbs are of the server (`serve`, `repair`) or of a client, and each loads what it needs itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

#: Verbs that work on a store, and need the extra `server`.
SERVER_VERBS: Final = ("serve", "repair", "dump", "restore", "verify", "export", "import-log", "replay")
#: Verbs of `accounts` that do so; the others ask a registry.
STORE_VERBS: Final = ("reset-root", "rotate-key")
#: What that extra brings, as modules.
SERVER_MODULES: Final = {
    "redis",
    "hiredis",
    "uvicorn",
    "httptools",
    "uvloop",
    "starlette",
    "argon2",
    "jwt",
    "cryptography",
    "zstandard",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if not _is_of_server(given):
        from registry.remote.main import run

        return run(given)
    try:
        from registry import cli
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").split(".")[0]
        if missing not in SERVER_MODULES:
            raise
        print(
            f"registry: {given[0]} needs more than a client, {missing} is missing: "
            "pip install 'servicecomb-registry[server]'",
            file=sys.stderr,
        )
        return 2
    return cli.main(given)


def _is_of_server(given: Sequence[str]) -> bool:
    verb, second = [*given, "", ""][:2]
    return verb in SERVER_VERBS or (verb == "accounts" and second in STORE_VERBS)
