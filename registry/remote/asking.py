"""What every remote verb takes: where the registry is, who asks, and in which form the answer is written."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import click
from msgspec import Struct

from registry.client.addresses import SERVER_DEFAULT
from registry.client.async_registry import AsyncRegistry, Options
from registry.remote.failing import Exit, Failure

Form = Literal["table", "wide", "json", "ndjson"]
FORMS: Final = ("table", "wide", "json", "ndjson")
#: What may be set by variable, and what a profile may say.
VARIABLES: Final = {
    "server": "REGISTRY_SERVER",
    "tenant": "REGISTRY_TENANT",
    "project": "REGISTRY_PROJECT",
    "user": "REGISTRY_USER",
}
PASSWORD_VARIABLE: Final = "REGISTRY_PASSWORD"
PROFILE_VARIABLE: Final = "REGISTRY_PROFILE"
PROFILE_DEFAULT: Final = "default"
IN_PROFILES: Final = (*VARIABLES, "ca", "cert", "key", "timeout", "output")


class Asking(Struct, frozen=True):
    """One verb that was typed: where it asks, and how it answers."""

    options: Options
    form: Form

    @asynccontextmanager
    async def client(self, **named: Any) -> AsyncIterator[AsyncRegistry]:
        """A client for the time of the verb. It learns nothing: a verb asks where it was told to ask."""
        async with AsyncRegistry(options=self.options, learn=False, watch=False, **named) as client:
            yield client


def asks(verb: Callable[..., Awaitable[int | None]]) -> Callable[..., int]:
    """Give a verb the options of all remote verbs, and run it; its first argument is an `Asking`."""

    @functools.wraps(verb)
    def run(**named: Any) -> int:
        own = {name: value for name, value in named.items() if name not in _NAMES}
        asking = _asking({name: named[name] for name in _NAMES})
        return asyncio.run(_whole(verb(asking, **own))) or Exit.DONE

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


async def _whole(work: Awaitable[int | None]) -> int | None:
    return await work


_OPTIONS: Final = (
    click.option("--server", metavar="URL,…", help=f"Addresses of the registry.  [REGISTRY_SERVER; {SERVER_DEFAULT}]"),
    click.option("--tenant", metavar="NAME", help="Whose services.  [REGISTRY_TENANT; default]"),
    click.option("--project", metavar="NAME", help="The tenant's project.  [REGISTRY_PROJECT; default]"),
    click.option("--user", metavar="NAME", help="An account; its password is REGISTRY_PASSWORD.  [REGISTRY_USER]"),
    click.option("--profile", metavar="NAME", help="A table of ~/.config/registry/profiles.toml.  [REGISTRY_PROFILE]"),
    click.option("--ca", metavar="FILE", help="Authorities that are trusted, for https."),
    click.option("--cert", metavar="FILE", help="The client's certificate, for https."),
    click.option("--key", metavar="FILE", help="The key of that certificate."),
    click.option("--timeout", type=click.FloatRange(0.1, 300), help="Seconds for one request.  [5]"),
    click.option("--output", "-o", type=click.Choice(FORMS), help="The form of the answer.  [table]"),
    click.option("--json", "as_json", is_flag=True, help="The same as --output json."),
)
_NAMES: Final = ("server", "tenant", "project", "user", "profile", "ca", "cert", "key", "timeout", "output", "as_json")


def profiles_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "registry" / "profiles.toml"


def _asking(given: dict[str, Any]) -> Asking:
    profile = _profile(given["profile"] or os.environ.get(PROFILE_VARIABLE, ""))

    def chosen(name: str, default: Any = "") -> Any:
        """By flag, else by variable, else by profile."""
        by_variable = os.environ.get(VARIABLES[name], "") if name in VARIABLES else ""
        return given[name] or by_variable or profile.get(name, default)

    user = chosen("user")
    options = Options(
        chosen("server"),
        tenant=chosen("tenant", "default"),
        project=chosen("project", "default"),
        login=(user, _password(user)) if user else None,
        tls=_tls(chosen("ca"), chosen("cert"), chosen("key")),
        timeout_s=float(chosen("timeout", 5.0)),
    )
    form: Form = "json" if given["as_json"] else chosen("output", "table")
    if form not in FORMS:
        raise Failure(Exit.USAGE, f"there is no form {form!r} of output, only {', '.join(FORMS)}")
    return Asking(options, form)


def _password(user: str) -> str:
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password and not sys.stdin.isatty():
        raise Failure(Exit.USAGE, f"the password of {user} is missing; set {PASSWORD_VARIABLE}")
    return password or str(click.prompt(f"Password of {user}", hide_input=True, err=True))


def _profile(name: str) -> dict[str, Any]:
    path = profiles_file()
    try:
        profiles = tomllib.loads(path.read_text())
    except FileNotFoundError:
        profiles = {}
    except (OSError, ValueError) as exc:
        raise Failure(Exit.USAGE, f"{path} cannot be read: {exc}") from exc
    profile = profiles.get(name or PROFILE_DEFAULT, {} if not name else None)
    if not isinstance(profile, dict):
        raise Failure(Exit.USAGE, f"there is no profile {name}; give it a table [{name}] in {path}")
    unknown = sorted(profile.keys() - set(IN_PROFILES))
    if unknown:
        raise Failure(Exit.USAGE, f"a profile has no {unknown[0]}; it may have {', '.join(IN_PROFILES)}")
    return profile


def _tls(ca: str, cert: str, key: str) -> ssl.SSLContext | None:
    if not ca and not cert:
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert:
            context.load_cert_chain(cert, key or None)
    except (OSError, ssl.SSLError) as exc:
        raise Failure(Exit.USAGE, f"the certificates cannot be used: {exc}; look at --ca, --cert and --key") from exc
    return context
