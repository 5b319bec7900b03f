"""accounts_setup: the accounts of one replica, wired as the settings say."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.access.decide import AccessQuotas
from registry.clock import Clock
from registry.http_api.access import Access
from registry.http_api.admission import Admission
from registry.http_api.sessions import Sessions
from registry.projection.projector import Projector
from registry.settings import BadSetting, Settings, variable
from registry.store.port import Store
from registry.usecases.accounts import Accounts
from registry.usecases.discovery import Discovery
from registry.usecases.everywhere import Everywhere
from registry.usecases.lockouts import Lockouts
from registry.usecases.logins import Logins
from registry.usecases.passwords import Passwords
from registry.usecases.principals import Principals
from registry.usecases.writes import Writes

if TYPE_CHECKING:
    from registry.access.tokens import Key

#: Bytes of a file that holds a key or a password.
FILE_MAX_BYTES = 64 * 1024


def build_access(
    settings: Settings,
    store: Store,
    projector: Projector,
    writes: Writes,
    discovery: Discovery,
    clock: Clock,
    new_id: Callable[[], str],
    address: str,
) -> Access | None:
    """None where there are no accounts. `address`: by which people know this replica.

    Raises:
        BadSetting: a file cannot be used.
    """
    if settings.rbac == "off":
        return None
    # What hashes and signs is a tenth of a start: it is loaded only where there are accounts.
    from registry.access.hasher import Hasher
    from registry.access.tokens import keyring_of

    everywhere = Everywhere(store, projector, clock, address)
    scope = frozenset(settings.rbac_scope.replace(",", " ").split())
    keys = partial(keyring_of, file_keys=read_keys(settings))
    principals = Principals(projector, everywhere, clock, keys, scope)
    passwords = Passwords(Hasher())
    lockouts = Lockouts(store, clock)
    logins = Logins(principals, passwords, lockouts, clock)
    quotas = AccessQuotas(settings.quota_account, settings.quota_role)
    accounts = Accounts(writes, projector, everywhere, principals, logins, passwords, quotas, new_id)
    admission = Admission(principals, discovery, settings.rbac == "observe")
    return Access(admission, accounts, logins, lockouts, everywhere, Sessions(admission))


def read_keys(settings: Settings) -> list[Key]:
    """The keys of the files that are named, the one that signs first. Raises BadSetting."""
    from registry.access.tokens import KeyUnusable, read_key

    found = []
    for name in settings.rbac_private_key_file.replace(",", " ").split():
        try:
            found.append(read_key(_read(name, "rbac_private_key_file")))
        except KeyUnusable as why:
            raise BadSetting(f"{variable('rbac_private_key_file')}: {name}: {why}") from None
    return found


def root_password(settings: Settings) -> str:
    """As the settings say, or "". Raises BadSetting."""
    if not settings.init_root_password_file:
        return settings.init_root_password
    try:
        return _read(settings.init_root_password_file, "init_root_password_file").decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadSetting(f"{variable('init_root_password_file')}: the file is no text") from None


def _read(name: str, setting: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            return file.read(FILE_MAX_BYTES)
    except OSError as exc:
        raise BadSetting(f"{variable(setting)}: {name} cannot be read: {exc.strerror}") from exc
