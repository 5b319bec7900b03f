"""Logins: passwords are checked, wrong ones counted, and tokens given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from registry.access.claims import Claims
from registry.access.request_bodies import NAME, TOKEN_DEFAULT_S
from registry.clock import Clock
from registry.domain.access_errors import (
    AccountBlocked,
    UserOrPasswordWrong,
    UserOrPasswordWrongHalfOpen,
)
from registry.domain.accounts import ACTIVE, ANY, Account
from registry.domain.errors import InvalidParams, TooManyRequests
from registry.usecases.lockouts import Lockouts
from registry.usecases.passwords import Passwords
from registry.usecases.principals import Principals

logger = logging.getLogger(__name__)

#: Log-ins of one account from one address that may wait for each other: they are checked one after the other, so that
#: none is begun that the one before it has locked out.
TOGETHER_MAX: Final = 50


@dataclass(slots=True)
class LoginStats:
    succeeded: int = 0
    failed: int = 0
    blocked: int = 0


class Logins:
    def __init__(self, principals: Principals, passwords: Passwords, lockouts: Lockouts, clock: Clock) -> None:
        self._principals = principals
        self._passwords = passwords
        self._lockouts = lockouts
        self._clock = clock
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}
        self.stats = LoginStats()

    async def log_in(self, name: str, password: str, address: str, lasts_s: float = TOKEN_DEFAULT_S) -> str:
        """A token for the account, valid for this number of seconds.

        Raises:
            UserOrPasswordWrong: or its form where services are open to all.
            AccountBlocked, TooManyRequests
        """
        if not await self.is_right(name, password, address):
            half_open = ANY not in self._principals.scope and "service" not in self._principals.scope
            raise UserOrPasswordWrongHalfOpen if half_open else UserOrPasswordWrong
        account = self._account(name)
        if account is None:
            raise UserOrPasswordWrong  # it has just been deleted
        if account.status != ACTIVE:
            raise AccountBlocked(f"account {name} is {account.status}")
        expires_s = int(self._clock.wall_ms() / 1000 + lasts_s)
        return self._principals.keyring.sign(Claims(name, account.era, expires_s, roles=tuple(account.roles)))

    async def is_right(self, name: str, password: str, address: str) -> bool:
        """Whether it is the account's password; a wrong one is counted.

        Raises:
            AccountBlocked: there were too many wrong ones from this address; this one was not looked at.
            TooManyRequests
            StoreUnavailable: this replica knows that it does not know all accounts as they are.
        """
        await self._principals.make_sure()
        if not _may_be_a_name(name):
            return await self._passwords.is_right(password, None)
        key = f"{name}::{address}"
        async with self._turn(key):
            if await self._lockouts.are_locked(key):
                self.stats.blocked += 1
                raise AccountBlocked(f"too many wrong passwords for {name} from {address or 'here'}: try again later")
            account = self._account(name)
            right = await self._passwords.is_right(password, account.password if account is not None else None)
            right = right and account is not None
            self.stats.succeeded += right
            self.stats.failed += not right
            if right:
                await self._lockouts.forget(key)
                return True
            await self._lockouts.failed(key)
            # What is no account may be a password that was typed in its place.
            whose = name if account is not None else "an unknown account"
            logger.warning(
                "wrong password for %s from %s", whose, address, extra={"action": "wrong_password", "actor": address}
            )
            return False

    def _account(self, name: str) -> Account | None:
        return self._principals.accounts.accounts.get(name)

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        lock, count = self._turns.get(key, (asyncio.Lock(), 0))
        if count >= TOGETHER_MAX:
            raise TooManyRequests(f"{count} log-ins of this account are being checked")
        self._turns[key] = (lock, count + 1)
        try:
            async with lock:
                yield
        finally:
            lock, count = self._turns.pop(key)
            if count > 1:
                self._turns[key] = (lock, count - 1)


def _may_be_a_name(name: str) -> bool:
    try:
        NAME.check(name, "name", "")
    except InvalidParams:
        return False
    return True
