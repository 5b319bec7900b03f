"""Address: what `REGISTRY_REDIS_URL` says of where Redis is and how it is deployed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

Mode = Literal["server", "sentinel", "cluster"]

SCHEMES: Final[dict[str, tuple[Mode, str]]] = {
    "redis": ("server", "redis"),
    "rediss": ("server", "rediss"),
    "unix": ("server", "unix"),
    "redis+sentinel": ("sentinel", "redis"),
    "rediss+sentinel": ("sentinel", "rediss"),
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
}
DEFAULT_PORTS: Final[dict[Mode, int]] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
#: What may stand behind the `?`: nothing that would change what the store promises (time limits, retries, decoding).
OPTIONS: Final = {"username", "password", "password_file", "client_name", "protocol"}
TLS_OPTIONS: Final = {
    *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
    *("ssl_cert_reqs", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
}
SENTINEL_OPTIONS: Final = {"sentinel_username", "sentinel_password", "sentinel_password_file"}
#: What the value of a parameter must look like, and how that is said.
VALUES: Final = {
    "db": (r"\d{1,9}", "a number"),
    "protocol": ("[23]", "2 or 3"),
    "ssl_cert_reqs": ("required|optional|none", "required, optional or none"),
    "ssl_check_hostname": ("true|false", "true or false"),
    "ssl_min_version": ("771|772", "771 (TLS 1.2) or 772 (TLS 1.3)"),
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(?::(\d{1,5}))?")


class BadAddress(ValueError):
    """The URL cannot be used; the message says why, without any password."""


class Node(NamedTuple):
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach Redis.

    `url` is what redis-py understands: that of the server, or, where servers are found through others, one that lacks
    only the host. Passwords stand in it, so it is never printed.
    """

    mode: Mode
    url: str = field(repr=False)
    #: The sentinels, or some servers of the cluster; empty for a single server.
    nodes: tuple[Node, ...] = ()
    #: The name under which the sentinels know the master.
    service: str = ""
    #: What the sentinels themselves ask for.
    sentinel_login: dict[str, str] = field(default_factory=dict, repr=False)
    #: From where the password is read, "" when it stands in the URL or is none.
    password_file: str = ""


def parse_address(url: str) -> Address:
    """Read a URL such as `redis://…`, `unix:///…`, `redis+sentinel://host:port,host:port/service`, `redis+cluster://…`.

    Raises:
        BadAddress: it is of another form.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise BadAddress(
            "must begin with redis://, rediss:// or unix://, or with redis+sentinel:// or redis+cluster://"
        )
    mode, base = SCHEMES[scheme]
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        if parts.fragment:
            raise ValueError("what stands after # would be lost")
    except ValueError:
        # Its own message may quote the password.
        raise BadAddress("cannot be read: what is special in a URL must be percent-encoded in a password") from None
    _check_options(mode, base, options)
    password_file = options.pop("password_file", "")
    if password_file:
        url = f"{url.partition('?')[0]}?{urlencode(options)}".removesuffix("?")
    if base == "unix":
        if not parts.path or parts.netloc.rpartition("@")[2]:
            raise BadAddress("must name a socket: unix:///PATH")
        return Address(mode, url, password_file=password_file)
    login, at, hosts = parts.netloc.rpartition("@")
    nodes = tuple(_node(host, mode) for host in hosts.split(","))
    if mode == "server":
        if len(nodes) > 1:
            raise BadAddress("names several servers: redis+sentinel:// or redis+cluster:// tells what they are")
        if not re.fullmatch(r"(/\d{0,9})?", unquote(parts.path)):
            raise BadAddress("must end in the number of a database, if in anything: redis://HOST:PORT/DB")
        return Address(mode, url, password_file=password_file)
    path = unquote(parts.path.strip("/"))
    if mode == "sentinel" and not path:
        raise BadAddress("must end in the name of the master: redis+sentinel://host:port,host:port/NAME")
    if mode == "cluster" and (path not in ("", "0") or options.get("db", "0") != "0"):
        raise BadAddress("names a database, but a cluster has only one")
    sentinel_login = {name.removeprefix("sentinel_"): options.pop(name) for name in SENTINEL_OPTIONS & set(options)}
    return Address(mode, f"{base}://{login}{at}?{urlencode(options)}", nodes, path, sentinel_login, password_file)


def with_password_files(url: str, password_file: str, sentinel_password_file: str) -> str:
    """The URL that names these files too, "" for none."""
    files = {"password_file": password_file, "sentinel_password_file": sentinel_password_file}
    more = urlencode({name: path for name, path in files.items() if path})
    if not more or more in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}{more}"


def _node(text: str, mode: Mode) -> Node:
    if not text and mode == "server":
        return Node("localhost", DEFAULT_PORTS[mode])
    match = _HOST.fullmatch(text)
    if match is None or not 0 < int(match[2] or 1) < 65536:
        raise BadAddress("must name its servers as HOST:PORT, several separated by commas")
    return Node(unquote(match[1]).strip("[]"), int(match[2] or DEFAULT_PORTS[mode]))


def _check_options(mode: Mode, base: str, options: dict[str, str]) -> None:
    known = OPTIONS | {"db"} | (SENTINEL_OPTIONS if mode == "sentinel" else set())
    for name, value in options.items():
        if name in TLS_OPTIONS and base != "rediss":
            raise BadAddress(f"sets {name}, which needs TLS: a scheme that begins with rediss")
        if name not in known | TLS_OPTIONS:
            raise BadAddress(f"has a parameter {name[:40]!r} that the registry does not know")
        form, said = VALUES.get(name, (".*", ""))
        if not re.fullmatch(form, value, re.IGNORECASE):
            raise BadAddress(f"has a parameter {name} that is not {said}")
