"""What is done to accounts on the store, while the registry runs or not: `registry accounts`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable

from registry.access.decide import create_root
from registry.access.hasher import Hasher
from registry.access.passwords import complaint, generate
from registry.access.tokens import generate_key
from registry.accounts_setup import root_password
from registry.clock import Clock
from registry.domain.access_events import SigningKeyAdded
from registry.domain.accounts import ROOT, AccessView
from registry.domain.decide import Stamp
from registry.domain.events import encode_event
from registry.domain.fold_access import AccessFact
from registry.domain.own import ACTOR
from registry.domain.tenant import ACCOUNTS
from registry.projection.restoring import restore
from registry.running.opened_store import opened_store
from registry.running.private_redis import CannotStart
from registry.settings import Settings
from registry.store.lease import Write
from registry.store.port import HistoryChanged, Store
from registry.usecases.everywhere import WAIT_MAX_S, applied
from registry.usecases.formats import Formats

#: Times that a change is tried again which another replica's has overtaken.
TRIES_MAX = 10

Decision = Callable[[AccessView, Stamp], AccessFact]


async def reset_root(settings: Settings) -> int:
    """Give the account root a new password: the one that is set, else one that is made and printed."""
    given = root_password(settings)
    password = given or generate()
    wrong = complaint(password, ROOT)
    if wrong:
        raise CannotStart(wrong)
    hashed = Hasher().hash(password)
    late = await _change(settings, lambda view, stamp: create_root(view, hashed, secrets.token_hex(16), stamp))
    print("root has a new password, and its tokens from before are void" + ("" if given else f": {password}"))
    _tell(late)
    return 0


async def rotate_key(settings: Settings, alone: bool) -> int:
    """Make a new key, which signs from now on. `alone`: no other one is valid any more."""
    if settings.rbac_private_key_file:
        raise CannotStart(
            "the keys are those of REGISTRY_RBAC_PRIVATE_KEY_FILE: name another file, and then the old one"
        )
    key = generate_key()
    late = await _change(
        settings, lambda _, stamp: SigningKeyAdded(kid=key.kid, pem=key.pem, alone=alone, **stamp._asdict())
    )
    print(f"key {key.kid} signs from now on" + (", and no other is valid any more" if alone else ""))
    _tell(late)
    return 0


def _tell(late: list[str]) -> None:
    if late:
        print(
            f"accounts: not applied within {WAIT_MAX_S:g} s, so not in force yet, at {', '.join(late)}", file=sys.stderr
        )


async def _change(settings: Settings, decision: Decision) -> list[str]:
    """Record what is decided, in the log that all replicas follow. Returns those that do not apply it in time.

    Raises:
        CannotStart: Redis cannot be reached or relied on, or the change cannot be made.
    """
    async with opened_store(settings, "the accounts change faster than this could be recorded") as store:
        return await _append(store, decision)


async def _append(store: Store, decision: Decision) -> list[str]:
    name, clock = secrets.token_hex(6), Clock()
    formats = Formats(store, name, clock)
    await store.add_tenant(ACCOUNTS)
    for left in reversed(range(TRIES_MAX)):
        view = (await restore(store, ACCOUNTS, name)).view
        event = decision(view.access or AccessView(), Stamp(clock.wall_ms(), name, 1, ACTOR))
        await formats.announce()
        formats.check(event)
        position = view.position
        try:
            (at,) = await store.commit(ACCOUNTS, position.epoch, [Write(encode_event(event))], position.sequence)
            break
        except HistoryChanged:
            if not left:
                raise
    assert at is not None
    return await applied(store, name, at)
