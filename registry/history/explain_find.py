"""Explain a find: what it has at a moment, version by version, and who left in the hour before, by whom."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from registry.access.reach import EVERYWHERE, Reach
from registry.domain.events import Event
from registry.domain.model import Microservice, decode_instance
from registry.domain.outcome import DELETE, Outcome
from registry.domain.position import Position
from registry.domain.version import VersionRule, select
from registry.domain.view import GroupKey, RegistryView, ServiceRow
from registry.history.choice import service_of
from registry.history.explain import LEAVING, Happened
from registry.history.told import moment_text, tell

#: How far back it looks for those that have left, ms; and how many of them, and of those that are there, it names of
#: each version.
LOOK_BACK_MS: Final = 3_600_000
NAMED_MAX: Final = 100


class There(Struct, frozen=True, rename="camel"):
    instance_id: str
    status: str
    registered: str


class Gone(Struct, frozen=True, rename="camel"):
    instance_id: str
    position: str
    sentence: str


class VersionFound(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """`chosen`: the version rule takes it. `count` and `left_count` count those too that are not named."""

    version: str
    service_id: str
    chosen: bool
    count: int
    instances: list[There] = []
    left_count: int = 0
    left: list[Gone] = []


class FindExplanation(Struct, frozen=True):
    at: str
    position: str
    sentence: str
    versions: list[VersionFound]


class GoneOf:
    """Who left one version: all are counted, the newest are named."""

    def __init__(self, service_id: str) -> None:
        self.service_id = service_id
        self.count = 0
        self.named: deque[Gone] = deque(maxlen=NAMED_MAX)

    def add(self, gone: Gone) -> None:
        self.count += 1
        self.named.append(gone)


def is_called(service: Microservice, key: GroupKey) -> bool:
    """Whether the microservice has this environment, application, and name or alias."""
    environment, app_id, name = key
    own = service.environment, service.app_id
    return own == (environment, app_id) and name in (service.service_name, service.alias)


class Left:
    """Who left a microservice name, as the log goes by."""

    def __init__(self, key: GroupKey, reach: Reach = EVERYWHERE) -> None:
        self._key = key
        self._reach = reach
        self.versions: dict[str, GoneOf] = {}

    def add(self, view: RegistryView, position: Position, event: Event, outcome: Outcome) -> None:
        """The view has applied the event."""
        service = service_of(view, event, outcome)
        if service is None or type(event) not in LEAVING:
            return
        environment, app_id, _ = self._key
        if not is_called(service, self._key):
            return
        if not self._reach.covers(environment, app_id, service.service_name):
            return  # the name is an alias of what is not to be seen
        gone = self.versions.setdefault(service.version, GoneOf(service.service_id))
        happened = Happened(tell(position, event, outcome, service), event, outcome, service, held=False)
        for change in outcome.changes:
            if change.action == DELETE:
                sentence = f"Instance {change.row.instance_id} {LEAVING[type(event)](happened)}."
                gone.add(Gone(change.row.instance_id, position.text(), sentence))


def explain_find(
    view: RegistryView, key: GroupKey, rule: VersionRule, left: Left, reach: Reach = EVERYWHERE
) -> FindExplanation:
    """What a find of this name and rule has in this view, of what is within reach."""
    group = view.groups.get(key)
    rows = list(group.services.values()) if group else [view.services[id] for id in view.aliases.get(key, {})]
    rows = [row for row in rows if reach.covers(*row.group.key)]
    chosen = {row.service_id for row in select(rule, rows, ServiceRow.named_version)}
    versions = [_version(row, row.service_id in chosen, left) for row in rows]
    there = {row.service.version for row in rows}
    for version, gone in left.versions.items():
        if version not in there:
            versions.append(VersionFound(version, gone.service_id, False, 0, [], gone.count, list(gone.named)))
    found = sum(version.count for version in versions if version.chosen)
    gone_count = sum(version.left_count for version in versions)
    name = f"{key[1]}/{key[2]} {rule.text}".strip()
    sentence = (
        f"A find of {name} has {found} instance{'s' if found != 1 else ''} of {len(chosen)} of {len(rows)} "
        f"version{'s' if len(rows) != 1 else ''}; {gone_count} left in the hour before."
    )
    if not rows:
        sentence = f"There is no microservice {name}; {gone_count} of its instances left in the hour before."
    return FindExplanation(moment_text(view.moment_ms), view.position.text(), sentence, versions)


def _version(row: ServiceRow, chosen: bool, left: Left) -> VersionFound:
    gone = left.versions.get(row.service.version, GoneOf(row.service_id))
    rows = sorted(row.instances.values(), key=lambda instance: instance.instance_id)
    there = [There(r.instance_id, decode_instance(r.body).status, r.registered) for r in rows[:NAMED_MAX]]
    return VersionFound(row.service.version, row.service_id, chosen, len(rows), there, gone.count, list(gone.named))
