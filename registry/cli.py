"""The command line of the server: `registry serve`, `repair`, `accounts`, `dump` and `restore`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields, replace
from typing import Any, Final, NoReturn, cast

import uvloop

from registry import __version__, backup_verbs, log_verbs, logconfig
from registry.bootstrap import new_name
from registry.environment import made_by_kubernetes, read_settings
from registry.running.board import Place
from registry.running.listening import Sockets, Speech, host_port, listening_sockets, with_ports
from registry.running.listening import close as close_sockets
from registry.running.private_redis import CannotStart, PrivateRedis
from registry.running.replica import OTHER_FILES, check_certificates, check_store, run_replica
from registry.running.signals import stop_signals
from registry.running.workers import Workers
from registry.settings import BadSetting, Settings, variable

logger = logging.getLogger(__name__)

#: With fewer files there is no room for clients.
FILES_LEAST: Final = OTHER_FILES
#: Of verbs that work on a store.
STORE_SETTINGS: Final = {"redis_url", "redis_prefix", "redis_timeout_s", "data_dir"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code. What the user can mend is said in one sentence."""
    parsed = _parser().parse_args(arguments)
    try:
        flags = {f.name: getattr(parsed, f.name, None) for f in fields(Settings)}
        settings = read_settings(os.environ, flags)
        # The parent of workers is no replica itself; each of them has a name of its own.
        is_replica = parsed.command == "serve" and (settings.workers == 1 or parsed.fd is not None)
        name = new_name() if is_replica else ""
        logconfig.configure(settings.log_level, name, settings.log_format)
        _allow_many_connections()
        if parsed.command != "serve":
            return _with_redis(settings, lambda chosen: asyncio.run(_work_on_store(chosen, parsed)))
        if parsed.fd is not None:
            return _worker(settings, name, parsed.fd, parsed.board)
        return _serve(settings, name)
    except (BadSetting, CannotStart) as exc:
        print(f"registry: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # Ctrl-C before there was anything to stop in order.
        return 130


def _allow_many_connections() -> None:
    """Each client costs a file descriptor: take as many as the system allows.

    Raises:
        CannotStart: they are too few for any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= hard < FILES_LEAST:
        raise CannotStart(f"at most {hard} files may be open, {FILES_LEAST} are needed; raise it (ulimit -n)")
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


EXAMPLES: Final = {
    "serve": "registry serve --redis-url redis://10.0.0.7:6379 --port 30100",
    "repair": "registry repair --redis-url redis://10.0.0.7:6379",
    "accounts": "registry accounts reset-root --data-dir ./data",
    "dump": "registry dump backup.ndjson.gz --data-dir ./data",
    "restore": "registry restore backup.ndjson.gz --data-dir ./data --dry-run",
    "verify": "registry verify --redis-url redis://10.0.0.7:6379 --tenant default/default",
    "export": "registry export log.ndjson.gz --data-dir ./data",
    "import-log": "registry import-log log.ndjson.gz --data-dir ./other",
    "replay": "registry replay --from 2026-11-29T22:00:00Z --speed 60 --data-dir ./data",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, as everything that stops a start does."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"registry: {message}; --help lists what may be given\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="registry", description="A service registry that speaks the ServiceComb v4 API.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the registry")
    _add_settings(serve, {setting.name for setting in fields(Settings)})
    # Of a worker: a socket that its parent has bound, and what is spoken there.
    serve.add_argument("--fd", action="append", help=argparse.SUPPRESS)
    # ... its number, and where all workers leave their figures.
    serve.add_argument("--board", default="", help=argparse.SUPPRESS)
    about = "say what is damaged in the store, and what mending it means"
    mending = commands.add_parser("repair", help=about, description=f"{about.capitalize()}.")
    mending.add_argument("--apply", action="store_true", help="mend it")
    _add_settings(mending, STORE_SETTINGS)
    _add_accounts(commands)
    for verb in backup_verbs.add_to(commands):
        _add_settings(verb, STORE_SETTINGS)
    for verb in log_verbs.add_to(commands):
        _add_settings(verb, {*STORE_SETTINGS, "archive_dir"})
    for name, command in commands.choices.items():
        command.epilog = f"For example: {EXAMPLES[name]}"
    return parser


def _add_accounts(commands: Any) -> None:
    about = "change accounts on the store"
    verbs = commands.add_parser("accounts", help=about, description=f"{about.capitalize()}.").add_subparsers(
        dest="verb", required=True
    )
    about = "give the account root a new password: the one that is set, else one that is made and printed"
    reset = verbs.add_parser("reset-root", help=about, description=f"{about.capitalize()}.")
    _add_settings(reset, {*STORE_SETTINGS, "init_root_password_file"})
    about = "sign tokens with a new key from now on"
    rotate = verbs.add_parser("rotate-key", help=about, description=f"{about.capitalize()}.")
    rotate.add_argument("--alone", action="store_true", help="what older keys have signed counts no more")
    _add_settings(rotate, STORE_SETTINGS)


def _work_on_store(settings: Settings, parsed: argparse.Namespace) -> Coroutine[Any, Any, int]:
    """What the other verbs do. Each loads its own modules: `serve` starts without them."""
    if parsed.command in backup_verbs.VERBS:
        return backup_verbs.run(settings, parsed)
    if parsed.command in log_verbs.VERBS:
        return log_verbs.run(settings, parsed)
    if parsed.command == "repair":
        from registry.running.repairing import repair

        return repair(settings, parsed.apply)
    from registry.running.accounts import reset_root, rotate_key

    return reset_root(settings) if parsed.verb == "reset-root" else rotate_key(settings, parsed.alone)


def _add_settings(parser: argparse.ArgumentParser, names: set[str]) -> None:
    for setting in (setting for setting in fields(Settings) if setting.name in names):
        meta = setting.metadata
        default = f", default {setting.default}" if setting.default != "" else ""
        parser.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar=meta["unit"].upper().replace(" OR ", "|"),
            help=f"{meta['help']} [{variable(setting.name)}{default}]",
        )


def _serve(settings: Settings, name: str) -> int:
    ignored = made_by_kubernetes(os.environ)
    if ignored:
        names = ", ".join(ignored)
        logger.info("not settings, Kubernetes made them: %s", names, extra={"action": "variables_ignored"})
    check_certificates(settings)
    # Before the ports are known to be free nothing else is started.
    bound = listening_sockets(settings, share=False)
    try:
        settings = with_ports(settings, bound)
        if settings.workers == 1:
            data_dir = "" if settings.redis_url else settings.data_dir
            return _with_redis(settings, lambda chosen: _run(chosen, name, bound, data_dir=data_dir))
    finally:
        close_sockets(bound)
    return _with_redis(settings, _run_workers)


def _with_redis(settings: Settings, run: Callable[[Settings], int]) -> int:
    """Run with the Redis that was named, else with a private one around it."""
    if settings.redis_url:
        return run(settings)
    private = PrivateRedis(settings.data_dir, settings.redis_server)
    # A stop that arrives while Redis starts or stops must not leave it behind.
    for signum in stop_signals()[1:]:
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        private.start()
        return run(replace(settings, redis_url=private.url))
    finally:
        # Who presses Ctrl-C again must not leave it behind either.
        for signum in stop_signals():
            signal.signal(signum, signal.SIG_IGN)
        private.stop()


def _run(settings: Settings, name: str, bound: Sockets, place: Place | None = None, data_dir: str = "") -> int:
    def started() -> None:
        places = [
            f"{'http' if speech == 'probes' else speech}://{host_port(settings.host, one.getsockname()[1])}"
            f"{' (probes)' if speech == 'probes' else ''}"
            for speech, one in bound.items()
        ]
        logger.info("registry %s listens on %s", __version__, ", ".join(places), extra={"action": "listening"})

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_replica(settings, name, bound, started, place, data_dir))
    return 0


def _run_workers(settings: Settings) -> int:
    # Said once, not by every worker: why this Redis cannot be used.
    asyncio.run(check_store(settings))
    return Workers(settings, settings.redis_url).run()


def _worker(settings: Settings, name: str, passed: Sequence[str], board: str) -> int:
    """One worker: the sockets are those that its parent has bound."""
    number, _, pieces = board.partition(":")
    bound: Sockets = {}
    for one in passed:
        speech, _, fd = one.partition(":")
        bound[cast(Speech, speech)] = socket.socket(fileno=int(fd))  # as `Workers` has named it
    return _run(settings, name, bound, Place(int(number), [int(piece) for piece in pieces.split(",")]))
