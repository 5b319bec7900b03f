"""`registry` as a click command. Each verb is loaded when it is used."""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from registry import __version__
from registry.client.errors import ClientError
from registry.remote.failing import Exit, Failure, failure_of

#: Where each verb is, and what it is for; the help shows them in this order.
VERBS: Final[dict[str, tuple[str, str]]] = {
    "services": ("reading", "list the services of a tenant"),
    "instances": ("reading", "list the instances of services"),
    "find": ("reading", "find the instances of a service as a consumer does"),
    "show": ("reading", "show everything about one service version"),
    "register": ("changing", "register an instance, and beat for it"),
    "unregister": ("changing", "unregister an instance or a service"),
    "status": ("status", "say how the registry is"),
    "watch": ("watch", "write a line for every change"),
    "top": ("top", "look at the registry live"),
    "history": ("history", "list what happened"),
    "explain": ("explaining", "say where an instance is and why, or why a find has what it has"),
    "diff": ("explaining", "say what is not the same as at another time"),
    "events": ("history", "write what happened last, and what happens"),
    "login": ("login", "log in, and keep the token for other verbs"),
    "accounts": ("accounts", "list and change accounts, and tokens of machines"),
    "roles": ("roles", "list and change roles"),
    "import": ("importing", "bring what a running registry holds into another one"),
    "mirror": ("mirror", "show the instances of one registry in another one"),
    "completion": ("completion", "make the shell complete this command"),
    "serve": ("", "run the registry"),
    "repair": ("", "say what is damaged in the store, and mend it"),
    "dump": ("", "write everything in the store to a file"),
    "restore": ("", "put back what such a file holds"),
    "verify": ("", "replay all that is kept, and compare it with snapshots and replicas"),
    "export": ("", "write every event that is kept to a file"),
    "import-log": ("", "write the logs of such a file to another store"),
    "replay": ("", "replay what happened, in a registry of its own"),
}


class Verbs(click.Group):
    """A group that loads a verb when it is used: help and completion need only the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, about = VERBS[name]
        if not module:
            # `registry.command` runs these itself; here they are for the help and for completion.
            return click.Command(name, help=about, add_help_option=False)
        function = f"{name}_" if keyword.iskeyword(name) else name
        command: click.Command = getattr(importlib.import_module(f"registry.remote.{module}"), function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, about) for name, (_, about) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, message="%(version)s")
def registry() -> None:
    """A service registry that speaks the ServiceComb v4 API: run one, and ask one.

    `registry VERB --help` says more of each verb.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one of the verbs; its exit code. What went wrong is one sentence on standard error."""
    try:
        result = registry.main(
            list(arguments), prog_name="registry", complete_var="_REGISTRY_COMPLETE", standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as exc:
        print(exc.format_message(), file=sys.stderr)
        return Exit.USAGE
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx else "registry"
        return _failed(f"{exc.format_message().rstrip('.')}; {path} --help lists what may be given", Exit.USAGE)
    except click.ClickException as exc:
        return _failed(exc.format_message(), exc.exit_code)
    except (ClientError, Failure) as exc:
        failure = failure_of(exc) if isinstance(exc, ClientError) else exc
        return _failed(str(failure), failure.code)
    except ValueError as exc:
        return _failed(str(exc), Exit.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # `| head` has read enough. What is left in the buffer goes nowhere, without a complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    return result if isinstance(result, int) else Exit.DONE


def _failed(message: str, code: int) -> int:
    print(f"registry: {message}", file=sys.stderr)
    return code
