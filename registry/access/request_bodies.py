"""What an admin may ask: the request bodies about accounts, roles and tokens, with their limits.

Every member may be null, which means absent, as in `domain.request_bodies`. No body that holds a password shows it.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from registry.domain import rules
from registry.domain.accounts import ACTIVE, ANY, INACTIVE, LABELLED, LABELS, RESOURCES, VERBS, Permission, Resource
from registry.domain.errors import InvalidParams

#: Accounts in one `POST accounts/batch-create`.
BATCH_MAX: Final = 20
ROLES_MAX: Final = 5
#: Permissions of one role, resources and verbs of one permission.
PERMISSIONS_MAX: Final = 100
RESOURCES_MAX: Final = 100
LABEL_MAX: Final = 289
#: A password that is longer is none that anybody has.
PASSWORD_MAX: Final = 1024
#: Seconds for which a token may be valid: of an account, and of a machine.
TOKEN_LEAST_S: Final = 900
TOKEN_MOST_S: Final = 86_400
TOKEN_DEFAULT_S: Final = 43_200
MACHINE_TOKEN_MOST_S: Final = 366 * 86_400
MACHINE_TOKEN_DEFAULT_S: Final = 90 * 86_400

NAME: Final = rules.Rule(rules.FRAMEWORK_NAME.words, rules.FRAMEWORK_NAME.meta.pattern or "", 64, 1)
Name = Annotated[str, NAME.meta]
Password = Annotated[str, rules.text_of(PASSWORD_MAX)]
RoleNames = Annotated[list[Name], rules.elements(1, ROLES_MAX)]
Duration = Annotated[str, Meta(max_length=40, description="a duration such as 30m or 12h")]


class _Secretive(Struct):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class LogIn(_Secretive, rename="camel"):
    """Body of `POST /v4/token`."""

    name: Annotated[str, rules.text_of(PASSWORD_MAX)] | None = None
    password: Password | None = None
    token_expiration_time: Duration | None = None


class AccountBody(_Secretive, rename="camel"):
    """Body of `POST /v4/accounts`. `role` is the older form of `roles`."""

    name: Name | None = None
    password: Password | None = None
    roles: RoleNames | None = None
    role: Name | None = None
    status: Annotated[str, rules.text_of(16)] | None = None

    def role_names(self) -> list[str]:
        """Without repetition. Raises InvalidParams."""
        found = self.roles or ([self.role] if self.role else [])
        if not found:
            raise InvalidParams("roles must hold at least one element - at `$.roles`")
        return list(dict.fromkeys(found))


class BatchAccountBody(AccountBody):
    """One of many. What is wrong with it is told beside it, so only its form is checked at once."""

    name: Annotated[str, rules.text_of(PASSWORD_MAX)] | None = None
    roles: list[str] | None = None
    role: str | None = None
    status: str | None = None


class CreateAccounts(_Secretive):
    """Body of `POST /v4/accounts/batch-create`."""

    accounts: Annotated[list[BatchAccountBody], rules.elements(1, BATCH_MAX)]


class ChangeAccount(Struct):
    """Body of `PUT /v4/accounts/{name}`; absent members stay as they are."""

    roles: RoleNames | None = None
    status: Annotated[str, rules.text_of(16)] | None = None


class ChangePassword(_Secretive, rename="camel"):
    """Body of `POST /v4/accounts/{name}/password`."""

    password: Password | None = None
    current_password: Password | None = None


class ResourceBody(Struct):
    type: str
    labels: dict[str, Annotated[str, rules.text_of(LABEL_MAX)]] | None = None


class PermissionBody(Struct):
    resources: Annotated[list[ResourceBody], rules.elements(1, RESOURCES_MAX)]
    verbs: Annotated[list[str], rules.elements(1, len(VERBS) + 1)]


Permissions = Annotated[list[PermissionBody], rules.elements(1, PERMISSIONS_MAX)]


class RoleBody(Struct):
    """Body of `POST /v4/roles`."""

    name: Name
    perms: Permissions


class ChangeRole(Struct):
    """Body of `PUT /v4/roles/{name}`."""

    perms: Permissions


class MachineTokenBody(Struct, rename="camel"):
    """Body of `POST /v4/machine-tokens`."""

    name: Name
    roles: RoleNames
    token_expiration_time: Duration | None = None


def to_permissions(bodies: list[PermissionBody]) -> list[Permission]:
    """What they mean, if they mean something: a right that is written wrongly would be none, or another one.

    Raises:
        InvalidParams
    """
    return [_permission(body, f"$.perms[{index}]") for index, body in enumerate(bodies)]


def _permission(body: PermissionBody, where: str) -> Permission:
    for index, verb in enumerate(body.verbs):
        if verb not in (*VERBS, ANY):
            raise InvalidParams(f"{', '.join(VERBS)} or {ANY} - at `{where}.verbs[{index}]`")
    resources = []
    for index, resource in enumerate(body.resources):
        at, labels = f"{where}.resources[{index}]", resource.labels or {}
        if resource.type not in RESOURCES:
            raise InvalidParams(f"one of {', '.join(RESOURCES)} - at `{at}.type`")
        if labels and resource.type not in LABELLED:
            raise InvalidParams(f"labels limit {', '.join(LABELLED)} only - at `{at}.labels`")
        if not set(labels) <= set(LABELS) and resource.type != "config":
            raise InvalidParams(f"the labels are {', '.join(LABELS)} - at `{at}.labels`")
        resources.append(Resource(resource.type, labels))
    return Permission(resources, list(dict.fromkeys(body.verbs)))


def to_status(text: str | None) -> str:
    """Raises InvalidParams; "" when it is absent."""
    if text and text not in (ACTIVE, INACTIVE):
        raise InvalidParams(f"{ACTIVE} or {INACTIVE} - at `$.status`")
    return text or ""
