"""decide: from the accounts as they are and what is asked to the fact that is to be recorded, or to a refusal.

Pure; codes as in api-rules.md 3.16. Passwords come in as hashes: to make one takes time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from registry.access import request_bodies
from registry.access.passwords import complaint
from registry.access.request_bodies import AccountBody, ChangeAccount, MachineTokenBody, RoleBody
from registry.domain.access_errors import (
    AccountConflict,
    AccountNoQuota,
    BuiltInAccount,
    BuiltInRole,
    MachineTokenConflict,
    MachineTokenNotExists,
    OwnAccount,
    RoleConflict,
    RoleIsBound,
    RoleNoQuota,
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
)
from registry.domain.accounts import ACTIVE, ADMIN, BUILT_IN, ROOT, AccessView, Permission, Secret
from registry.domain.decide import Stamp
from registry.domain.errors import InvalidParams, NotEnoughQuota
from registry.domain.fold_access import account_or_refuse, check_roles, role_or_refuse

#: Tokens of machines; those that have ended count until they are revoked.
MACHINE_TOKENS_MAX: Final = 1000


class AccessQuotas(NamedTuple):
    """How many there may be (api-rules.md 7)."""

    accounts: int = 1000
    roles: int = 100


def create_root(view: AccessView, password: Secret, id: str, stamp: Stamp) -> AccountCreated | PasswordSet:
    """Make the account that may do everything, or give it this password."""
    if ROOT in view.accounts:
        return PasswordSet(name=ROOT, password=password, **stamp._asdict())
    return AccountCreated(name=ROOT, id=id, password=password, roles=[ADMIN], **stamp._asdict())


def check_new_account(view: AccessView, body: AccountBody, quotas: AccessQuotas) -> str:
    """The name of the account that is to be created; everything that is wrong with it is raised.

    Raises:
        AccountNoQuota, InvalidParams, AccountHasInvalidRole, AccountConflict
    """
    if len(view.accounts) >= quotas.accounts:
        raise AccountNoQuota(f"there are {len(view.accounts)} accounts, {quotas.accounts} at most (QUOTA_ACCOUNT)")
    name = request_bodies.NAME.check(body.name or "", "name", "`$.name`")
    roles = body.role_names()
    if len(roles) > request_bodies.ROLES_MAX:
        raise InvalidParams(f"a list of at most {request_bodies.ROLES_MAX} element(s) - at `$.roles`")
    request_bodies.to_status(body.status)
    wrong = complaint(body.password or "", name)
    if wrong:
        raise InvalidParams(f"{wrong} - at `$.password`")
    check_roles(view, roles)
    if name in view.accounts:
        raise AccountConflict(f"account {name} exists")
    return name


def create_account(
    view: AccessView, body: AccountBody, password: Secret, quotas: AccessQuotas, id: str, stamp: Stamp
) -> AccountCreated:
    name = check_new_account(view, body, quotas)
    status = request_bodies.to_status(body.status) or ACTIVE
    roles = body.role_names()
    return AccountCreated(name=name, id=id, password=password, roles=roles, status=status, **stamp._asdict())


def change_account(view: AccessView, name: str, body: ChangeAccount, by: str, stamp: Stamp) -> AccountChanged:
    """`by`: the account that asks."""
    account = account_or_refuse(view, name)
    _refuse_special(name, by)
    status = request_bodies.to_status(body.status)
    roles = list(dict.fromkeys(body.roles if body.roles is not None else account.roles))
    check_roles(view, roles)
    return AccountChanged(name=name, roles=roles, status=status, **stamp._asdict())


def delete_account(view: AccessView, name: str, by: str, stamp: Stamp) -> AccountDeleted:
    account_or_refuse(view, name)
    _refuse_special(name, by)
    return AccountDeleted(name=name, **stamp._asdict())


def _refuse_special(name: str, by: str) -> None:
    if name == ROOT:
        raise BuiltInAccount(f"account {ROOT} is always there")
    if name == by:
        raise OwnAccount("ask another account to do this")


def set_password(view: AccessView, name: str, password: Secret, stamp: Stamp) -> PasswordSet:
    account_or_refuse(view, name)
    return PasswordSet(name=name, password=password, **stamp._asdict())


def create_role(view: AccessView, body: RoleBody, quotas: AccessQuotas, id: str, stamp: Stamp) -> RoleCreated:
    permissions = request_bodies.to_permissions(body.perms)
    if view.role(body.name) is not None:
        raise RoleConflict(f"role {body.name} exists")
    if len(view.roles) >= quotas.roles:
        raise RoleNoQuota(f"there are {len(view.roles)} roles, {quotas.roles} at most (QUOTA_ROLE)")
    return RoleCreated(name=body.name, id=id, perms=permissions, **stamp._asdict())


def change_role(view: AccessView, name: str, permissions: list[Permission], stamp: Stamp) -> RoleChanged:
    _refuse_built_in(name)
    role_or_refuse(view, name)
    return RoleChanged(name=name, perms=permissions, **stamp._asdict())


def delete_role(view: AccessView, name: str, stamp: Stamp) -> RoleDeleted:
    _refuse_built_in(name)
    role_or_refuse(view, name)
    holder = view.bound(name)
    if holder:
        raise RoleIsBound(f"role {name} is bound to {holder}")
    return RoleDeleted(name=name, **stamp._asdict())


def _refuse_built_in(name: str) -> None:
    if name in BUILT_IN:
        raise BuiltInRole(f"role {name} is always there, and always the same")


def give_machine_token(
    view: AccessView, body: MachineTokenBody, lasts_s: float, id: str, stamp: Stamp
) -> MachineTokenGiven:
    if body.name in view.machines:
        raise MachineTokenConflict(f"machine token {body.name} exists; revoke it, or choose another name")
    if len(view.machines) >= MACHINE_TOKENS_MAX:
        raise NotEnoughQuota(f"there are {MACHINE_TOKENS_MAX} machine tokens; revoke those that nobody needs")
    roles = list(dict.fromkeys(body.roles))
    check_roles(view, roles)
    expires_s = stamp.at_ms // 1000 + int(lasts_s)
    return MachineTokenGiven(name=body.name, id=id, roles=roles, expires_s=expires_s, **stamp._asdict())


def revoke_machine_token(view: AccessView, name: str, stamp: Stamp) -> MachineTokenRevoked:
    if name not in view.machines:
        raise MachineTokenNotExists(f"there is no machine token {name}")
    return MachineTokenRevoked(name=name, **stamp._asdict())
