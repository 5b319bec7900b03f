"""Accounts: changes of accounts, roles, tokens of machines and keys.

Each method returns when every replica that lives has applied the change, with the names of those that have not in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import structs

from registry.access import decide
from registry.access.claims import Claims
from registry.access.decide import AccessQuotas
from registry.access.passwords import complaint, generate
from registry.access.request_bodies import (
    AccountBody,
    ChangeAccount,
    MachineTokenBody,
    PermissionBody,
    RoleBody,
    to_permissions,
)
from registry.domain.access_errors import AccountConflict, NewPasswordBad, OldPasswordWrong
from registry.domain.access_events import SigningKeyAdded
from registry.domain.accounts import ROOT, AccessView, Account, MachineToken, Role
from registry.domain.decide import Stamp
from registry.domain.errors import Forbidden, InvalidParams
from registry.domain.fold_access import AccessFact, account_or_refuse, role_or_refuse
from registry.domain.own import ACTOR
from registry.domain.tenant import ACCOUNTS
from registry.domain.view import RegistryView
from registry.projection.projector import Projector
from registry.usecases.everywhere import Everywhere
from registry.usecases.logins import Logins
from registry.usecases.passwords import Passwords
from registry.usecases.principals import Grant, Principals
from registry.usecases.writes import Writes

logger = logging.getLogger(__name__)

T = TypeVar("T")
F = TypeVar("F", bound=AccessFact)

#: Replicas that have not applied a change in time.
Late = list[str]

NOBODY: Final = AccessView()


class Accounts:
    def __init__(
        self,
        writes: Writes,
        projector: Projector,
        everywhere: Everywhere,
        principals: Principals,
        logins: Logins,
        passwords: Passwords,
        quotas: AccessQuotas,
        new_id: Callable[[], str],
    ) -> None:
        self._writes = writes
        self._projector = projector
        self._everywhere = everywhere
        self._principals = principals
        self._logins = logins
        self._passwords = passwords
        self._quotas = quotas
        self._new_id = new_id

    @property
    def view(self) -> AccessView:
        return self._principals.accounts

    # -- the first start -----------------------------------------------------------------------------------------------

    async def has_root(self) -> bool:
        """Whether there is the root account. Raises StoreUnavailable."""
        await self._projector.catch_up(ACCOUNTS)
        return ROOT in self.view.accounts

    async def begin(self, root_password: str, needs_key: bool) -> None:
        """Make what a deployment cannot be without: the root account, and a key unless there are files of them.

        Other replicas may do the same at the same moment.
        """
        if not await self.has_root():
            hashed = await self._passwords.hash(root_password)
            with contextlib.suppress(AccountConflict):
                await self._commit(ACTOR, lambda view, stamp: decide.create_root(view, hashed, self._new_id(), stamp))
        if needs_key and not self.view.keys:
            from registry.access.tokens import generate_key

            key = await asyncio.to_thread(generate_key)
            await self._commit(ACTOR, lambda _, stamp: SigningKeyAdded(kid=key.kid, pem=key.pem, **stamp._asdict()))

    # -- accounts ------------------------------------------------------------------------------------------------------

    def account(self, name: str) -> Account:
        return account_or_refuse(self.view, name)

    async def create(self, body: AccountBody, actor: str) -> Late:
        await self._check(lambda view: decide.check_new_account(view, body, self._quotas))
        hashed = await self._passwords.hash(body.password or "")
        return await self._change(
            actor, lambda view, stamp: decide.create_account(view, body, hashed, self._quotas, self._new_id(), stamp)
        )

    async def create_generated(self, body: AccountBody, actor: str) -> Late:
        """As `create`; without a password it gets one that nobody is told."""
        return await self.create(structs.replace(body, password=body.password or generate()), actor)

    async def change(self, name: str, body: ChangeAccount, by: str, actor: str) -> Late:
        """`by`: the account that asks."""
        return await self._change(actor, lambda view, stamp: decide.change_account(view, name, body, by, stamp))

    async def delete(self, name: str, by: str, actor: str) -> Late:
        return await self._change(actor, lambda view, stamp: decide.delete_account(view, name, by, stamp))

    async def change_password(
        self, name: str, password: str, current: str, grant: Grant, address: str, actor: str
    ) -> Late:
        """Change one's own password, or as an admin somebody else's (api-rules.md 3.16)."""
        if name != grant.name:
            if not grant.is_admin:
                raise Forbidden("only an admin changes the password of another account")
        elif not current:
            raise InvalidParams("currentPassword is missing - at `$.currentPassword`")
        await self._check(lambda view: account_or_refuse(view, name))
        wrong = complaint(password, name)
        if wrong:
            raise InvalidParams(f"{wrong} - at `$.password`")
        if name == grant.name:
            if password == current:
                raise NewPasswordBad
            if not await self._logins.is_right(name, current, address):
                raise OldPasswordWrong
        hashed = await self._passwords.hash(password)
        return await self._change(actor, lambda view, stamp: decide.set_password(view, name, hashed, stamp))

    # -- roles ---------------------------------------------------------------------------------------------------------

    def role(self, name: str) -> Role:
        return role_or_refuse(self.view, name)

    async def create_role(self, body: RoleBody, actor: str) -> Late:
        return await self._change(
            actor, lambda view, stamp: decide.create_role(view, body, self._quotas, self._new_id(), stamp)
        )

    async def change_role(self, name: str, bodies: list[PermissionBody], actor: str) -> Late:
        permissions = to_permissions(bodies)
        return await self._change(actor, lambda view, stamp: decide.change_role(view, name, permissions, stamp))

    async def delete_role(self, name: str, actor: str) -> Late:
        return await self._change(actor, lambda view, stamp: decide.delete_role(view, name, stamp))

    # -- tokens of machines --------------------------------------------------------------------------------------------

    def machines(self) -> list[MachineToken]:
        return sorted(self.view.machines.values(), key=lambda machine: machine.name)

    async def give_machine_token(self, body: MachineTokenBody, lasts_s: float, actor: str) -> tuple[str, Late]:
        """The token, which is said this once."""
        id = self._new_id()
        event, late = await self._decide(
            actor, lambda view, stamp: decide.give_machine_token(view, body, lasts_s, id, stamp)
        )
        claims = Claims(event.name, id, event.expires_s, machine=True, roles=tuple(event.roles))
        return self._principals.keyring.sign(claims), late

    async def revoke_machine_token(self, name: str, actor: str) -> Late:
        return await self._change(actor, lambda view, stamp: decide.revoke_machine_token(view, name, stamp))

    # -- all -----------------------------------------------------------------------------------------------------------

    async def _check(self, question: Callable[[AccessView], T]) -> T:
        """Ask the view; before it refuses, catch up and ask again."""
        return await self._writes.decide(ACCOUNTS, lambda view: question(_access(view)))

    async def _change(self, actor: str, decision: Callable[[AccessView, Stamp], AccessFact]) -> Late:
        return (await self._decide(actor, decision))[1]

    async def _decide(self, actor: str, decision: Callable[[AccessView, Stamp], F]) -> tuple[F, Late]:
        event = await self._commit(actor, decision)
        return event, await self._everywhere.applied(self._projector.view(ACCOUNTS).position)

    async def _commit(self, actor: str, decision: Callable[[AccessView, Stamp], F]) -> F:
        event = await self._check(lambda view: decision(view, self._writes.stamp(actor)))
        await self._writes.commit(ACCOUNTS, event)
        kind = str(event.__struct_config__.tag)
        subject = event.kid if isinstance(event, SigningKeyAdded) else event.name
        extra = {"action": kind.replace("-", "_"), "actor": actor}
        logger.info("%s: %s, by %s", kind.replace("-", " "), subject, actor, extra=extra)
        return event


def _access(view: RegistryView) -> AccessView:
    return view.access or NOBODY
