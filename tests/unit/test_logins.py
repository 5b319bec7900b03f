"""Log-ins: what is checked at once, what waits, what is counted, and what is refused beyond the limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from registry.access.decide import MACHINE_TOKENS_MAX, AccessQuotas, create_account, create_role, give_machine_token
from registry.access.hasher import Hasher
from registry.access.request_bodies import AccountBody, MachineTokenBody, PermissionBody, ResourceBody, RoleBody
from registry.access.tokens import generate_key, keyring_of
from registry.clock import Clock
from registry.domain.access_errors import AccountBlocked, AccountNoQuota, RoleNoQuota, UserOrPasswordWrong
from registry.domain.access_events import AccountCreated, SigningKeyAdded
from registry.domain.accounts import AccessView, Account, MachineToken, Role, Secret
from registry.domain.decide import Stamp
from registry.domain.errors import NotEnoughQuota, RegistryError, TooManyRequests
from registry.domain.tenant import ACCOUNTS
from registry.store.memory_server import MemoryServer
from registry.usecases import lockouts, logins, passwords, principals
from registry.usecases.everywhere import Everywhere
from registry.usecases.lockouts import Lockouts
from registry.usecases.logins import Logins
from registry.usecases.passwords import Passwords
from registry.usecases.principals import Grant, Principals
from tests.support.memory_replica import MemoryReplica, append
from tests.support.waiting import until

NOW_MS = 1_700_000_000_000
PASSWORD = "Sufficient_password1"
#: As cheap as the algorithm may be.
CHEAP = Hasher(memory_kib=8, passes=1)


class GatedHasher(Hasher):
    """Its checks wait, in their threads, until the gate is open."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.gate = threading.Event()
        self.under_way = 0
        self.most = 0
        self._lock = threading.Lock()

    def is_right(self, password: str, hash: Secret) -> bool:
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        self.gate.wait(20)
        with self._lock:
            self.under_way -= 1
        return super().is_right(password, hash)


class Office:
    """One replica with an account `ann`, over a store in memory."""

    def __init__(self, hasher: Hasher = CHEAP) -> None:
        self.now_ms = NOW_MS
        self.server = MemoryServer(lambda: self.now_ms)
        self.clock = Clock(lambda: self.now_ms, lambda: self.now_ms)
        self.replica = MemoryReplica(self.server, "r1", self.clock)
        self.everywhere = Everywhere(self.replica.store, self.replica.projector, self.clock, "here:1")
        keyring = partial(keyring_of, file_keys=[])
        self.principals = Principals(self.replica.projector, self.everywhere, self.clock, keyring)
        self.lockouts = Lockouts(self.replica.store, self.clock)
        self.passwords = Passwords(hasher)
        self.logins = Logins(self.principals, self.passwords, self.lockouts, self.clock)

    async def open(self) -> Office:
        key = generate_key()
        stamp = {"at_ms": NOW_MS, "replica": "r0"}
        await append(
            self.server,
            AccountCreated(name="ann", id="1", password=CHEAP.hash(PASSWORD), roles=["developer"], number=1, **stamp),  # type: ignore[arg-type]
            SigningKeyAdded(kid=key.kid, pem=key.pem, number=2, **stamp),  # type: ignore[arg-type]
            tenant=ACCOUNTS,
        )
        await self.replica.follow()
        return self


async def refused(office: Office, name: str, password: str, address: str) -> RegistryError:
    """What a log-in is told."""
    return await refusal(lambda: office.logins.log_in(name, password, address))


async def under_way(hasher: GatedHasher, number: int) -> None:
    async def reached() -> bool:
        return hasher.under_way == number

    await until(reached, "the first to be under way")


async def refusal(work: Callable[[], Awaitable[object]]) -> RegistryError:
    with pytest.raises(RegistryError) as told:
        await work()
    return told.value


# -- at once -----------------------------------------------------------------------------------------------------------


