"""Endpoints of accounts, roles and tokens (api-rules.md 3.16). They are there only where there are accounts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from registry.access import request_bodies
from registry.access.durations import parse_duration
from registry.access.request_bodies import (
    AccountBody,
    ChangeAccount,
    ChangePassword,
    ChangeRole,
    CreateAccounts,
    LogIn,
    MachineTokenBody,
    RoleBody,
)
from registry.domain.accounts import BUILT_IN, Account, MachineToken
from registry.domain.errors import ErrorBody, InvalidParams, RegistryError, StoreUnavailable
from registry.http_api import reply
from registry.http_api.access import Access
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Header, Reply
from registry.usecases.principals import Grant


def _access(api: Api) -> Access:
    assert api.access is not None, "its routes are there only with it"
    return api.access


def _grant(call: Call) -> Grant:
    assert call.grant is not None, "its routes need a token"
    return call.grant


def _done(late: Sequence[str]) -> Reply:
    """Success, and which replicas have not applied the change in time."""
    return reply.empty(*_late(late))


def _late(late: Sequence[str]) -> list[Header]:
    return [(b"X-Registry-Late-Replicas", ", ".join(late).encode())] if late else []


def _seconds(text: str | None, default: float, most: float) -> float:
    """How long a token lasts. Raises InvalidParams."""
    if not text:
        return default
    seconds = parse_duration(text)
    if seconds is None or not request_bodies.TOKEN_LEAST_S <= seconds <= most:
        raise InvalidParams(
            f"tokenExpirationTime: a duration from {request_bodies.TOKEN_LEAST_S // 60}m to {most // 3600:.0f}h"
            " - at `$.tokenExpirationTime`"
        )
    return seconds


# -- tokens ------------------------------------------------------------------------------------------------------------


async def log_in(api: Api, call: Call) -> Reply:
    """`POST /v4/token`: a token for an account and its password."""
    body = await call.decode(LogIn)
    if not body.name or not body.password:
        raise InvalidParams("name and password are needed - at `$`")
    lasts_s = _seconds(body.token_expiration_time, request_bodies.TOKEN_DEFAULT_S, request_bodies.TOKEN_MOST_S)
    token = await _access(api).logins.log_in(body.name, body.password, call.address, lasts_s)
    return reply.json(msgspec.json.encode({"token": token}), NOT_KEPT)


#: A token is for the one who asked alone.
NOT_KEPT: Header = (b"Cache-Control", b"no-store")


async def own_permissions(api: Api, call: Call) -> Reply:
    """`GET /v4/self-perms`: what the own roles allow."""
    return reply.json(msgspec.json.encode({"perms": _grant(call).permissions}))


# -- accounts ----------------------------------------------------------------------------------------------------------


def _shown(account: Account) -> dict[str, Any]:
    """An account as the API shows it: without its password."""
    return {
        "id": account.id,
        "name": account.name,
        "roles": account.roles,
        "status": account.status,
        "createTime": account.create_time,
        "updateTime": account.update_time,
    }


async def list_accounts(api: Api, call: Call) -> Reply:
    """`GET /v4/accounts`."""
    accounts = _access(api).accounts.view.accounts.values()
    return _listed([_shown(account) for account in sorted(accounts, key=lambda account: account.name)])


def _listed(data: Sequence[Any]) -> Reply:
    return reply.json(msgspec.json.encode({"total": len(data), "data": data}))


async def get_account(api: Api, call: Call) -> Reply:
    """`GET /v4/accounts/{name}`."""
    return reply.json(msgspec.json.encode(_shown(_access(api).accounts.account(call.path["name"]))))


async def create_account(api: Api, call: Call) -> Reply:
    """`POST /v4/accounts`."""
    body = await call.decode(AccountBody)
    return _done(await _access(api).accounts.create(body, call.actor))


async def create_accounts(api: Api, call: Call) -> Reply:
    """`POST /v4/accounts/batch-create`: 200 even when all fail, with the reason beside each that did."""
    batch = await call.decode(CreateAccounts)
    found: list[dict[str, Any]] = []
    late: list[str] = []
    for body in batch.accounts:
        element: dict[str, Any] = {"name": body.name or ""}
        try:
            late += await _access(api).accounts.create_generated(body, call.actor)
        except StoreUnavailable:
            raise
        except RegistryError as error:
            element |= msgspec.to_builtins(ErrorBody(str(error.code), error.message, error.detail))
        found.append(element)
    return reply.json(msgspec.json.encode({"accounts": found}), *_late(list(dict.fromkeys(late))))


async def change_account(api: Api, call: Call) -> Reply:
    """`PUT /v4/accounts/{name}`: its roles, its status."""
    body = await call.decode(ChangeAccount)
    return _done(await _access(api).accounts.change(call.path["name"], body, _grant(call).name, call.actor))


async def delete_account(api: Api, call: Call) -> Reply:
    """`DELETE /v4/accounts/{name}`."""
    return _done(await _access(api).accounts.delete(call.path["name"], _grant(call).name, call.actor))


async def change_password(api: Api, call: Call) -> Reply:
    """`POST /v4/accounts/{name}/password`: the own one, or as an admin anybody's."""
    body = await call.decode(ChangePassword)
    return _done(
        await _access(api).accounts.change_password(
            call.path["name"],
            body.password or "",
            body.current_password or "",
            _grant(call),
            call.address,
            call.actor,
        )
    )


