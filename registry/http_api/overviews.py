"""Endpoints of control panels and consoles (api-rules.md 3.13), and the search for instances; not of policies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from registry.domain import instance_search, overviews, rules
from registry.domain import scrape_targets as targets
from registry.domain.errors import InvalidParams
from registry.domain.instance_search import TEXT_MAX
from registry.domain.overviews import ALL_PARTS, STATISTICS, DetailsQuery
from registry.domain.scrape_targets import PROPERTIES_MAX, Wanted
from registry.domain.steps import Steps
from registry.domain.view import RegistryView
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply


async def list_details(api: Api, call: Call) -> Reply:
    """`GET govern/microservices`."""
    query = _details_query(call)
    hidden = _hidden(api, call)
    return await _big(api, call, lambda view: overviews.details(view, query, hidden, call.covers))


def _details_query(call: Call) -> DetailsQuery:
    given = frozenset(filter(None, map(str.strip, call.query("options").split(","))))
    properties = (text.partition(":") for text in call.query_all("property"))
    return DetailsQuery(
        ALL_PARTS if "all" in given else given,
        call.query("appId"),
        call.query("serviceName"),
        call.query("env"),
        tuple((key, value) for key, _, value in properties if key),
        call.flag("countOnly"),
    )


async def get_detail(api: Api, call: Call) -> Reply:
    """`GET govern/microservices/{serviceId}`."""
    service_id = call.service_id
    return await _big(api, call, lambda view: overviews.detail(view, service_id, call.covers))


async def get_statistics(api: Api, call: Call) -> Reply:
    """`GET govern/statistics`."""
    hidden = _hidden(api, call)
    found = await api.discovery.read(call.tenant, lambda view: overviews.statistics(view, hidden, call.covers))
    return await _answer(api, call, {STATISTICS: found})


async def list_apps(api: Api, call: Call) -> Reply:
    """`GET govern/apps`."""
    environment = rules.ENVIRONMENT.check_optional(call.query("env"), "env", "query parameter `env`")
    hidden = _hidden(api, call)
    apps = await api.discovery.read(call.tenant, lambda view: overviews.apps(view, environment, hidden, call.covers))
    return await _answer(api, call, {"appIds": apps} if apps else {})


async def relations(api: Api, call: Call) -> Reply:
    """`GET govern/relations`."""
    hidden = _hidden(api, call)
    return await _big(api, call, lambda view: overviews.relations(view, hidden, call.covers))


async def search_instances(api: Api, call: Call) -> Reply:
    """`GET instances`: those that have all words of `text` in their id, host name or endpoints; the first 500, and how
    many there are.
    """
    text, status = call.query("text"), call.query("status")
    if not text.strip():
        raise InvalidParams("text is missing: a part of an id, a host name or an endpoint - at query parameter `text`")
    if len(text) > TEXT_MAX:
        raise InvalidParams(f"text is longer than {TEXT_MAX} characters - at query parameter `text`")
    hidden = _hidden(api, call)
    return await _big(api, call, lambda view: instance_search.search(view, text, status, hidden, call.covers))


async def scrape_targets(api: Api, call: Call) -> Reply:
    """`GET sd/prometheus`: the instances as targets that Prometheus discovers, with labels `__meta_servicecomb_…`."""
    wanted, hidden = _wanted(call), _hidden(api, call)
    return await _big(api, call, lambda view: targets.scrape_targets(view, wanted, hidden, call.covers))


def _wanted(call: Call) -> Wanted:
    names = tuple(dict.fromkeys(filter(None, map(str.strip, call.query("properties").split(",")))))
    if len(names) > PROPERTIES_MAX:
        raise InvalidParams(f"at most {PROPERTIES_MAX} names - at query parameter `properties`")
    environment = call.query("env") if call.gives("env") else None
    app_id, name, status = call.query("appId"), call.query("serviceName"), call.query("status")
    return Wanted(app_id, name, environment, status, call.query("protocol"), names)


def _hidden(api: Api, call: Call) -> frozenset[str]:
    return api.discovery.hidden(call.tenant, call.flag("withShared"))


async def _big(api: Api, call: Call, question: Callable[[RegistryView], Steps]) -> Reply:
    async with api.big_reads.turn:
        steps = await api.discovery.read(call.tenant, question)
        position = api.position(call.tenant)
        return await _compressed(api, call, reply.json(b"".join(await api.big_reads.make(steps)), position))


async def _answer(api: Api, call: Call, value: Any) -> Reply:
    return await _compressed(api, call, reply.json(msgspec.json.encode(value), api.position(call.tenant)))


async def _compressed(api: Api, call: Call, whole: Reply) -> Reply:
    """Large answers are compressed once per content: consoles ask again and again for the same."""
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole
