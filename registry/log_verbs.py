"""`registry verify`, `export`, `import-log` and `replay` on the command line."""

from __future__ import annotations

import argparse
from typing import Any, Final

from registry.domain.errors import InvalidParams
from registry.history.moments import END, When, parse_when
from registry.running.private_redis import CannotStart
from registry.settings import Settings

VERBS: Final = ("verify", "export", "import-log", "replay")
WITHOUT_ACCOUNTS: Final = "Accounts, roles and tokens of machines are left out."


def add_to(commands: Any) -> list[argparse.ArgumentParser]:
    """Add the verbs to argparse's sub-commands; they lack the options that say where the store is."""
    about = "replay everything that is kept, and compare it with each snapshot and with what replicas say"
    verifying = commands.add_parser("verify", help=about, description=f"{about.capitalize()}.")
    about = "write every event that is kept to a file"
    exporting = commands.add_parser("export", help=about, description=f"{about.capitalize()}. {WITHOUT_ACCOUNTS}")
    exporting.add_argument("file", metavar="FILE", help="NDJSON, packed if it ends in .gz; - is standard output")
    about = "write the logs of an export to a store that has none of these tenants"
    importing = commands.add_parser("import-log", help=about, description=f"{about.capitalize()}.")
    importing.add_argument("file", metavar="FILE", help="what `registry export` has written")
    about = "replay what happened, in a registry of its own on another port"
    replaying = commands.add_parser("replay", help=about, description=f"{about.capitalize()}. {WITHOUT_ACCOUNTS}")
    when = "RFC 3339, Unix milliseconds, or a position"
    replaying.add_argument("--from", dest="since", required=True, metavar="TIME", help=f"where it begins: {when}")
    replaying.add_argument("--to", dest="until", default="", metavar="TIME", help="where it ends [the end of the log]")
    replaying.add_argument("--speed", type=float, default=1.0, help="times as fast as it was; 0: at once [1]")
    replaying.add_argument("--on", dest="replay_port", type=int, default=30111, metavar="PORT", help="[30111]")
    for verb in (verifying, exporting):
        verb.add_argument("--tenant", default="", metavar="DOMAIN/PROJECT", help="only this one")
    replaying.add_argument("--tenant", default="default/default", metavar="DOMAIN/PROJECT", help="[default/default]")
    return [verifying, exporting, importing, replaying]


async def run(settings: Settings, parsed: argparse.Namespace) -> int:
    """Run the verb that was parsed; its exit code. Raises CannotStart."""
    from registry.running.log_export import export, import_log
    from registry.running.log_replaying import replay
    from registry.running.log_verifying import verify

    match parsed.command:
        case "verify":
            return await verify(settings, parsed.tenant)
        case "export":
            return await export(settings, parsed.file, parsed.tenant)
        case "import-log":
            return await import_log(settings, parsed.file)
    if parsed.speed < 0:
        raise CannotStart("--speed is 0 or more")
    since, until = _when(parsed.since, "from"), _when(parsed.until, "to") if parsed.until else END
    return await replay(settings, parsed.tenant, since, until, parsed.speed, parsed.replay_port)


def _when(text: str, name: str) -> When:
    try:
        return parse_when(text, name)
    except InvalidParams as exc:
        raise CannotStart(exc.detail) from exc
