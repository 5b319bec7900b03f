"""Endpoints about what happened: events, why, differences, counts. They are answered beside the present."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from registry.access.rule import Target, right
from registry.domain import rules
from registry.domain.errors import InvalidParams
from registry.domain.position import Position
from registry.domain.version import parse_rule
from registry.history.choice import Choice
from registry.history.historian import PAGE_DEFAULT, PAGE_MAX, Historian, Page, PageQuery
from registry.history.moments import END, When, parse_when
from registry.history.told import KINDS, moment_text
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.operation import Kind, Operation
from registry.http_api.queries import check_provider
from registry.http_api.reply import Reply

_DURATION: Final = re.compile(r"(\d{1,9})(ms|s|m|h|d)?", re.ASCII)
_MS: Final = {"ms": 1, "s": 1000, "": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: Of a timeline for which no step was asked.
STEP_DEFAULT: Final = "1m"


async def list_events(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/history`: events, newest first or oldest first."""
    order = call.query("order") or "newest"
    if order not in ("newest", "oldest"):
        raise InvalidParams(f"{order[:32]!r} is neither newest nor oldest - at query parameter `order`")
    query = PageQuery(
        choice_of(call),
        order == "newest",
        _when(call, "from"),
        _when(call, "to") or END,
        position_of(call, "after"),
        position_of(call, "before"),
        _limit(call),
    )
    return await _encoded(api, call, await historian(api).page(call.tenant, query))


async def explain(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/history/explain`: where an instance is and why, or why a find has what it has."""
    at = _state(api, call, "at")
    if call.query("instanceId") or call.query("serviceId"):
        service_id = rules.SERVICE_ID.check(call.query("serviceId"), "serviceId", "query parameter `serviceId`")
        instance_id = rules.INSTANCE_ID.check(call.query("instanceId"), "instanceId", "query parameter `instanceId`")
        choice = Choice(service_id, instance_id, reach=call.reach)
        return await _answer(api, call, await historian(api).explain(call.tenant, choice, at))
    app_id, name, env = call.query("appId"), call.query("serviceName"), call.query("env")
    check_provider(app_id, name, env)
    call.require(env, app_id, name)
    rule = parse_rule(call.query("version"))
    found = await historian(api).explain_find(call.tenant, (env, app_id, name), rule, at, call.reach)
    return await _answer(api, call, found)


async def diff(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/history/diff`: what is not the same at two times."""
    before, after = _state(api, call, "from"), _state(api, call, "to")
    if before == END:
        raise InvalidParams("is missing - at query parameter `from`")
    return await _answer(api, call, await historian(api).diff(call.tenant, before, after, choice_of(call)))


async def churn(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/history/churn`: events counted per step of time and kind, for a timeline."""
    from_ms, to_ms = _moment(api, call, "from"), _moment(api, call, "to")
    step_ms = duration_ms(call.query("step") or STEP_DEFAULT, "step")
    by_service = call.flag("byService")
    found = await historian(api).churn(call.tenant, from_ms, to_ms, step_ms, by_service, choice_of(call))
    return await _answer(api, call, found)


def historian(api: Api) -> Historian:
    """Who answers. The door sends these operations to where there is one."""
    assert api.historian is not None
    return api.historian


async def _answer(api: Api, call: Call, value: Any) -> Reply:
    return await _encoded(api, call, msgspec.json.encode(value))


async def _encoded(api: Api, call: Call, body: bytes) -> Reply:
    whole = reply.json(body)
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


# -- what is asked -----------------------------------------------------------------------------------------------------


def choice_of(call: Call) -> Choice:
    """The filters of all these operations."""
    kinds = tuple(filter(None, call.query_all("kind")))
    for kind in kinds:
        if kind not in KINDS:
            raise InvalidParams(f"{kind[:64]!r} is none of {', '.join(KINDS)} - at query parameter `kind`")
    environments = call.query_all("env")
    return Choice(
        call.query("serviceId"),
        call.query("instanceId"),
        call.query("appId"),
        call.query("serviceName"),
        environments[0] if environments else None,
        call.query("version"),
        kinds,
        call.query("actor"),
        call.reach,
    )


def _when(call: Call, name: str) -> When | None:
    return parse_when(call.query(name), name) if call.query(name) else None


def _state(api: Api, call: Call, name: str) -> When:
    """The time of a state; the present when none is given."""
    when = _when(call, name) or END
    check_not_ahead(when, api.now_ms(), name)
    return when


def check_not_ahead(when: When, now_ms: int, name: str) -> None:
    """Raise InvalidParams for a moment that is still to come: what was then is not known."""
    if when.moment_ms is not None and when.moment_ms > now_ms:
        raise InvalidParams(f"the moment is ahead of now, {moment_text(now_ms)} - at query parameter `{name}`")


def _moment(api: Api, call: Call, name: str) -> int:
    """A moment of a timeline; `to` is now when it is not given, and `from` an hour before."""
    when = _when(call, name)
    if when is None:
        return api.now_ms() if name == "to" else _moment(api, call, "to") - _MS["h"]
    if when.moment_ms is None:
        raise InvalidParams(f"a position is no moment - at query parameter `{name}`")
    return when.moment_ms


def position_of(call: Call, name: str) -> Position | None:
    when = _when(call, name)
    if when is not None and when.position is None:
        raise InvalidParams(f"a position (epoch-sequence) is wanted - at query parameter `{name}`")
    return when.position if when is not None else None


def _limit(call: Call) -> int:
    text = call.query("limit")
    if not text:
        return PAGE_DEFAULT
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= PAGE_MAX):
        raise InvalidParams(f"{text[:32]!r} is no number from 1 to {PAGE_MAX} - at query parameter `limit`")
    return int(text)


def duration_ms(text: str, name: str) -> int:
    """Read `500ms`, `30s`, `5m`, `1h` or `1d`; a number alone is of seconds."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidParams(f"{text[:32]!r} is no duration (30s, 5m, 1h) - at query parameter `{name}`")
    return int(found[1]) * _MS[found[2] or ""]


CHOICE: Final = ("serviceId", "instanceId", "appId", "serviceName", "env", "version", "kind", "actor")
LIST_EVENTS: Final = Operation(
    name="list-events",
    method="GET",
    path="/v1/{project}/history",
    handler=list_events,
    response=Page,
    query=("order", "from", "to", "after", "before", "limit", *CHOICE),
    kind=Kind.PAST,
    access=right("service", "get", Target.ELEMENTS),
)
