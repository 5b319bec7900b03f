"""The facts of which the log of the accounts consists. For how they may evolve see `events`."""

from __future__ import annotations

from typing import ClassVar

from registry.domain.accounts import ACTIVE, Permission, Secret
from registry.domain.recorded import Recorded


class AccessEvent(Recorded, frozen=True):
    """A fact about accounts, roles, tokens of machines, or keys."""

    since: ClassVar[int] = 2


class AccountCreated(AccessEvent, frozen=True, tag="account-created"):
    name: str
    id: str
    password: Secret
    roles: list[str]
    status: str = ACTIVE


class AccountChanged(AccessEvent, frozen=True, tag="account-changed"):
    """`status` "": it stays as it is."""

    name: str
    roles: list[str]
    status: str = ""


class PasswordSet(AccessEvent, frozen=True, tag="password-set"):
    name: str
    password: Secret


class AccountDeleted(AccessEvent, frozen=True, tag="account-deleted"):
    name: str


class RoleCreated(AccessEvent, frozen=True, tag="role-created"):
    name: str
    id: str
    perms: list[Permission]


class RoleChanged(AccessEvent, frozen=True, tag="role-changed"):
    name: str
    perms: list[Permission]


class RoleDeleted(AccessEvent, frozen=True, tag="role-deleted"):
    name: str


class MachineTokenGiven(AccessEvent, frozen=True, tag="machine-token-given"):
    """`expires_s`: Unix seconds."""

    name: str
    id: str
    roles: list[str]
    expires_s: int


class MachineTokenRevoked(AccessEvent, frozen=True, tag="machine-token-revoked"):
    name: str


class SigningKeyAdded(AccessEvent, frozen=True, tag="signing-key-added"):
    """It signs from now on. `alone`: no other key is valid any more."""

    kid: str
    pem: Secret
    alone: bool = False
