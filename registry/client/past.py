"""Past: what happened, why, what is different, and what happens now. Other registries may have none of it.

Everything here raises `NotOffered` where the registry has no history, `Refused` when it refuses (410001: nothing is
kept of that time), and `Unreachable` when no address answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from registry.client.calls import Calls
from registry.client.wire import WireStruct


class Question(Struct, frozen=True):
    """Which events, or which differences; an empty member leaves everything in. `env` None: of any environment.

    since, until: RFC 3339, Unix milliseconds or a position; `until` "" is now.
    """

    service_id: str = ""
    instance_id: str = ""
    app: str = ""
    name: str = ""
    env: str | None = None
    version: str = ""
    kinds: tuple[str, ...] = ()
    actor: str = ""
    since: str = ""
    until: str = ""

    def parameters(self) -> list[tuple[str, str]]:
        found = {
            "serviceId": self.service_id,
            "instanceId": self.instance_id,
            "appId": self.app,
            "serviceName": self.name,
            "version": self.version,
            "actor": self.actor,
            "from": self.since,
            "to": self.until,
        }
        env = [] if self.env is None else [("env", self.env)]
        return [pair for pair in found.items() if pair[1]] + env + [("kind", kind) for kind in self.kinds]


class FieldChange(WireStruct, frozen=True):
    field: str
    before: Any = msgspec.field(default=None, name="from")
    after: Any = msgspec.field(default=None, name="to")


class Name(WireStruct, frozen=True):
    env: str = ""
    app_id: str = ""
    service_name: str = ""
    version: str = ""


class Actor(WireStruct, frozen=True):
    address: str = ""
    account: str = ""
    request_id: str = ""
    user_agent: str = ""


class Event(WireStruct, frozen=True):
    """One event of the log. `at` is RFC 3339 by its writer's clock; `position` orders."""

    position: str
    at: str
    kind: str
    effect: str
    actor: Actor = Actor()
    replica: str = ""
    error_code: str = ""
    detail: str = ""
    merged_into: str = ""
    service_id: str = ""
    instance_id: str = ""
    service: Name | None = None
    changes: list[FieldChange] = msgspec.field(default_factory=list)
    changes_left_out: int = 0
    after: Any = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)


class Page(WireStruct, frozen=True):
    """`next`: where the page after this one begins, "" at the end. `position`: up to where the log was looked at."""

    events: list[Event]
    next: str = ""
    position: str = ""
    kept_since: str = ""


class Explanation(WireStruct, frozen=True):
    """Where an instance is, and why. `events`: of its life, newest first."""

    service_id: str
    instance_id: str
    state: str
    sentence: str
    kept_since: str = ""
    service: Name | None = None
    removal: Event | None = None
    evidence: dict[str, Any] = msgspec.field(default_factory=dict)
    content: Any = None
    events: list[Event] = msgspec.field(default_factory=list)


class There(WireStruct, frozen=True):
    instance_id: str
    status: str = ""
    registered: str = ""


class Gone(WireStruct, frozen=True):
    instance_id: str
    position: str = ""
    sentence: str = ""


class VersionFound(WireStruct, frozen=True):
    """`chosen`: the version rule takes it. `count` and `left_count` count those too that are not named."""

    version: str
    service_id: str
    chosen: bool = False
    count: int = 0
    instances: list[There] = msgspec.field(default_factory=list)
    left_count: int = 0
    left: list[Gone] = msgspec.field(default_factory=list)


class FindExplanation(WireStruct, frozen=True):
    at: str
    position: str
    sentence: str
    versions: list[VersionFound] = msgspec.field(default_factory=list)


class Difference(WireStruct, frozen=True):
    """One service, or one instance of it. `changes` only of one that is there both before and after."""

    service_id: str
    service: Name
    instance_id: str = ""
    changes: list[FieldChange] = msgspec.field(default_factory=list)
    before: Any = None
    after: Any = None


class Differences(WireStruct, frozen=True):
    added: list[Difference] = msgspec.field(default_factory=list)
    removed: list[Difference] = msgspec.field(default_factory=list)
    changed: list[Difference] = msgspec.field(default_factory=list)


class Diff(WireStruct, frozen=True):
    services: Differences = Differences()
    instances: Differences = Differences()


class Heard(WireStruct, frozen=True):
    """What a feed has brought; it goes on behind `position`."""

    events: list[Event]
    position: str


class Past:
    """The history of one tenant."""

    def __init__(self, calls: Calls, project: str = "default") -> None:
        self._calls = calls
        self._root = f"/v1/{quote(project, safe='')}"

    async def _get(self, path: str, wanted: type, parameters: Sequence[tuple[str, str]]) -> Any:
        target = f"{self._root}/{path}?{urlencode(parameters)}"
        return (await self._calls.call("GET", target, wanted, optional=True)).value

    async def page(
        self, question: Question, limit: int, *, oldest_first: bool = False, after: str = "", before: str = ""
    ) -> Page:
        """Events, newest first unless told otherwise; `limit` is at most 1,000.

        after, before: positions between which they lie.
        """
        more = {"order": "oldest" if oldest_first else "", "after": after, "before": before, "limit": str(limit)}
        found: Page = await self._get("history", Page, [*question.parameters(), *_given(more)])
        return found

    async def explain(self, service_id: str, instance_id: str, at: str = "") -> Explanation:
        """Where an instance is and why, now or at a time."""
        asked = {"serviceId": service_id, "instanceId": instance_id, "at": at}
        found: Explanation = await self._get("history/explain", Explanation, _given(asked))
        return found

    async def explain_find(self, app: str, name: str, env: str, version: str, at: str = "") -> FindExplanation:
        """Why a find has what it has. `version` is a rule."""
        asked = {"appId": app, "serviceName": name, "env": env, "version": version, "at": at}
        found: FindExplanation = await self._get("history/explain", FindExplanation, _given(asked))
        return found

    async def diff(self, question: Question) -> Diff:
        """What is not the same at two times."""
        found: Diff = await self._get("history/diff", Diff, question.parameters())
        return found

    async def listen(self, question: Question, after: str, wait_s: float) -> Heard:
        """What happens behind a position, as soon as it happens; nothing when nothing does within `wait_s`, 60 at most.

        `after` "": from now on.
        """
        more = {"after": after, "wait": f"{max(1, int(wait_s * 1000))}ms"}
        found: Heard = await self._get("events", Heard, [*question.parameters(), *_given(more)])
        return found


def _given(parameters: dict[str, str]) -> list[tuple[str, str]]:
    return [pair for pair in parameters.items() if pair[1]]