async def test_two_passwords_are_checked_at_once_so_many_wait_and_more_are_refused() -> None:
    """A flood of log-ins takes neither all memory nor the loop on which everybody else is answered."""
    hasher = GatedHasher()
    office = await Office(hasher).open()
    waiting = [
        asyncio.create_task(office.logins.log_in("ann", PASSWORD, f"10.0.{number // 250}.{number % 250}"))
        for number in range(passwords.WAITING_MAX)
    ]
    await under_way(hasher, passwords.AT_ONCE_MAX)
    await asyncio.sleep(0)
    assert isinstance(await refused(office, "ann", PASSWORD, "10.9.9.9"), TooManyRequests)
    assert isinstance(await refusal(lambda: office.passwords.hash(PASSWORD)), TooManyRequests)
    hasher.gate.set()
    assert all(await asyncio.gather(*waiting))
    assert hasher.most == passwords.AT_ONCE_MAX
    assert await office.logins.log_in("ann", PASSWORD, "10.9.9.9")


async def test_log_ins_of_one_account_and_address_are_checked_one_after_the_other() -> None:
    """Else a hundred guesses would all be looked at before the third of them has locked."""
    office = await Office().open()
    guesses = [office.logins.log_in("ann", f"Wrong_password{n}", "10.0.0.1") for n in range(logins.TOGETHER_MAX)]
    told = await asyncio.gather(*guesses, return_exceptions=True)
    assert [type(error) for error in told[:3]] == [UserOrPasswordWrong] * 3
    assert {type(error) for error in told[3:]} == {AccountBlocked}
    assert office.logins.stats.failed == 3


async def test_more_log_ins_of_one_account_and_address_than_may_wait_are_refused() -> None:
    hasher = GatedHasher()
    office = await Office(hasher).open()
    waiting = [
        asyncio.create_task(office.logins.log_in("ann", PASSWORD, "10.0.0.1")) for _ in range(logins.TOGETHER_MAX)
    ]
    await under_way(hasher, 1)
    assert isinstance(await refused(office, "ann", PASSWORD, "10.0.0.1"), TooManyRequests)
    hasher.gate.set()
    await asyncio.gather(*waiting)


# -- what is counted ---------------------------------------------------------------------------------------------------


async def test_a_lock_ends_by_itself() -> None:
    office = await Office().open()
    for _ in range(3):
        assert isinstance(await refused(office, "ann", "Wrong_pw1", "a"), UserOrPasswordWrong)
    assert isinstance(await refused(office, "ann", PASSWORD, "a"), AccountBlocked)
    assert await office.logins.log_in("ann", PASSWORD, "b"), "for that address alone"
    (lock,) = await office.lockouts.all()
    assert (lock.key, lock.status, lock.release_at) == ("ann::a", "banned", NOW_MS // 1000 + 900)
    office.now_ms += 15 * 60_000
    assert await office.logins.log_in("ann", PASSWORD, "a")
    assert await office.lockouts.all() == []


async def test_what_anybody_can_make_grow_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accounts that do not exist and addresses are anybody's to make up."""
    monkeypatch.setattr(lockouts, "COUNTED_MAX", 20)
    office = await Office().open()
    for number in range(60):
        await office.lockouts.failed(f"nobody{number}::a")
    assert len(await office.lockouts.all()) <= 20
    assert len(office.lockouts._seen) <= 20
    assert not office.logins._turns


async def test_names_that_nobody_can_have_are_not_counted() -> None:
    office = await Office().open()
    for name in ("x" * 65, "no body", "-", "ж", "\0"):
        assert isinstance(await refused(office, name, PASSWORD, "a"), UserOrPasswordWrong)
    assert await office.lockouts.all() == []


async def test_an_unknown_account_takes_as_long_as_a_wrong_password() -> None:
    """Else the time of an answer would tell which accounts there are."""
    checked: list[Secret] = []

    class Noting(Hasher):
        def is_right(self, password: str, hash: Secret) -> bool:
            checked.append(hash)
            return super().is_right(password, hash)

    hasher = Noting(memory_kib=8, passes=1)
    office = await Office(hasher).open()
    for name in ("nobody", "no body"):
        assert isinstance(await refused(office, name, PASSWORD, "a"), UserOrPasswordWrong)
    assert checked == [hasher.nobodys] * 2


# -- what a token means ------------------------------------------------------------------------------------------------


async def test_what_tokens_mean_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principals, "REMEMBERED_MAX", 10)
    monkeypatch.setattr(principals, "REMEMBERED_MAX_BYTES", 10_000)
    office = await Office().open()
    office.principals._forget(ACCOUNTS)
    grants: list[Grant] = []
    for number in range(40):
        token = await office.logins.log_in("ann", PASSWORD, "a", 900 + number)
        credentials = f"Bearer {token}".encode()
        grants.append(await office.principals.grant(credentials))
        assert office.principals.known(credentials) is grants[-1]
    assert 0 < office.principals.size <= 10_000


async def test_a_grant_ends_with_its_token_and_with_any_change() -> None:
    office = await Office().open()
    credentials = f"Bearer {await office.logins.log_in('ann', PASSWORD, 'a', 900)}".encode()
    grant = await office.principals.grant(credentials)
    assert office.principals.counts(grant)
    office.now_ms += 899_000
    await office.everywhere.make_sure()
    assert office.principals.counts(grant)
    office.now_ms += 1_000
    assert not office.principals.counts(grant)
    office.now_ms -= 1_000
    assert office.principals.counts(grant)
    key = generate_key()
    event = SigningKeyAdded(kid=key.kid, pem=key.pem, at_ms=NOW_MS, replica="r0", number=3)
    await append(office.server, event, tenant=ACCOUNTS)
    await office.replica.follow()
    assert not office.principals.counts(grant), "whatever changed"
    assert await office.principals.grant(credentials), "it still counts by itself"


async def test_a_replica_that_has_slept_makes_sure_first() -> None:
    """What was remembered before it slept counts again only when it has heard the others."""
    office = await Office().open()
    credentials = f"Bearer {await office.logins.log_in('ann', PASSWORD, 'a')}".encode()
    grant = await office.principals.grant(credentials)
    office.now_ms += 10_000
    assert not office.principals.counts(grant)
    calls = len(office.replica.store.calls)
    assert await office.principals.grant(credentials)
    assert "exchange" in office.replica.store.calls[calls:]
    assert office.principals.counts(grant)
    office.now_ms += 10_000
    office.replica.store.go_away()
    assert await office.principals.grant(credentials), "nobody can tell it more while the store is away"


# -- quotas ------------------------------------------------------------------------------------------------------------

STAMP = Stamp(NOW_MS, "r", 1, "root@a")
QUOTAS = AccessQuotas(accounts=2, roles=1)


def test_there_are_no_more_accounts_roles_and_machine_tokens_than_their_quotas() -> None:
    view = AccessView()
    body = AccountBody(name="bob", password=PASSWORD, roles=["developer"])
    role = RoleBody("r", [PermissionBody([ResourceBody("ops")], ["get"])])
    machine = MachineTokenBody("m", ["developer"])
    view.accounts["one"] = Account("one", "1", Secret(""), [], "e")
    assert create_account(view, body, Secret("h"), QUOTAS, "2", STAMP)
    assert create_role(view, role, QUOTAS, "2", STAMP)
    view.accounts["two"] = Account("two", "2", Secret(""), [], "e")
    view.roles["one"] = Role("one")
    with pytest.raises(AccountNoQuota):
        create_account(view, AccountBody(), Secret("h"), QUOTAS, "3", STAMP)  # before all else, as in the reference
    with pytest.raises(RoleNoQuota):
        create_role(view, role, QUOTAS, "3", STAMP)
    view.machines.update({f"m{n}": MachineToken(f"m{n}", "", [], 1) for n in range(MACHINE_TOKENS_MAX - 1)})
    assert give_machine_token(view, machine, 900, "4", STAMP).expires_s == NOW_MS // 1000 + 900
    view.machines["last"] = MachineToken("last", "", [], 1)
    with pytest.raises(NotEnoughQuota):
        give_machine_token(view, machine, 900, "5", STAMP)
