"""Settings: everything that can be set, each with its variable, default and unit. Read once, passed down as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from registry.store.address import BadAddress, parse_address

PREFIX: Final = "REGISTRY_"


SWITCH: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


class BadSetting(Exception):
    """A setting cannot be used; the message names it and says what it may be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What one `registry serve` runs with. The table in README.md is checked against this class by a test."""

    host: str = field(default="127.0.0.1", metadata={"unit": "address", "help": "address to listen on"})
    port: int = field(default=30100, metadata={"unit": "port", "help": "port to listen on", "min": 0, "max": 65535})
    workers: int = field(
        default=1, metadata={"unit": "processes", "help": "replicas that share the port", "min": 1, "max": 64}
    )
    redis_url: str = field(
        default="",
        repr=False,
        metadata={
            "unit": "URL",
            "help": "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// of the store; "
            "blank: a private Redis",
        },
    )
    data_dir: str = field(
        default="./data", metadata={"unit": "folder", "help": "where the private Redis keeps its data"}
    )
    advertise: str = field(
        default="",
        metadata={"unit": "HOST:PORT", "help": "where clients reach this replica; blank: the listening address"},
    )
    redis_prefix: str = field(
        default="registry:", metadata={"unit": "text", "help": "what every key in Redis begins with"}
    )
    redis_timeout_s: float = field(
        default=5.0, metadata={"unit": "seconds", "help": "until Redis counts as not answering", "min": 0.1, "max": 60}
    )
    durability: str = field(
        default="memory",
        metadata={
            "unit": "name",
            "help": "what a write has before it is answered: memory (of Redis), disk (fsynced) or replica (of Redis)",
        },
    )
    outage_after_ms: int = field(
        default=5000,
        metadata={
            "unit": "milliseconds",
            "help": "a longer silence of all replicas is an outage: leases start anew after it",
            "min": 1000,
            "max": 3_600_000,
        },
    )
    mass_lapse_share: float = field(
        default=0.5,
        metadata={
            "unit": "share",
            "help": "expiry pauses when more of a tenant's instances than this lapse within 30 seconds; 1: never",
            "min": 0.01,
            "max": 1.0,
        },
    )
    mass_lapse_least: int = field(
        default=1000,
        metadata={
            "unit": "instances",
            "help": "fewer that lapse at once never pause expiry",
            "min": 1,
            "max": 10**9,
        },
    )
    mass_lapse_hold_s: int = field(
        default=60,
        metadata={"unit": "seconds", "help": "expiry pauses for at most so long", "min": 1, "max": 86_400},
    )
    snapshot_every: int = field(
        default=10_000,
        metadata={
            "unit": "events",
            "help": "a snapshot is due after so many, or a quarter of the instances if that is more",
            "min": 10,
            "max": 10**9,
        },
    )
    snapshots_kept: int = field(
        default=2, metadata={"unit": "snapshots", "help": "so many of the newest stay", "min": 1, "max": 100}
    )
    history_s: int = field(
        default=0,
        metadata={
            "unit": "seconds",
            "help": "the log reaches back so far; 0: to the eldest of the newest snapshots",
            "min": 0,
            "max": 31_536_000,
        },
    )
    keep_alive_s: int = field(
        default=90,
        metadata={"unit": "seconds", "help": "an idle client connection is kept so long", "min": 1, "max": 3600},
    )
    stop_timeout_s: int = field(
        default=10,
        metadata={"unit": "seconds", "help": "requests under way may take so long at a stop", "min": 0, "max": 300},
    )
    quota_tenant: int = field(
        default=10_000,
        metadata={
            "unit": "tenants",
            "help": "tenants, the default one included, which is never refused",
            "min": 1,
            "max": 10**6,
            "variable": "QUOTA_TENANT",
        },
    )
    quota_service: int = field(
        default=50_000,
        metadata={
            "unit": "services",
            "help": "service versions of one tenant",
            "min": 1,
            "max": 10**9,
            "variable": "QUOTA_SERVICE",
        },
    )
    quota_instance: int = field(
        default=150_000,
        metadata={
            "unit": "instances",
            "help": "instances of one tenant",
            "min": 1,
            "max": 10**9,
            "variable": "QUOTA_INSTANCE",
        },
    )
    quota_schema: int = field(
        default=100,
        metadata={
            "unit": "schemas",
            "help": "schemas of one service",
            "min": 1,
            "max": 10**6,
            "variable": "QUOTA_SCHEMA",
        },
    )
    quota_tag: int = field(
        default=100,
        metadata={"unit": "tags", "help": "tags of one service", "min": 1, "max": 10**6, "variable": "QUOTA_TAG"},
    )
    shared_services: str = field(
        default="",
        metadata={
            "unit": "names",
            "help": "services of app default in the default tenant that everyone finds, besides SERVICECENTER",
            "variable": "CSE_SHARED_SERVICES",
        },
    )
    fast_lane: bool = field(
        default=True,
        metadata={"unit": "on or off", "help": "answer hot requests in the HTTP parser's callbacks"},
    )
    log_level: str = field(default="info", metadata={"unit": "level", "help": "debug, info, warning or error"})


def variable(name: str) -> str:
    """The environment variable of a setting. Some are named as in the reference, so that deployments move over."""
    metadata = {f.name: f.metadata for f in fields(Settings)}[name]
    return str(metadata.get("variable", PREFIX + name.upper()))


def read_settings(environment: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Settings:
    """Settings from flags, else environment variables, else defaults.

    Raises:
        BadSetting: a value is of the wrong form or out of range, or `REGISTRY_…` names no setting.
    """
    known = {variable(f.name) for f in fields(Settings)}
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            raise BadSetting(f"{name} is no setting of the registry; README.md lists them")
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        given = (flags or {}).get(setting.name)
        source = f"--{setting.name.replace('_', '-')}"
        if given is None:
            given, source = environment.get(variable(setting.name)), variable(setting.name)
        if given is not None and given != "":
            values[setting.name] = _convert(source, str(given), type(setting.default), setting.metadata)
    settings = Settings(**values)
    _check(settings)
    return settings


def _convert(source: str, text: str, type_: type, metadata: Mapping[str, Any]) -> Any:
    if type_ is str:
        return text
    if type_ is bool:
        if text.lower() not in SWITCH:
            raise BadSetting(f"{source} is {text!r}, it must be on or off")
        return SWITCH[text.lower()]
    try:
        value = type_(text)
    except ValueError as exc:
        raise BadSetting(f"{source} is {text!r}, it must be a number of {metadata['unit']}") from exc
    if not metadata["min"] <= value <= metadata["max"]:
        raise BadSetting(
            f"{source} is {text}, it must be from {metadata['min']} to {metadata['max']} ({metadata['unit']})"
        )
    return value


def _check(settings: Settings) -> None:
    try:
        if settings.redis_url:
            parse_address(settings.redis_url)
    except BadAddress as exc:
        raise BadSetting(f"REGISTRY_REDIS_URL {exc}") from exc
    if settings.advertise and not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.\-]+):\d{1,5}", settings.advertise):
        raise BadSetting(f"REGISTRY_ADVERTISE is {settings.advertise!r}, it must be HOST:PORT")
    if settings.durability not in ("memory", "disk", "replica"):
        raise BadSetting(f"REGISTRY_DURABILITY is {settings.durability!r}, it must be memory, disk or replica")
    if settings.log_level not in ("debug", "info", "warning", "error"):
        raise BadSetting(f"REGISTRY_LOG_LEVEL is {settings.log_level!r}, it must be debug, info, warning or error")
    if not settings.redis_url and Path(settings.data_dir).is_file():
        raise BadSetting(f"the data folder {settings.data_dir} is a file")