async def list_locks(api: Api, call: Call) -> Reply:
    """`GET /v4/account-locks`: accounts and addresses with wrong passwords lately."""
    return _listed(await _access(api).lockouts.all())


# -- roles -------------------------------------------------------------------------------------------------------------


async def list_roles(api: Api, call: Call) -> Reply:
    """`GET /v4/roles`: the built-in ones too."""
    roles = {**BUILT_IN, **_access(api).accounts.view.roles}
    return _listed([roles[name] for name in sorted(roles)])


async def get_role(api: Api, call: Call) -> Reply:
    """`GET /v4/roles/{name}`."""
    return reply.json(msgspec.json.encode(_access(api).accounts.role(call.path["name"])))


async def create_role(api: Api, call: Call) -> Reply:
    """`POST /v4/roles`."""
    body = await call.decode(RoleBody)
    return _done(await _access(api).accounts.create_role(body, call.actor))


async def change_role(api: Api, call: Call) -> Reply:
    """`PUT /v4/roles/{name}`: replaces its permissions."""
    body = await call.decode(ChangeRole)
    return _done(await _access(api).accounts.change_role(call.path["name"], body.perms, call.actor))


async def delete_role(api: Api, call: Call) -> Reply:
    """`DELETE /v4/roles/{name}`."""
    return _done(await _access(api).accounts.delete_role(call.path["name"], call.actor))


# -- tokens of machines ------------------------------------------------------------------------------------------------


def _shown_machine(machine: MachineToken) -> dict[str, Any]:
    return {
        "name": machine.name,
        "roles": machine.roles,
        "expiresAt": machine.expires_s,
        "createdBy": machine.created_by,
        "createTime": machine.create_time,
    }


async def list_machine_tokens(api: Api, call: Call) -> Reply:
    """`GET /v4/machine-tokens`: whose they are and until when, not the tokens."""
    return _listed([_shown_machine(machine) for machine in _access(api).accounts.machines()])


async def give_machine_token(api: Api, call: Call) -> Reply:
    """`POST /v4/machine-tokens`: a token with roles of its own, shown this once."""
    body = await call.decode(MachineTokenBody)
    lasts_s = _seconds(
        body.token_expiration_time, request_bodies.MACHINE_TOKEN_DEFAULT_S, request_bodies.MACHINE_TOKEN_MOST_S
    )
    token, late = await _access(api).accounts.give_machine_token(body, lasts_s, call.actor)
    return reply.json(msgspec.json.encode({"token": token}), NOT_KEPT, *_late(late))


async def revoke_machine_token(api: Api, call: Call) -> Reply:
    """`DELETE /v4/machine-tokens/{name}`."""
    return _done(await _access(api).accounts.revoke_machine_token(call.path["name"], call.actor))
