"""fold_access: how the facts about accounts change their view. Part of `fold`, with the same promises."""

from __future__ import annotations

from typing import assert_never

from msgspec import structs

from registry.domain.access_errors import (
    AccountConflict,
    AccountHasInvalidRole,
    AccountNotExists,
    MachineTokenConflict,
    MachineTokenNotExists,
    RoleConflict,
    RoleIsBound,
    RoleNotExists,
)
from registry.domain.access_events import (
    AccountChanged,
    AccountCreated,
    AccountDeleted,
    MachineTokenGiven,
    MachineTokenRevoked,
    PasswordSet,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    SigningKeyAdded,
)
from registry.domain.accounts import (
    BUILT_IN,
    INACTIVE,
    KEYS_MAX,
    AccessView,
    Account,
    MachineToken,
    Role,
    SigningKey,
)
from registry.domain.errors import RegistryError
from registry.domain.outcome import Outcome

AccessFact = (
    AccountCreated
    | AccountChanged
    | PasswordSet
    | AccountDeleted
    | RoleCreated
    | RoleChanged
    | RoleDeleted
    | MachineTokenGiven
    | MachineTokenRevoked
    | SigningKeyAdded
)


def apply_access(view: AccessView, event: AccessFact) -> Outcome:
    """Apply a fact; refused, it changes nothing."""
    try:
        _change(view, event)
    except RegistryError as error:
        return Outcome(error=error)
    view.version = object()
    return Outcome()


def _change(view: AccessView, event: AccessFact) -> None:
    match event:
        case AccountCreated():
            _create_account(view, event)
        case AccountChanged():
            _change_account(view, event)
        case PasswordSet():
            account = account_or_refuse(view, event.name)
            _replace(view, account, event, password=event.password, era=_era(event))
        case AccountDeleted():
            account_or_refuse(view, event.name)
            del view.accounts[event.name]
        case RoleCreated():
            if view.role(event.name) is not None:
                raise RoleConflict(f"role {event.name} exists")
            at = _seconds(event)
            view.roles[event.name] = Role(event.name, event.id, event.perms, at, at)
        case RoleChanged():
            role = _own_role(view, event.name)
            view.roles[event.name] = structs.replace(role, perms=event.perms, update_time=_seconds(event))
        case RoleDeleted():
            _own_role(view, event.name)
            holder = view.bound(event.name)
            if holder:
                raise RoleIsBound(f"role {event.name} is bound to {holder}")
            del view.roles[event.name]
        case MachineTokenGiven():
            if event.name in view.machines:
                raise MachineTokenConflict(f"machine token {event.name} exists")
            check_roles(view, event.roles)
            view.machines[event.name] = MachineToken(
                event.name, event.id, event.roles, event.expires_s, event.actor, _seconds(event)
            )
        case MachineTokenRevoked():
            if event.name not in view.machines:
                raise MachineTokenNotExists(f"there is no machine token {event.name}")
            del view.machines[event.name]
        case SigningKeyAdded():
            kept = [] if event.alone else [key for key in view.keys if key.kid != event.kid]
            view.keys = [*kept, SigningKey(event.kid, event.pem)][-KEYS_MAX:]
        case _:
            assert_never(event)


def _create_account(view: AccessView, event: AccountCreated) -> None:
    if event.name in view.accounts:
        raise AccountConflict(f"account {event.name} exists")
    check_roles(view, event.roles)
    at = _seconds(event)
    view.accounts[event.name] = Account(
        event.name, event.id, event.password, event.roles, _era(event), event.status, at, at
    )


def _change_account(view: AccessView, event: AccountChanged) -> None:
    account = account_or_refuse(view, event.name)
    check_roles(view, event.roles)
    status = event.status or account.status
    era = _era(event) if status == INACTIVE else account.era
    _replace(view, account, event, roles=event.roles, status=status, era=era)


def _replace(view: AccessView, account: Account, event: AccessFact, **members: object) -> None:
    view.accounts[account.name] = structs.replace(account, update_time=_seconds(event), **members)


def account_or_refuse(view: AccessView, name: str) -> Account:
    account = view.accounts.get(name)
    if account is None:
        raise AccountNotExists(f"there is no account {name}")
    return account


def role_or_refuse(view: AccessView, name: str) -> Role:
    role = view.role(name)
    if role is None:
        raise RoleNotExists(f"there is no role {name}")
    return role


def check_roles(view: AccessView, roles: list[str]) -> None:
    """Raise AccountHasInvalidRole if one of them does not exist."""
    for name in roles:
        if view.role(name) is None:
            raise AccountHasInvalidRole(f"there is no role {name}")


def _own_role(view: AccessView, name: str) -> Role:
    if name in BUILT_IN:
        raise RoleNotExists(f"role {name} is not in this log")
    return role_or_refuse(view, name)


def _era(event: AccessFact) -> str:
    """An event's name for ever, also where its place in the log changes."""
    return f"{event.replica}-{event.number}"


def _seconds(event: AccessFact) -> str:
    return str(event.at_ms // 1000)
