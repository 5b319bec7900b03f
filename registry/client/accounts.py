"""Accounts: the accounts, roles and tokens of a registry that has them (api-rules.md 3.16).

Everything here raises `NotOffered` where the registry has no accounts, `Refused` when it refuses, and `Unreachable`
when no address answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from msgspec import field

from registry.client.calls import Calls
from registry.client.wire import Credentials, Token, WireStruct


class Account(WireStruct, frozen=True):
    """Times are Unix seconds, as text."""

    name: str
    id: str = ""
    roles: list[str] = field(default_factory=list)
    status: str = ""
    create_time: str = ""
    update_time: str = ""


class NewAccount(WireStruct, frozen=True):
    name: str
    password: str
    roles: list[str]


class AccountChange(WireStruct, frozen=True):
    """What is empty stays."""

    roles: list[str] = field(default_factory=list)
    status: str = ""


class NewPassword(WireStruct, frozen=True):
    password: str
    current_password: str = ""


class Resource(WireStruct, frozen=True):
    type: str
    labels: dict[str, str] = field(default_factory=dict)


class Permission(WireStruct, frozen=True):
    """What may be done (`verbs`) with what (`resources`)."""

    resources: list[Resource]
    verbs: list[str]


class Role(WireStruct, frozen=True):
    name: str
    id: str = ""
    perms: list[Permission] = field(default_factory=list)
    create_time: str = ""
    update_time: str = ""


class Permissions(WireStruct, frozen=True):
    perms: list[Permission]


class MachineToken(WireStruct, frozen=True):
    """A token that was given to a machine; the token itself is not told again. `expires_at`: Unix seconds."""

    name: str
    roles: list[str] = field(default_factory=list)
    expires_at: int = 0
    created_by: str = ""
    create_time: str = ""


class NewMachineToken(WireStruct, frozen=True):
    name: str
    roles: list[str]
    token_expiration_time: str = ""


class AccountList(WireStruct, frozen=True):
    data: list[Account] = field(default_factory=list)


class RoleList(WireStruct, frozen=True):
    data: list[Role] = field(default_factory=list)


class MachineTokenList(WireStruct, frozen=True):
    data: list[MachineToken] = field(default_factory=list)


class Accounts:
    """The accounts of a registry; they are the same for all tenants."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def _ask(self, method: str, path: str, wanted: Any = None, body: Any = None) -> Any:
        return (await self._calls.call(method, f"/v4/{path}", wanted, body=body, optional=True)).value

    async def log_in(self, name: str, password: str, lasts: str = "") -> str:
        """A token. `lasts`: how long it counts, from `15m` to `24h`; "" is 12 hours."""
        token: Token = await self._ask("POST", "token", Token, Credentials(name, password, lasts))
        return token.token

    async def all(self) -> list[Account]:
        found: AccountList = await self._ask("GET", "accounts", AccountList)
        return found.data

    async def create(self, name: str, password: str, roles: Sequence[str]) -> None:
        await self._ask("POST", "accounts", body=NewAccount(name, password, list(roles)))

    async def change(self, name: str, roles: Sequence[str] = (), status: str = "") -> None:
        """Set the roles, the status (`active`, `inactive`), or both."""
        await self._ask("PUT", _of("accounts", name), body=AccountChange(list(roles), status))

    async def delete(self, name: str) -> None:
        await self._ask("DELETE", _of("accounts", name))

    async def set_password(self, name: str, password: str, current: str = "") -> None:
        """Set a password: one's own with the current one, anybody's as an admin."""
        await self._ask("POST", f"{_of('accounts', name)}/password", body=NewPassword(password, current))

    async def roles(self) -> list[Role]:
        """All roles, the built-in ones too."""
        found: RoleList = await self._ask("GET", "roles", RoleList)
        return found.data

    async def create_role(self, name: str, perms: Sequence[Permission]) -> None:
        await self._ask("POST", "roles", body=Role(name, perms=list(perms)))

    async def change_role(self, name: str, perms: Sequence[Permission]) -> None:
        """Replace what a role allows."""
        await self._ask("PUT", _of("roles", name), body=Permissions(list(perms)))

    async def delete_role(self, name: str) -> None:
        await self._ask("DELETE", _of("roles", name))

    async def machine_tokens(self) -> list[MachineToken]:
        found: MachineTokenList = await self._ask("GET", "machine-tokens", MachineTokenList)
        return found.data

    async def give_machine_token(self, name: str, roles: Sequence[str], lasts: str = "") -> str:
        """A token that belongs to no account. `lasts`: from `15m` to `8784h`; "" is 90 days."""
        body = NewMachineToken(name, list(roles), lasts)
        token: Token = await self._ask("POST", "machine-tokens", Token, body)
        return token.token

    async def revoke_machine_token(self, name: str) -> None:
        await self._ask("DELETE", _of("machine-tokens", name))


def _of(kind: str, name: str) -> str:
    return f"{kind}/{quote(name, safe='')}"
