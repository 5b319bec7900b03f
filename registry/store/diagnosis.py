"""Diagnosis: why a registry cannot start on this Redis, and what helps, in one sentence that holds no password."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from registry.domain.errors import StoreUnavailable
from registry.store.address import Node, parse_address
from registry.store.sentinel import NoMaster, SentinelsSilent

TLS_FILES: Final = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
#: What servers say, by their age, of a script whose user lacks a right.
NOT_ALLOWED: Final = ("can't run this command", "ACL failure in script")
#: Words of Redis, and what they mean.
REFUSALS: Final = {
    "DB index": "has no database of that number; mend it in the URL",
    "not an integer": "has no database of that number; mend it in the URL",
    "cluster support disabled": "is no cluster; its URL must begin with redis:// or rediss://",
    "unknown command 'HELLO'": "is too old: the registry needs 6.2 or newer",
    "unknown command 'SENTINEL'": "are no sentinels; the URL of a server begins with redis:// or rediss://",
    "read only replica": "is a replica; the URL must name its master, or the sentinels that know it",
    "MISCONF": "refuses writes, for it cannot save them; look at its disk and its log",
    "NOREPLICAS": "refuses writes, for it has fewer replicas than its min-replicas-to-write; start them, or lower that",
    "used memory > 'maxmemory'": "refuses writes, for its memory is full; raise its maxmemory",
    "LOADING": "is still loading its data; start the registry when it has done so",
}


def diagnose(failure: StoreUnavailable, url: str) -> str:
    """The sentence, of what the store raised and the URL that it was given."""
    case = _Case(failure, url)
    for explain in (_login, _rights, _tls, _network, _refusal):
        found = explain(case)
        if found:
            return f"{case.place} {found}"
    return f"{case.place} cannot be used: {case.text}"


class _Case:
    """One failure, with its causes from the outside in."""

    def __init__(self, failure: StoreUnavailable, url: str) -> None:
        self.causes = list(_causes(failure))
        self.address = parse_address(url)
        self._parts = urlsplit(url)
        self.options = {name: values[0] for name, values in parse_qs(self._parts.query).items()}
        self.speaks_tls = self._parts.scheme.startswith("rediss")
        self.has_login = bool(self._parts.password or self.options.get("password") or self.address.password_file)

    def first(self, *kinds: type[BaseException]) -> Any:
        return next((cause for cause in self.causes if isinstance(cause, kinds)), None)

    @property
    def text(self) -> str:
        """What the innermost error of Redis says, on one line."""
        said = [cause for cause in self.causes if isinstance(cause, RedisError)] or self.causes
        return " ".join(str(said[-1]).split()).rstrip(".")

    @property
    def place(self) -> str:
        """Who fails."""
        address = self.address
        hosts = ", ".join(_host_port(node) for node in address.nodes)
        if address.mode == "cluster":
            return f"the Redis Cluster at {hosts}"
        if self.first(SentinelsSilent):
            return f"the sentinels at {hosts}"
        if address.mode == "sentinel":
            return f"the Redis that sentinels name as {address.service}"
        if self._parts.scheme == "unix":
            return f"Redis at {unquote(self._parts.path)}"
        return f"Redis at {_host_port(Node(self._parts.hostname or 'localhost', self._parts.port or 6379))}"


def _causes(failure: BaseException | None) -> Iterator[BaseException]:
    while failure is not None:
        yield failure
        failure = failure.__cause__ or failure.__context__


def _words(error: BaseException) -> str:
    """The reason in an error of the system or of the TLS library, which is not always where it should be."""
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or error.args[0]
    return str(said[0] if isinstance(said, tuple) else said).replace("_", " ").rstrip(".")


def _host_port(node: Node) -> str:
    return f"[{node.host}]:{node.port}" if ":" in node.host else f"{node.host}:{node.port}"


def _login(case: _Case) -> str:
    if not case.first(AuthenticationError):
        return ""
    if case.first(SentinelsSilent):
        return "refuse the login; mend sentinel_username and sentinel_password in the URL"
    if case.address.password_file:
        return f"refuses the login; mend the user in the URL, or the password in {case.address.password_file}"
    if case.has_login:
        return "refuses the login; mend the user or the password in the URL"
    return "wants a login; put USER:PASSWORD@ before the host in the URL"


def _rights(case: _Case) -> str:
    if case.first(NoPermissionError) or any(words in case.text for words in NOT_ALLOWED):
        page = "registry/docs/production.md"
        return f"does not allow its user what the registry needs ({case.text}); {page} has the ACL line"
    return ""


def _tls(case: _Case) -> str:
    if not case.speaks_tls:
        return ""
    error = case.first(ssl.SSLError)
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message.rstrip(".")
        return f"is not trusted: {said}; ssl_ca_certs must name its authority, and its certificate the host in the URL"
    if error is not None:
        return f"and the registry do not agree on TLS: {_words(error)}; look at the parameters ssl_… of the URL"
    lacking = [name for name in TLS_FILES if name in case.options and not os.access(case.options[name], os.R_OK)]
    if lacking and case.first(OSError):
        files = ", ".join(f"{name} {case.options[name]}" for name in lacking)
        return f"cannot be asked by TLS: what the URL names cannot be read: {files}"
    if case.first(RedisTimeoutError, TimeoutError):
        return "does not answer in time; if it does not speak TLS, the URL must begin with redis"
    return ""


def _network(case: _Case) -> str:
    if case.first(InvalidResponse):
        return "is something else than Redis; mend the URL"
    error = case.first(socket.gaierror, UnicodeError)
    if error is not None:
        return f"cannot be found: {_words(error)}; mend the host in the URL"
    if case.first(RedisTimeoutError, TimeoutError):
        return "does not answer in time; look at it, or raise REGISTRY_REDIS_TIMEOUT_S"
    if case.first(ConnectionResetError, BrokenPipeError) or "closed by server" in case.text:
        return "ends the connection; if it wants TLS, the URL must begin with rediss"
    error = case.first(OSError)
    if error is not None:
        # Where there are several servers, the text says which one it is.
        said = os.strerror(error.errno) if case.address.mode == "server" else case.text
        return f"cannot be reached: {said}; start it, or mend the URL"
    return ""


def _refusal(case: _Case) -> str:
    if case.first(NoMaster):
        return f"cannot be found: {case.text}; look at them, or mend the name in the URL"
    if case.first(ClusterDownError):
        return f"is down ({case.text}); look at its CLUSTER INFO"
    # Before Redis 7 words are quoted otherwise.
    said = " ".join(str(cause) for cause in case.causes).replace("`", "'")
    return next((meaning for words, meaning in REFUSALS.items() if words in said), "")
