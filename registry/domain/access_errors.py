"""What a client is told that may not, or not yet, do what it asks (api-rules.md 2 and 3.16)."""

from __future__ import annotations

from registry.domain.errors import RegistryError


class AccountNotExists(RegistryError):
    code = 400200
    message = "Account does not exist"


class RoleNotExists(RegistryError):
    code = 400201
    message = "Role does not exist"


class AccountHasInvalidRole(RegistryError):
    code = 400202
    message = "Account has invalid role(s)"


class AccountNoQuota(RegistryError):
    code = 400203
    message = "No quota to create account"


class RoleNoQuota(RegistryError):
    code = 400204
    message = "No quota to create role"


class RoleIsBound(RegistryError):
    code = 400205
    message = "Role is bound to account(s)"


class NewPasswordBad(RegistryError):
    code = 400206
    message = "New password must not be the old one"


class MachineTokenNotExists(RegistryError):
    """The API has no machine tokens, so no code for a missing one."""

    code = 400001
    message = "Machine token does not exist"


class Unauthorized(RegistryError):
    code = 401201
    message = "Request unauthorized"


class UserOrPasswordWrong(RegistryError):
    code = 401202
    message = "User name or password is wrong"


class UserOrPasswordWrongHalfOpen(RegistryError):
    """As `UserOrPasswordWrong`, where services are open to all: clients then go on without a token."""

    code = 401302
    message = "User name or password is wrong"


class NoToken(RegistryError):
    code = 401204
    message = "No authorization header"


class TokenExpired(RegistryError):
    code = 401205
    message = "Token is expired"


class TokenOwnerGone(RegistryError):
    code = 401206
    message = "Token owner account is deleted"


class OldPasswordWrong(RegistryError):
    code = 401207
    message = "Old password is wrong"


class AccountBlocked(RegistryError):
    code = 403201
    message = "Account is blocked"


class BuiltInAccount(RegistryError):
    code = 403202
    message = "Forbid to operate the build-in account"


class BuiltInRole(RegistryError):
    code = 403203
    message = "Forbid to operate the build-in role"


class OwnAccount(RegistryError):
    code = 403204
    message = "Forbid to operate own account"


class NoPermission(RegistryError):
    code = 403205
    message = "No permission(s)"


class AccountConflict(RegistryError):
    code = 409200
    message = "Account name is duplicated"


class RoleConflict(RegistryError):
    code = 409201
    message = "Role name is duplicated"


class MachineTokenConflict(RegistryError):
    """As `AccountConflict`, of what the API does not have."""

    code = 409200
    message = "Machine token name is duplicated"
