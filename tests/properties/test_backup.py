"""A dump holds all that a view holds, and putting it back makes it again; a second time there is nothing to do."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.domain.access_events import SigningKeyAdded
from registry.domain.accounts import KEYS_MAX, Secret
from registry.domain.backup import AccountLine, Held, MachineLine, TenantLine, Writer, held_by, read
from registry.domain.backup import Header as BackupHeader
from registry.domain.backup_plan import KINDS, Part, put_back
from registry.domain.decide import Stamp
from registry.domain.events import Event
from registry.domain.find import FindQuery, find
from registry.domain.fold import apply
from registry.domain.position import Position
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from tests.properties.test_fold_access import logs
from tests.support import strategies

TENANT = Tenant("default", "default")
NOW_S = 9_000


def view_of(log: Iterable[Event]) -> RegistryView:
    view = RegistryView(TENANT)
    for sequence, event in enumerate(log, 1):
        apply(view, Position(7, sequence), event)
    return view


def restored(view: RegistryView, lines: Iterable[Held], overwrite: bool = False) -> list[Part]:
    numbers = count(1)

    def stamps(moment: str) -> Stamp:
        return Stamp((int(moment) if moment else NOW_S) * 1000, "restore", next(numbers), "registry restore")

    return [part for line in lines for part in put_back(view, line, overwrite, stamps)]


def empty() -> RegistryView:
    view = RegistryView(TENANT)
    view.position = Position(8, 1)
    return view


def said(view: RegistryView) -> list[bytes]:
    """What the view holds, without what stands for an event's place in a log."""
    return sorted(map(msgspec.json.encode, map(without_era, held_by(view))))


def without_era(line: Held) -> Held:
    match line:
        case AccountLine(account):
            return AccountLine(structs.replace(account, era=""))
        case MachineLine(machine):
            return MachineLine(structs.replace(machine, created_by=""))
    return line


def revs(view: RegistryView) -> dict[tuple[str, str, str], str]:
    """The rev of each microservice name, as a client is told it."""
    return {key: find(view, FindQuery(key[1], key[2], environment=key[0])).rev for key in view.groups}


@given(strategies.logs())
def test_what_is_put_back_into_nothing_is_what_was_there(log: list[Event]) -> None:
    """Timestamps and revs too, so that a client which knows the answer is told so."""
    before, after = view_of(log), empty()
    parts = restored(after, held_by(before))
    assert {part.state for part in parts} <= {"added", "same"}
    assert said(after) == said(before)
    assert after.held_bytes == before.held_bytes
    assert revs(after) == revs(before)


@given(logs())
def test_accounts_roles_tokens_and_keys_are_put_back(log: list[tuple[Position, Event]]) -> None:
    before, after = view_of(event for _, event in log), empty()
    parts = restored(after, held_by(before))
    assert {part.state for part in parts} <= {"added"}
    assert said(after) == said(before)
    assert {part.state for part in restored(after, held_by(before))} <= {"same"}


kids = st.lists(st.sampled_from("abcdef"), max_size=KEYS_MAX, unique=True)


def with_keys(kids: list[str]) -> RegistryView:
    return view_of(SigningKeyAdded(kid=kid, pem=Secret(kid), at_ms=1, replica="r", number=1) for kid in kids)


@given(kids, kids)
def test_the_key_that_signs_goes_on_to_sign_and_none_is_lost(dumped: list[str], there: list[str]) -> None:
    """Tokens that were given since, and those of before as far as there is room, stay valid."""
    view, lines = with_keys(there), list(held_by(with_keys(dumped)))
    restored(view, lines)
    after = [key.kid for key in view.access.keys] if view.access else []
    missing = [kid for kid in dumped if kid not in there]
    room = KEYS_MAX - len(there)
    assert after == [*(missing[-room:] if room else []), *there]
    assert {part.state for part in restored(view, lines)} <= {"same", "kept"}


@given(strategies.logs(), strategies.logs(), st.booleans())
def test_nothing_is_removed_and_the_second_time_nothing_is_done(
    dumped: list[Event], there: list[Event], overwrite: bool
) -> None:
    lines, view = list(held_by(view_of(dumped))), view_of(there)
    services = {id: set(row.instances) for id, row in view.services.items()}
    policies, providers = set(view.policies), {id: set(keys) for id, keys in view.providers.items()}
    restored(view, lines, overwrite)
    assert all(instances <= set(view.services[id].instances) for id, instances in services.items())
    assert policies <= set(view.policies)
    assert all(keys <= set(view.providers[id]) for id, keys in providers.items())
    before = view.position
    again = restored(view, lines, overwrite)
    assert {part.state for part in again} <= {"same", "kept", "refused"}
    if overwrite:
        # What is fixed at its registration cannot be overwritten.
        assert {part.kind for part in again if part.state == "kept"} <= {"service"}
    assert view.position == before
    assert {part.kind for part in again} <= set(KINDS)


@given(strategies.logs())
def test_the_bytes_of_a_dump_say_the_same(log: list[Event]) -> None:
    writer = Writer()
    lines = [TenantLine("default", "default", "7-1"), *held_by(view_of(log))]
    encoded = [writer.line(BackupHeader(1, "0", 0)), *map(writer.line, lines), writer.end()]
    assert list(read(encoded)) == lines
