"""The facts about accounts lead every replica to the same view, and the view never contradicts itself."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.access_events import (
    AccountChanged,
    AccountCreated,
    AccountDeleted,
    MachineTokenGiven,
    MachineTokenRevoked,
    PasswordSet,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    SigningKeyAdded,
)
from registry.domain.accounts import BUILT_IN, KEYS_MAX, AccessView, Permission, Resource, Secret
from registry.domain.events import Event
from registry.domain.fold import apply
from registry.domain.history import put_back
from registry.domain.position import Position
from registry.domain.recent import Remembered
from registry.domain.sections import rest_sections
from registry.domain.snapshot import Loader, take
from registry.domain.tenant import ACCOUNTS
from registry.domain.view import RegistryView

names = st.sampled_from(["ann", "bob"])
own_roles = st.sampled_from(["r1", "r2"])
some_roles = st.lists(st.sampled_from(["admin", "developer", "r1", "r2"]), min_size=1, max_size=2, unique=True)
hashes = st.sampled_from(["h1", "h2"]).map(Secret)
perms = st.sampled_from([[Permission([Resource("ops")], ["get"])], [Permission([Resource("service")], ["*"])]])
stamp: dict[str, Any] = {"at_ms": st.sampled_from([1_000, 5_000]), "replica": st.just("r"), "number": st.just(0)}
access_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(AccountCreated, name=names, id=st.just("x"), password=hashes, roles=some_roles, **stamp),
    st.builds(
        AccountChanged, name=names, roles=some_roles, status=st.sampled_from(["", "active", "inactive"]), **stamp
    ),
    st.builds(PasswordSet, name=names, password=hashes, **stamp),
    st.builds(AccountDeleted, name=names, **stamp),
    st.builds(RoleCreated, name=own_roles, id=st.just("y"), perms=perms, **stamp),
    st.builds(RoleChanged, name=own_roles, perms=perms, **stamp),
    st.builds(RoleDeleted, name=own_roles, **stamp),
    st.builds(MachineTokenGiven, name=names, id=st.just("z"), roles=some_roles, expires_s=st.just(9), **stamp),
    st.builds(MachineTokenRevoked, name=names, **stamp),
    st.builds(SigningKeyAdded, kid=st.sampled_from("abcdef"), pem=hashes, alone=st.booleans(), **stamp),
)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[Position, Event]]:
    found = draw(st.lists(access_events, max_size=25))
    return [(Position(7, n), _numbered(event, n)) for n, event in enumerate(found, 1)]


def _numbered(event: Event, number: int) -> Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**(fields | {"number": number}))


class Naive:
    """The same in dictionaries, fact by fact, as the documents tell it. Refusals by code."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.roles: dict[str, list[Permission]] = {name: role.perms for name, role in BUILT_IN.items()}
        self.machines: dict[str, list[str]] = {}
        self.keys: list[str] = []

    def apply(self, event: Any) -> int:
        name = getattr(event, "name", "")
        if isinstance(event, SigningKeyAdded):
            others = [] if event.alone else [kid for kid in self.keys if kid != event.kid]
            self.keys = [*others, event.kid][-KEYS_MAX:]
            return 0
        if isinstance(event, AccountCreated | MachineTokenGiven):
            held = self.accounts if isinstance(event, AccountCreated) else self.machines
            if name in held:
                return 409200
            if not all(role in self.roles for role in event.roles):
                return 400202
            if isinstance(event, MachineTokenGiven):
                self.machines[name] = event.roles
            else:
                era = event.number
                self.accounts[name] = {"roles": event.roles, "hash": event.password, "status": "active", "era": era}
            return 0
        if isinstance(event, MachineTokenRevoked):
            return 0 if self.machines.pop(name, None) is not None else 400001
        if isinstance(event, RoleCreated):
            if name in self.roles:
                return 409201
            self.roles[name] = event.perms
            return 0
        if isinstance(event, RoleChanged | RoleDeleted):
            if name not in self.roles:
                return 400201
            if isinstance(event, RoleChanged):
                self.roles[name] = event.perms
                return 0
            holders = [account["roles"] for account in self.accounts.values()] + list(self.machines.values())
            if any(name in roles for roles in holders):
                return 400205
            del self.roles[name]
            return 0
        if name not in self.accounts:
            return 400200
        if isinstance(event, AccountDeleted):
            del self.accounts[name]
        elif isinstance(event, PasswordSet):
            self.accounts[name] |= {"hash": event.password, "era": event.number}
        elif isinstance(event, AccountChanged):
            if not all(role in self.roles for role in event.roles):
                return 400202
            status = event.status or self.accounts[name]["status"]
            self.accounts[name] |= {"roles": event.roles, "status": status}
            if status == "inactive":
                self.accounts[name]["era"] = event.number
        return 0


@given(logs())
def test_the_fold_tells_what_the_documents_tell(log: list[tuple[Position, Event]]) -> None:
    view, naive = RegistryView(ACCOUNTS), Naive()
    for position, event in log:
        before = view.access.version if view.access is not None else None
        error = apply(view, position, event).error
        assert (error.code if error is not None else 0) == naive.apply(event)
        assert view.access is not None
        assert (view.access.version is not before) or error is not None, "who remembers has to be told"
        assert view.rest_changed == position or error is not None
    access = view.access or AccessView()
    assert {
        name: {"roles": a.roles, "hash": a.password, "status": a.status, "era": int(a.era.removeprefix("r-"))}
        for name, a in access.accounts.items()
    } == naive.accounts
    assert {name: role.perms for name, role in access.roles.items()} == {
        name: perms for name, perms in naive.roles.items() if name not in BUILT_IN
    }
    assert {name: machine.roles for name, machine in access.machines.items()} == naive.machines
    assert [key.kid for key in access.keys] == naive.keys
    for account in access.accounts.values():
        assert all(access.role(role) is not None for role in account.roles), "a role that is bound does not go"


@given(logs())
def test_a_snapshot_of_accounts_is_the_same_view(log: list[tuple[Position, Event]]) -> None:
    """A replica that starts from one must neither forget an account nor let one in that was deleted."""
    view, loader = RegistryView(ACCOUNTS), Loader()
    for position, event in log:
        apply(view, position, event)
    for chunk in take(view, b"last"):
        loader.add(chunk)
    assert rest_sections(loader.view()) == rest_sections(view)


@given(logs())
def test_no_secret_is_shown(log: list[tuple[Position, Event]]) -> None:
    """What is logged or raised shows values; hashes and keys must not be among them."""
    view = RegistryView(ACCOUNTS)
    for position, event in log:
        apply(view, position, event)
        assert "h1" not in repr(event)
        assert "h2" not in repr(event)
    assert not {"'h1'", "'h2'"} & set(repr(rest_sections(view)).replace(",", " ").split())


def fold(log: list[tuple[Position, Event]]) -> AccessView:
    view = RegistryView(ACCOUNTS)
    for position, event in log:
        apply(view, position, event)
    return view.access or AccessView()


@given(logs(), st.data())
def test_what_a_log_has_lost_is_put_back_and_what_came_since_stands(
    log: list[tuple[Position, Event]], data: st.DataObject
) -> None:
    """A backup is restored, and an admin changes accounts before the lost changes are back: nothing is undone by them.

    What was written after the loss is decided as if the lost changes had been there all the time.
    """
    kept = data.draw(st.integers(0, len(log)))
    new = [_renamed(event, "later") for event in data.draw(st.lists(access_events, max_size=4))]
    before = RegistryView(ACCOUNTS)
    for position, event in log[:kept]:
        apply(before, position, event)
    since = [Remembered(Position(7, kept + n), event) for n, event in enumerate(new, 1)]
    for remembered in since:
        apply(before, *remembered)
    lost = [Remembered(*placed) for placed in log[kept:]]
    back = put_back(lost, since, before)
    for number, event in enumerate((*back.lost, *back.again), 1):
        apply(before, Position(8, number), event)
    found = before.access or AccessView()
    for _, event in since:
        if isinstance(event, AccountDeleted) and not any(
            _about(other, event.name) for other in new if other is not event
        ):
            assert event.name not in found.accounts
        if isinstance(event, PasswordSet) and event.name in found.accounts and new[-1] is event:
            assert found.accounts[event.name].password == event.password
    for account in found.accounts.values():
        assert all(found.role(role) is not None for role in account.roles)
    if not new:
        assert found.accounts.keys() == fold(log).accounts.keys()


def _about(event: Event, name: str) -> bool:
    return isinstance(event, AccountCreated | AccountChanged | PasswordSet | AccountDeleted) and event.name == name


def _renamed(event: Event, replica: str) -> Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**(fields | {"replica": replica}))
