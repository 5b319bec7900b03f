"""What every remote verb takes: where the registry is, who asks, and in which form the answer is written."""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import click
from msgspec import Struct
from msgspec.structs import replace

from registry.client.addresses import SERVER_DEFAULT
from registry.client.async_registry import AsyncRegistry, Options
from registry.client.tokens import life_s
from registry.remote import kept
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
NEW_PASSWORD_VARIABLE: Final = "REGISTRY_NEW_PASSWORD"
PROFILE_VARIABLE: Final = "REGISTRY_PROFILE"
PROFILE_DEFAULT: Final = "default"
IN_PROFILES: Final = (*VARIABLES, "ca", "cert", "key", "timeout", "output")


class Asking(Struct, frozen=True):
    """One verb that was typed: where it asks, as whom, and how it answers. `options` are without the account."""

    options: Options
    form: Form
    user: str = ""
    is_timeout_given: bool = False

    @property
    def place(self) -> str:
        """Where it asks, as log-ins are kept: addresses with commas between them."""
        return ",".join(sorted(address.url for address in self.options.book().addresses))

    @property
    def account(self) -> str:
        """Who asks; "" when nobody is named, and nobody is logged in."""
        known = kept.kept_at(self.place)
        return self.user or (known.user if known else "")

    @asynccontextmanager
    async def client(self, *, keep: bool = True, timeout_s: float = 0.0, **named: Any) -> AsyncIterator[AsyncRegistry]:
        """A client for the time of the verb. It learns nothing: a verb asks where it was told to ask.

        keep: a token that was renewed takes the place of the one that is kept.
        timeout_s: seconds for one request, where no others were given; 0: the usual ones.
        """
        known = kept.kept_at(self.place)
        if known is not None and self.user not in ("", known.user):
            known = None
        options = self._as(known)
        if timeout_s and not self.is_timeout_given:
            options = replace(options, timeout_s=timeout_s)
        async with AsyncRegistry(options=options, learn=False, watch=False, **named) as client:
            yield client
            if known is not None and keep and (token := await client.api.calls.token()) != known.token:
                kept.keep(self.place, kept.Kept(known.user, token))

    def _as(self, known: kept.Kept | None) -> Options:
        """Options with the account: who is logged in, else who is named."""
        if known is None:
            return replace(self.options, login=(self.user, password_of(self.user))) if self.user else self.options
        password = os.environ.get(PASSWORD_VARIABLE, "")
        if not password and life_s(known.token, time.time()) <= 0:
            missing = f"the log-in of {known.user} has ended; `registry login` logs in again"
            password = prompted(f"Password of {known.user}", missing)
        return replace(self.options, login=(known.user, password) if password else None, token=known.token)


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
    return kept.folder() / "profiles.toml"


def _asking(given: dict[str, Any]) -> Asking:
    profile = _profile(given["profile"] or os.environ.get(PROFILE_VARIABLE, ""))

    def chosen(name: str, default: Any = "") -> Any:
        """By flag, else by variable, else by profile."""
        by_variable = os.environ.get(VARIABLES[name], "") if name in VARIABLES else ""
        return given[name] or by_variable or profile.get(name, default)

    options = Options(
        chosen("server"),
        tenant=chosen("tenant", "default"),
        project=chosen("project", "default"),
        tls=_tls(chosen("ca"), chosen("cert"), chosen("key")),
        timeout_s=float(chosen("timeout", 5.0)),
    )
    form: Form = "json" if given["as_json"] else chosen("output", "table")
    if form not in FORMS:
        raise Failure(Exit.USAGE, f"there is no form {form!r} of output, only {', '.join(FORMS)}")
    return Asking(options, form, chosen("user"), bool(chosen("timeout")))


def password_of(user: str) -> str:
    """The password of an account."""
    return os.environ.get(PASSWORD_VARIABLE, "") or prompted(
        f"Password of {user}", f"the password of {user} is missing; set {PASSWORD_VARIABLE}"
    )


def prompted(question: str, missing: str, *, twice: bool = False) -> str:
    """What is typed, unseen. Where nobody can type, `missing` says what to do."""
    if not sys.stdin.isatty():
        raise Failure(Exit.USAGE, missing)
    return str(click.prompt(question, hide_input=True, confirmation_prompt=twice, err=True))


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
