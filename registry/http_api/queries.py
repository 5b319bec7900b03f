"""Queries: find and batch-find requests into domain queries."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from registry.domain import rules
from registry.domain.errors import InvalidParams
from registry.domain.find import ANY_SERVICE, FindQuery
from registry.domain.instance_reads import InstanceQuery
from registry.domain.request_bodies import BatchFind, FindInstanceBody, FindKeyBody, FindServiceBody
from registry.domain.version import parse_rule
from registry.http_api import bodies
from registry.http_api.call import parse_flag, parse_query, parse_tags

#: Elements in each list of a batch find.
BATCH_MAX: Final = 1000


def find_query(raw: bytes, consumer_id: str) -> FindQuery:
    """The query of `GET instances`. With `noCache` the client's rev is ignored, so it is never told 304 (D15)."""
    parameters = parse_query(raw)
    app_id = parameters.get("appId", "")
    name = parameters.get("serviceName", "")
    environment = parameters.get("env", "")
    check_provider(app_id, name, environment)
    no_cache = parse_flag(parameters.get("noCache", ""), "noCache")
    return FindQuery(
        app_id,
        name,
        parse_rule(parameters.get("version", "")),
        environment,
        parse_tags(parameters.get("tags", "")),
        consumer_id,
        "" if no_cache else parameters.get("rev", ""),
    )


def check_provider(app_id: str, name: str, environment: str) -> None:
    """The rules of find and existence for what names a provider (api-rules.md 3.2, 3.6)."""
    rules.APP_ID.check(app_id, "appId", "query parameter `appId`")
    rules.FIND_NAME.check(name, "serviceName", "query parameter `serviceName`")
    rules.ENVIRONMENT.check_optional(environment, "env", "query parameter `env`")


class BatchQueries(Struct, frozen=True, gc=False):
    """The two lists of a batch find, each to be answered on its own."""

    services: tuple[FindQuery, ...]
    instances: tuple[InstanceQuery, ...]
    consumer_id: str = ""


def batch_queries(body: bytes, consumer_id: str) -> BatchQueries:
    """The queries of `POST instances/action?type=query`. One bad element refuses the whole request."""
    request = bodies.decode(body, BatchFind)
    if not request.services and not request.instances:
        raise InvalidParams("services or instances must hold at least one element - at `$`")
    for name, elements in (("services", request.services), ("instances", request.instances)):
        if len(elements or ()) > BATCH_MAX:
            raise InvalidParams(f"{name} has more than {BATCH_MAX} elements - at `$.{name}`")
    return BatchQueries(
        tuple(_service_query(item, index, consumer_id) for index, item in enumerate(request.services or [])),
        tuple(_instance_query(item, index, consumer_id) for index, item in enumerate(request.instances or [])),
        consumer_id,
    )


def _service_query(item: FindServiceBody, index: int, consumer_id: str) -> FindQuery:
    try:
        query = service_query(item.service, consumer_id)
    except InvalidParams as exc:
        raise InvalidParams(exc.detail.replace("`$", f"`$.services[{index}].service", 1)) from exc
    return structs.replace(query, rev=item.rev or "")


def service_query(key: FindKeyBody | None, consumer_id: str) -> FindQuery:
    """The query for a provider that is named in a body, without a rev. `$` in a complaint is the provider."""
    if key is None or not key.service_name:
        raise InvalidParams("serviceName is missing - at `$`")
    if not key.app_id and key.service_name != ANY_SERVICE:
        raise InvalidParams("appId is missing - at `$.appId`")
    try:
        rule = parse_rule(key.version or "")
    except InvalidParams as exc:
        raise InvalidParams(f"{exc.detail} - at `$.version`") from exc
    return FindQuery(key.app_id or "", key.service_name, rule, key.environment or "", (), consumer_id)


def _instance_query(item: FindInstanceBody, index: int, consumer_id: str) -> InstanceQuery:
    key = item.instance
    if key is None or not key.service_id or not key.instance_id:
        raise InvalidParams(f"serviceId and instanceId are needed - at `$.instances[{index}].instance`")
    return InstanceQuery(key.service_id, key.instance_id, (), consumer_id, item.rev or "")
