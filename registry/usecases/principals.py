"""Principals: who a token makes of its bearer, and how far that reaches.

What a token means is remembered until it ends or the accounts change, whichever comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Final

from registry.access.claims import Claims
from registry.access.reach import Reach, may
from registry.access.rule import Rule
from registry.clock import Clock
from registry.domain.access_errors import NoToken, TokenExpired, TokenOwnerGone, Unauthorized
from registry.domain.accounts import ACTIVE, ADMIN, ANY, AccessView, Permission
from registry.domain.events import Event
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.tenant import ACCOUNTS, Tenant
from registry.memo import Memo
from registry.projection.projector import Projector
from registry.usecases.everywhere import Everywhere

if TYPE_CHECKING:
    from registry.access.tokens import Keyring

#: Tokens that are remembered, and their bytes.
REMEMBERED_MAX: Final = 20_000
REMEMBERED_MAX_BYTES: Final = 32 * 1024 * 1024
#: Before the name of a machine token, where an account would stand.
MACHINE: Final = "machine/"


class Grant:
    """What one token grants. It counts while `version` is that of the principals, and until `expires_ms`."""

    __slots__ = ("_reaches", "expires_ms", "name", "permissions", "roles", "version")

    def __init__(
        self, name: str, roles: Sequence[str], permissions: Sequence[Permission], expires_ms: int, version: object
    ) -> None:
        self.name = name
        self.roles = tuple(roles)
        self.expires_ms = expires_ms
        self.version = version
        self.permissions = permissions
        self._reaches: dict[Rule, Reach] = {}

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles

    def reach(self, rule: Rule) -> Reach:
        """How far it reaches for an operation. Rules are few, so they are bounded."""
        reach = self._reaches.get(rule)
        if reach is None:
            reach = self._reaches[rule] = may(self.roles, self.permissions, rule)
        return reach


class Principals:
    """
    Args:
        keyring_of: the keys that count when the accounts are these.
        scope: the resources that are guarded; `*` is all of them.
    """

    def __init__(
        self,
        projector: Projector,
        everywhere: Everywhere,
        clock: Clock,
        keyring_of: Callable[[AccessView], Keyring],
        scope: Set[str] = frozenset({ANY}),
    ) -> None:
        self.scope = scope
        self._projector = projector
        self._everywhere = everywhere
        self._clock = clock
        self._keyring_of = keyring_of
        #: Another object whenever something has changed.
        self.version = object()
        self._keyring: Keyring | None = None
        self._granted: Memo[bytes, Grant] = Memo(REMEMBERED_MAX, REMEMBERED_MAX_BYTES, _size)
        projector.listen(self._note)
        projector.listen_for_rebuilds(self._forget)

    @property
    def size(self) -> int:
        """Bytes of all tokens that are remembered."""
        return self._granted.size

    @property
    def accounts(self) -> AccessView:
        return self._projector.view(ACCOUNTS).access or AccessView()

    @property
    def keyring(self) -> Keyring:
        if self._keyring is None:
            self._keyring = self._keyring_of(self.accounts)
        return self._keyring

    def _note(self, tenant: Tenant, position: Position, event: Event, outcome: Outcome) -> None:
        self._forget(tenant)

    def _forget(self, tenant: Tenant) -> None:
        if tenant == ACCOUNTS:
            self.version, self._keyring = object(), None
            self._granted = Memo(REMEMBERED_MAX, REMEMBERED_MAX_BYTES, _size)

    # -- tokens --------------------------------------------------------------------------------------------------------

    def known(self, credentials: bytes) -> Grant | None:
        """The grant of credentials that were seen before and still count; None says nothing."""
        grant = self._granted.get(credentials)
        return grant if grant is not None and self.counts(grant) else None

    def counts(self, grant: Grant) -> bool:
        """Whether the grant still counts, and this replica can tell."""
        now_ms = self._clock.wall_ms()
        return grant.version is self.version and now_ms < grant.expires_ms and now_ms < self._everywhere.sure_until_ms

    async def make_sure(self) -> None:
        """Raise StoreUnavailable when this replica knows that it does not know all accounts as they are."""
        await self._everywhere.make_sure()

    async def grant(self, credentials: bytes) -> Grant:
        """What credentials (`credentials_of`) grant.

        Raises:
            NoToken, Unauthorized, TokenExpired, TokenOwnerGone
            StoreUnavailable: as `make_sure`.
        """
        await self.make_sure()
        grant = self.known(credentials)
        if grant is None:
            now_ms = self._clock.wall_ms()
            grant = self._grant(self.keyring.read(_token(credentials), now_ms / 1000))
            self._granted.put(credentials, grant)
        return grant

    def _grant(self, claims: Claims) -> Grant:
        accounts = self.accounts
        holder = accounts.machines.get(claims.name) if claims.machine else accounts.accounts.get(claims.name)
        if holder is None:
            raise TokenOwnerGone(f"{'machine token' if claims.machine else 'account'} {claims.name}")
        if claims.machine:
            name, era, status = MACHINE + claims.name, holder.id, ACTIVE
        else:
            account = accounts.accounts[claims.name]
            name, era, status = claims.name, account.era, account.status
        if status != ACTIVE:
            raise Unauthorized(f"account {claims.name} is {status}")
        if era != claims.era:
            raise TokenExpired("it was given before the account's password was changed, or for an earlier one")
        roles = [role for name_ in holder.roles if (role := accounts.role(name_)) is not None]
        permissions = [permission for role in roles for permission in role.perms]
        return Grant(name, [role.name for role in roles], permissions, claims.expires_s * 1000, self.version)


def credentials_of(authorization: bytes, x_auth_token: bytes) -> bytes:
    """What shows who asks, of the two headers that may, in the form of the first; b"" when there is nothing."""
    return authorization or (b"Bearer %b" % x_auth_token if x_auth_token else b"")


def _token(credentials: bytes) -> str:
    """The token alone. The scheme in front of it may have any name (api-rules.md 3.16)."""
    if not credentials.strip():
        raise NoToken("send `Authorization: Bearer TOKEN`; POST /v4/token gives one")
    scheme, _, token = credentials.partition(b" ")
    if not scheme or not token or b" " in token or not token.isascii():
        raise Unauthorized("the header is `Authorization: Bearer TOKEN`")
    return token.decode()


def _size(credentials: bytes, grant: Grant) -> int:
    return len(credentials)
