"""`registry dump` and `registry restore` on the command line."""

from __future__ import annotations

import argparse
from typing import Any, Final

from registry.settings import Settings

VERBS: Final = ("dump", "restore")


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add both verbs to argparse's sub-commands; they lack the options that say where the store is."""
    about = "write everything in the store to a file"
    dumping = commands.add_parser("dump", help=about, description=f"{about.capitalize()}.")
    dumping.add_argument("file", metavar="FILE", help="NDJSON, packed if it ends in .gz; - is standard output")
    about = "put back what a dump holds and the store lacks; nothing is removed"
    restoring = commands.add_parser("restore", help=about, description=f"{about.capitalize()}.")
    restoring.add_argument("file", metavar="FILE", help="what `registry dump` has written")
    restoring.add_argument("--dry-run", action="store_true", help="only say what would be done")
    restoring.add_argument("--overwrite", action="store_true", help="also what is there and differs")
    restoring.add_argument("--no-instances", action="store_true", help="without instances; else each gets one lease")
    for verb in (dumping, restoring):
        verb.add_argument("--tenant", default="", metavar="DOMAIN/PROJECT", help="only this one, without accounts")
        verb.add_argument("--no-accounts", action="store_true", help="without accounts, roles, tokens and keys")
    return [dumping, restoring]


async def run(settings: Settings, parsed: argparse.Namespace) -> int:
    """Run the verb that was parsed; its exit code. Raises CannotStart."""
    from registry.running.dumping import dump
    from registry.running.putting_back import restore

    accounts = not parsed.no_accounts and not parsed.tenant
    if parsed.command == "dump":
        return await dump(settings, parsed.file, parsed.tenant, accounts)
    options = {"overwrite": parsed.overwrite, "dry_run": parsed.dry_run, "instances": not parsed.no_instances}
    return await restore(settings, parsed.file, parsed.tenant, accounts, **options)
