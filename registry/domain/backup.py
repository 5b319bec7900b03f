"""Backup: everything that a deployment has been told, as lines of JSON, independent of the store and of its log.

A dump begins with a `Header` and ends with an `End`, which tells how many lines there are and their digest, so that
half a dump is none. Between them each tenant has a `TenantLine` and what it holds, each part behind what it needs: a
service before its instances, all services before the dependencies, roles before the accounts.

Left out is what the registry makes by itself: its own microservice, leases, heartbeats, history, snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from registry.domain.accounts import AccessView, Account, MachineToken, Role, SigningKey
from registry.domain.model import Instance, Microservice, Policy, Schema, decode_instance
from registry.domain.own import is_own
from registry.domain.tenant import Tenant
from registry.domain.view import GroupKey, RegistryView

#: What this version writes. It reads this one and all before it.
FORMAT: Final = 1
#: Bytes of one line. A service stands in one, with all of its schemas.
LINE_MAX_BYTES: Final = 256 * 1024 * 1024


class BadDump(ValueError):
    """The file is no dump, is not whole, or is of a newer format; the message says where."""


class Header(Struct, frozen=True, tag="dump"):
    """`version`: of the registry that wrote it. `at_ms`: when, Unix ms."""

    format: int
    version: str
    at_ms: int


class TenantLine(Struct, frozen=True, tag="tenant"):
    """What follows is of this tenant, as its log had it at `position`."""

    domain: str
    project: str
    position: str

    @property
    def tenant(self) -> Tenant:
        return Tenant(self.domain, self.project)


class ServiceLine(Struct, frozen=True, tag="service", omit_defaults=True):
    """`schemas`: those that have content."""

    service: Microservice
    tags: dict[str, str] = {}
    schemas: list[Schema] = []


class InstanceLine(Struct, frozen=True, tag="instance"):
    instance: Instance


class DependenciesLine(Struct, frozen=True, tag="dependencies", rename="camel"):
    """What a consumer has found: environment, application and name of each."""

    consumer_id: str
    providers: list[GroupKey]


class PolicyLine(Struct, frozen=True, tag="policy"):
    policy: Policy


class RoleLine(Struct, frozen=True, tag="role"):
    role: Role


class AccountLine(Struct, frozen=True, tag="account"):
    """With the hash of its password."""

    account: Account


class MachineLine(Struct, frozen=True, tag="machine-token"):
    machine: MachineToken


class KeysLine(Struct, frozen=True, tag="signing-keys"):
    """The private keys of the deployment, eldest first."""

    keys: list[SigningKey]


class End(Struct, frozen=True, tag="end"):
    """`lines` before this one, and the SHA-256 of their bytes, in hex."""

    lines: int
    digest: str


#: What a tenant holds.
Held = ServiceLine | InstanceLine | DependenciesLine | PolicyLine | RoleLine | AccountLine | MachineLine | KeysLine
Line = Header | TenantLine | Held | End

encode_line = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


# -- taking ------------------------------------------------------------------------------------------------------------


def held_by(view: RegistryView) -> Iterator[Held]:
    """What the view holds. It must not change meanwhile."""
    for row in view.services.values():
        if is_own(view, row.service_id):
            continue
        yield ServiceLine(row.service, row.tags, list(row.schemas.values()))
        for instance in row.instances.values():
            yield InstanceLine(decode_instance(instance.body))
    for consumer_id, keys in view.providers.items():
        if not is_own(view, consumer_id):
            yield DependenciesLine(consumer_id, list(keys))
    for policy in view.policies.values():
        yield PolicyLine(policy)
    if view.access is not None:
        yield from _access(view.access)


def _access(access: AccessView) -> Iterator[Held]:
    yield from map(RoleLine, access.roles.values())
    yield from map(AccountLine, access.accounts.values())
    yield from map(MachineLine, access.machines.values())
    if access.keys:
        yield KeysLine(list(access.keys))


class Writer:
    """Turns lines into bytes, and knows the last one."""

    def __init__(self) -> None:
        self._digest = sha256()
        self.lines = 0

    def line(self, line: Header | TenantLine | Held) -> bytes:
        encoded = encode_line(line) + b"\n"
        self._digest.update(encoded)
        self.lines += 1
        return encoded

    def end(self) -> bytes:
        return encode_line(End(self.lines, self._digest.hexdigest())) + b"\n"


# -- reading -----------------------------------------------------------------------------------------------------------


def read(lines: Iterable[bytes]) -> Iterator[TenantLine | Held]:
    """What a dump says. Its end is checked when it is reached, so nothing should be done before.

    Raises:
        BadDump
    """
    digest, number, ended, tenant = sha256(), 0, False, False
    for number, encoded in enumerate(lines, 1):
        if ended:
            raise BadDump(f"line {number}: the dump has ended before")
        line = _line(number, encoded)
        match line:
            case Header():
                _check_header(number, line)
            case End():
                if line != End(number - 1, digest.hexdigest()):
                    raise BadDump(f"line {number}: the {number - 1} lines before are not those that were written")
                ended = True
            case TenantLine():
                tenant = True
                yield line
            case _:
                if not tenant:
                    raise BadDump(f"line {number}: no tenant is named before it")
                yield line
        digest.update(encoded)
    if not ended:
        raise BadDump(f"it ends after line {number}, and a whole dump ends with a line of the type 'end'")


def _line(number: int, encoded: bytes) -> Line:
    if len(encoded) > LINE_MAX_BYTES:
        raise BadDump(f"line {number}: it is longer than {LINE_MAX_BYTES} bytes")
    try:
        line: Line = _decode(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise BadDump(f"line {number}: {exc}") from exc
    if isinstance(line, Header) != (number == 1):
        raise BadDump(f"line {number}: a dump begins with one line of the type 'dump', and has no other of it")
    return line


def _check_header(number: int, header: Header) -> None:
    if not 1 <= header.format <= FORMAT:
        raise BadDump(
            f"line {number}: it has format {header.format}, written by registry {header.version}; "
            f"this version reads format {FORMAT}"
        )
