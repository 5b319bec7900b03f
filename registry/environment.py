"""Environment: the settings as flags and environment variables give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from registry import forms
from registry.settings import PREFIX, BadSetting, Settings, variable
from registry.store.address import with_password_files

SWITCH: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}
#: What the command's remote verbs read; on the same machine they are no reason not to serve.
CLIENT_VARIABLES: Final = frozenset(
    f"{PREFIX}{name}" for name in ("SERVER", "TENANT", "PROJECT", "USER", "PASSWORD", "NEW_PASSWORD", "PROFILE")
)
#: What Kubernetes tells every pod of a Service, as NAME=value, where NAME begins with that of the Service.
_SERVICE_LINK: Final = re.compile(
    r"\w+_SERVICE_HOST=.*|\w+_SERVICE_PORT(_\w+)?=.*|\w+_PORT=(tcp|udp|sctp)://.*"
    r"|\w+_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?=.*"
)


def made_by_kubernetes(environment: Mapping[str, str]) -> list[str]:
    """The variables that look like settings, but are made by Kubernetes for a Service that is called `registry`."""
    given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    return sorted(name for name, value in given.items() if _SERVICE_LINK.fullmatch(f"{name}={value}"))


def read_settings(environment: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Settings:
    """Settings from flags, else environment variables, else defaults.

    Raises:
        BadSetting: a value is of the wrong form or out of range, or `REGISTRY_…` names no setting.
    """
    known = {variable(f.name) for f in fields(Settings)} | CLIENT_VARIABLES
    ignored = made_by_kubernetes(environment)
    for name in environment:
        if name.startswith(PREFIX) and name not in known and name not in ignored:
            raise BadSetting(f"{name} is no setting of the registry; registry/docs/settings.md lists them")
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        given = (flags or {}).get(setting.name)
        source = f"--{setting.name.replace('_', '-')}"
        if given is None and variable(setting.name) not in ignored:
            given, source = environment.get(variable(setting.name)), variable(setting.name)
        if given is not None and given != "":
            values[setting.name] = _convert(source, str(given), type(setting.default), setting.metadata)
    settings = Settings(**values)
    _check_together(settings)
    files = settings.redis_password_file, settings.redis_sentinel_password_file
    return replace(settings, redis_url=with_password_files(settings.redis_url, *files))


def _check_together(settings: Settings) -> None:
    """Raises BadSetting for settings of which one makes no sense without another."""
    for name in ("redis_password_file", "redis_sentinel_password_file"):
        if getattr(settings, name) and not settings.redis_url:
            raise BadSetting(f"{variable(name)} is set, but {variable('redis_url')} names no Redis")
    if settings.redis_sentinel_password_file and "+sentinel://" not in settings.redis_url:
        raise BadSetting(f"{variable('redis_sentinel_password_file')} is set, but {variable('redis_url')} has none")
    for name in ("tls_key_file", "tls_ca_file", "tls_port"):
        if getattr(settings, name) and not settings.tls_cert_file:
            raise BadSetting(f"{variable(name)} is set, but there is no TLS without {variable('tls_cert_file')}")
    if settings.tls_client_certs != "off" and not settings.tls_ca_file:
        needed = variable("tls_ca_file")
        raise BadSetting(f"{variable('tls_client_certs')} is {settings.tls_client_certs}, which needs {needed}")
    taken = {settings.port: "port"}
    for name in ("tls_port", "probe_port"):
        port = int(getattr(settings, name) or 0)
        if port and port in taken:
            raise BadSetting(f"{variable(name)} is {port}, and so is {variable(taken[port])}: each needs its own port")
        taken[port] = name


def _convert(source: str, text: str, type_: type, metadata: Mapping[str, Any]) -> Any:
    if type_ is bool:
        if text.lower() not in SWITCH:
            raise BadSetting(f"{source} is {text!r}, it must be on or off")
        return SWITCH[text.lower()]
    if type_ is str:
        complaint = metadata.get("form", forms.text)(text)
        if complaint:
            raise BadSetting(f"{source} {complaint}")
        return text
    try:
        value = type_(text)
        fits = metadata["min"] <= value <= metadata["max"]
    except ValueError:
        fits = False
    if not fits:
        kind = "a whole number" if type_ is int else "a number"
        limits = f"from {metadata['min']} to {metadata['max']} ({metadata['unit']})"
        raise BadSetting(f"{source} is {text!r}, it must be {kind} {limits}")
    return value
