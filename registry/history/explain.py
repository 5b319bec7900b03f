"""Explain: where an instance is, and why, in one sentence, with the events of its life."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from msgspec import Raw, Struct

from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    SchemaDeleted,
    SchemaPut,
    SchemasReplaced,
    ServicePropertiesSet,
    ServiceRegistered,
    ServiceUnregistered,
    TagsDeleted,
    TagSet,
    TagsReplaced,
)
from registry.domain.fold_access import AccessFact
from registry.domain.model import Microservice, decode_instance
from registry.domain.outcome import DELETE, Outcome
from registry.domain.own import ACTOR
from registry.domain.position import Position
from registry.domain.view import InstanceRow, RegistryView
from registry.domain.write_times import Window
from registry.history.choice import Choice
from registry.history.told import ServiceName, Told, could_not_write, moment_text, tell

State = Literal["present", "left", "expired", "replaced", "never seen", "before history"]
#: In these states an instance that never was is told as one that the account may not read of.
UNSEEN: Final[tuple[State, ...]] = ("never seen", "before history")
FAR_AS_READ: Final = ", as far as this account may read."
#: Events of one instance's life that are told, the newest ones.
LIFE_MAX: Final = 100
#: Replicas that could not write, of which a sentence says when. The evidence has the others.
NOT_WRITING_MAX: Final = 3


class Explanation(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`events`: of the instance's life, newest first, at most `LIFE_MAX`. `content`: as it is, or was last."""

    service_id: str
    instance_id: str
    state: State
    sentence: str
    #: Since when the history is kept: what was before, nobody knows. "": from its beginning.
    kept_since: str
    service: ServiceName | None = None
    #: Of who has left: where, by whom, and what proves it.
    removal: Told | None = None
    evidence: dict[str, Any] = {}
    content: Any = None
    events: list[Told] = []


class Happened(NamedTuple):
    """One event about the instance, and whether the registry held it afterwards."""

    told: Told
    event: Event
    outcome: Outcome
    service: Microservice | None
    held: bool


class Life:
    """What a stretch of the log tells of one instance. Stretches are looked at one by one, the newest first."""

    def __init__(self, service_id: str, instance_id: str) -> None:
        self.service_id = service_id
        self.instance_id = instance_id
        self._choice = Choice(service_id=service_id, instance_id=instance_id)
        #: Of the stretch that is being read, eldest first.
        self.happened: list[Happened] = []
        self._held = False
        #: How it left for the last time.
        self.removal: Happened | None = None

    def begin(self, held: bool) -> None:
        """A stretch begins, at a state that holds the instance or does not."""
        self.happened = []
        self.removal = None
        self._held = held

    def add(
        self,
        position: Position,
        event: Event,
        outcome: Outcome,
        service: Microservice | None,
        view: RegistryView | None = None,
    ) -> None:
        """What comes next, the microservice that it is about, and the view behind it where that is at hand: a log that
        lost events may go on with a state in which the instance is not there any more.
        """
        gone = False
        if isinstance(event, HistoryResumed) and view is not None:
            held = view.instance(self.service_id, self.instance_id) is not None
            gone, self._held = self._held and not held, held
        for change in outcome.changes:
            if (change.row.service_id, change.row.instance_id) == (self.service_id, self.instance_id):
                gone = change.action == DELETE
                self._held = not gone
        if gone or self._choice.takes(event, outcome, service):
            told = tell(position, event, self._choice.seen(outcome), service)
            happened = Happened(told, event, outcome, service, self._held)
            self.happened.append(happened)
            if gone:
                self.removal = happened
        if self._held:
            self.removal = None

    @property
    def held(self) -> bool:
        """Whether the registry has it after all of this."""
        return self._held

    @property
    def is_told(self) -> bool:
        """Whether this stretch says where the instance is; else the one before it may."""
        return self._held or self.removal is not None or self.merged is not None

    @property
    def merged(self) -> Happened | None:
        """The last registration under this id that ended up under another."""
        of_this_id = (h for h in reversed(self.happened) if h.told.instance_id == self.instance_id)
        return next((h for h in of_this_id if h.told.merged_into), None)


# -- where it is -------------------------------------------------------------------------------------------------------


def explain(
    life: Life, view: RegistryView, later: Sequence[Told], kept_since: str, complete: bool, registration: Event | None
) -> Explanation:
    """Where the instance is.

    Args:
        life: of the newest stretch that says so, or of the eldest.
        view: the state at the moment in question.
        later: events of later stretches, newest first, that said nothing of where it is.
        complete: the history is kept from its beginning.
        registration: of one that is present, by what it was registered last, if that is kept.
    """
    events = [*later, *(happened.told for happened in reversed(life.happened))][:LIFE_MAX]
    row = view.instance(life.service_id, life.instance_id)
    service = view.services.get(life.service_id)
    removal = life.removal
    known = service.service if service else removal.service if removal else None
    name = f"Instance {life.instance_id} of {_named(known, life.service_id)}"
    state: State
    if row is not None:
        state, sentence = "present", f"{name} is present: {_registered(row, registration)}, and it has not left since."
    elif removal is not None:
        state = "expired" if isinstance(removal.event, InstanceExpired) else "left"
        sentence = f"{name} {LEAVING[type(removal.event)](removal)}."
    elif life.merged is not None:
        state, told = "replaced", life.merged.told
        sentence = (
            f"{name} was registered at {told.at} with the endpoints of instance {told.merged_into}, "
            "which was there already: it goes by that id."
        )
    elif complete:
        state, sentence = "never seen", f"{name} has never been registered: the history is complete, and has no such."
    else:
        state = "before history"
        sentence = f"{name} is not there, and was not at any time since {kept_since}, from when on history is kept."
    return Explanation(
        *(life.service_id, life.instance_id, state, sentence, kept_since),
        service=_service_name(known),
        removal=removal.told if removal is not None else None,
        evidence=removal.told.evidence if removal is not None else {},
        content=_content(life, row.body if row is not None else b""),
        events=events,
    )


