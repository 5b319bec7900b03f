"""Accounts: who may ask for what - accounts, roles, tokens of machines, and the keys that sign tokens.

They belong to the deployment, not to a tenant, and stand in a log of their own (`view.ACCOUNTS`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

ROOT: Final = "root"
ADMIN: Final = "admin"
DEVELOPER: Final = "developer"
ACTIVE: Final = "active"
INACTIVE: Final = "inactive"

#: What a right can be about, and which of these a right may be limited within, by these labels.
RESOURCES: Final = ("account", "role", "service", "service/schema", "governance", "ops", "config")
LABELLED: Final = ("service", "service/schema", "config")
LABELS: Final = ("environment", "appId", "serviceName")
VERBS: Final = ("get", "create", "update", "delete")
ANY: Final = "*"
#: Public keys that are valid at a time; of one more the eldest goes.
KEYS_MAX: Final = 4


class Secret(Struct, frozen=True, array_like=True, gc=False):
    """A text that is never shown: a password's hash, or a private key."""

    text: str

    def __repr__(self) -> str:
        return "Secret(…)"


class Resource(Struct, frozen=True, omit_defaults=True):
    """What a right is about. `labels`: only what has these values."""

    type: str
    labels: dict[str, str] = {}


class Permission(Struct, frozen=True):
    """`verbs`: some of `VERBS`, or `ANY`."""

    resources: list[Resource]
    verbs: list[str]


class Role(Struct, frozen=True, rename="camel"):
    """A named list of permissions. Times: Unix seconds, as text."""

    name: str
    id: str = ""
    perms: list[Permission] = []
    create_time: str = "0"
    update_time: str = "0"


class Account(Struct, frozen=True):
    """`era`: tokens of another one are void. It changes with the password, and with the account's end."""

    name: str
    id: str
    password: Secret
    roles: list[str]
    era: str
    status: str = ACTIVE
    create_time: str = "0"
    update_time: str = "0"


class MachineToken(Struct, frozen=True):
    """A token that was given to a machine. The token itself is kept nowhere."""

    name: str
    id: str
    roles: list[str]
    expires_s: int
    created_by: str = ""
    create_time: str = "0"


class SigningKey(Struct, frozen=True):
    """A key of the deployment. `pem`: the private key, PKCS#8."""

    kid: str
    pem: Secret


def _all_of(*types: str) -> list[Permission]:
    return [Permission([Resource(type) for type in types], [ANY])]


#: The roles that are always there, and that nobody changes. `admin` may do everything, no matter what its list says.
BUILT_IN: Final = {
    ADMIN: Role(ADMIN, ADMIN, _all_of(*RESOURCES)),
    DEVELOPER: Role(DEVELOPER, DEVELOPER, _all_of("config", "service", "service/schema", "governance", "ops")),
}


@dataclass(slots=True, eq=False)
class AccessView:
    """All of them, at one position of their log."""

    accounts: dict[str, Account] = field(default_factory=dict)
    #: Without the built-in ones.
    roles: dict[str, Role] = field(default_factory=dict)
    machines: dict[str, MachineToken] = field(default_factory=dict)
    #: Eldest first; the last one signs.
    keys: list[SigningKey] = field(default_factory=list)
    #: Another object after every change.
    version: object = field(default_factory=object)

    def role(self, name: str) -> Role | None:
        return BUILT_IN.get(name) or self.roles.get(name)

    def bound(self, role: str) -> str:
        """An account, or token of a machine, that has the role; "" when there is none."""
        accounts = (account.name for account in self.accounts.values() if role in account.roles)
        machines = (machine.name for machine in self.machines.values() if role in machine.roles)
        return next(accounts, "") or next(machines, "")