def _content(life: Life, now: bytes) -> Raw | None:
    if now:
        return Raw(now)
    for change in life.removal.outcome.changes if life.removal is not None else ():
        if change.row.instance_id == life.instance_id and change.action == DELETE:
            return Raw(change.row.body)
    return None


def _registered(row: InstanceRow, registration: Event | None) -> str:
    if registration is None:
        seconds = decode_instance(row.body).timestamp
        return f"it was registered at {moment_text(int(seconds) * 1000) if seconds.isdigit() else 'some time'}"
    return f"{by(registration)} registered it at {moment_text(registration.at_ms)}"


def by(event: Event) -> str:
    """Who did it, and through which replica."""
    who = "the registry itself" if event.actor == ACTOR else event.actor or "somebody"
    return f"{who} through replica {event.replica}"


# -- why it left -------------------------------------------------------------------------------------------------------


def _unregistered(removal: Happened) -> str:
    return f"left at {removal.told.at}: {by(removal.event)} unregistered it"


def _with_service(removal: Happened) -> str:
    others = len(removal.outcome.changes) - 1
    with_others = f", with {others} other instance{'s' if others != 1 else ''}" if others else ""
    return f"left at {removal.told.at}: {by(removal.event)} unregistered its whole microservice{with_others}"


def _expired(removal: Happened) -> str:
    event = removal.event
    assert isinstance(event, InstanceExpired)
    lease_s = (event.deadline_ms - event.last_beat_ms) / 1000
    paused = f", as expiry was paused for {event.paused_ms} ms" if event.paused_ms else ""
    through = f" through replica {event.renewed_through}" if event.renewed_through else ""
    return (
        f"expired at {removal.told.at}: its lease of {lease_s:g} s was last renewed at "
        f"{moment_text(event.last_beat_ms)}{through} and ended at {moment_text(event.deadline_ms)}; "
        f"replica {event.replica} removed it {max(event.at_ms - event.deadline_ms, 0)} ms later{paused}"
        f"{_writing(event)}"
    )


def _writing(event: InstanceExpired) -> str:
    """Which replica could write all the time, and which could not, where that was recorded."""
    known = could_not_write(event)
    away = [f"replica {replica} {' and '.join(map(_away, windows))}" for replica, windows in known.items() if windows]
    said = away[:NOT_WRITING_MAX]
    if more := len(away) - len(said):
        said.append(f"{more} more could not write all that time either")
    if could := len(known) - len(away):
        other = "other" if away else "replica"
        said.append(f"{could} {other}{'s' if could != 1 else ''} could write all that time")
    return "".join(f"; {one}" for one in said)


def _away(window: Window) -> str:
    since_ms, until_ms = window
    if not since_ms:
        return f"is known of only since {moment_text(until_ms)}"
    if not until_ms:
        return f"was last heard of at {moment_text(since_ms)}"
    return f"could not write from {moment_text(since_ms)} to {moment_text(until_ms)}"


def _not_in_history(removal: Happened) -> str:
    return f"left at {removal.told.at}: the log had lost events and was put together again, and it is not part of that"


#: How each type of event by which an instance can leave is told.
LEAVING: Final[dict[type[Event], Callable[[Happened], str]]] = {
    InstanceUnregistered: _unregistered,
    ServiceUnregistered: _with_service,
    InstanceExpired: _expired,
    HistoryResumed: _not_in_history,
}
#: By these no instance ever leaves. A test holds that each type of event stands in one of the two.
STAYING: Final[frozenset[type[Event]]] = frozenset(
    {
        *(InstanceRegistered, InstanceStatusSet, InstancePropertiesSet),
        *(ServiceRegistered, ServicePropertiesSet, TagsReplaced, TagSet, TagsDeleted),
        *(SchemaPut, SchemasReplaced, SchemaDeleted),
        *(DependenciesAdded, DependenciesReplaced, PolicySaved, PolicyDeleted),
        *get_args(AccessFact),
    }
)


def _named(service: Microservice | None, service_id: str) -> str:
    if service is None:
        return f"service {service_id}"
    return f"{service.app_id}/{service.service_name} {service.version}"


def _service_name(service: Microservice | None) -> ServiceName | None:
    if service is None:
        return None
    return ServiceName(service.environment, service.app_id, service.service_name, service.version)
