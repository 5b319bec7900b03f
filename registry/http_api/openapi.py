"""The OpenAPI 3.1 document, generated from the operation table and the types that it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registry import __version__
from registry.access.rule import Need
from registry.domain.errors import ErrorBody
from registry.http_api.operation import Kind, Operation

_REF: Final = "#/components/schemas/{name}"
_TENANT: Final = {"$ref": "#/components/parameters/domain"}
_POSITION: Final = {"$ref": "#/components/parameters/position"}
_DURABILITY: Final = {"$ref": "#/components/parameters/durability"}
_AS_OF: Final = {"$ref": "#/components/parameters/asOf"}
_LAST_EVENT: Final = {"$ref": "#/components/parameters/lastEvent"}
_CONSUMER: Final = {"$ref": "#/components/parameters/consumer"}


def openapi(operations: Sequence[Operation], guarded: bool = False) -> bytes:
    """The document as JSON. `guarded`: where there are accounts."""
    types = [
        type_ for operation in operations for type_ in (operation.request, operation.response) if type_ is not None
    ]
    schemas, components = msgspec.json.schema_components([*types, ErrorBody], ref_template=_REF)
    by_type = dict(zip([*types, ErrorBody], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_type, guarded)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Service registry, ServiceComb v4 API",
                "version": __version__,
                "description": "Paths below /registry/v3 answer as those below /v4/default/registry.",
            },
            "servers": [{"url": "/", "description": "the replica that sent this document"}],
            "paths": paths,
            "components": {
                "schemas": components,
                "parameters": _PARAMETERS,
                **({"securitySchemes": _SECURITY} if guarded else {}),
            },
        }
    )


def _operation(operation: Operation, schemas: dict[Any, dict[str, Any]], guarded: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.access.resource or "registry"],
        "parameters": _parameters(operation),
        "responses": _responses(operation, schemas),
    }
    if guarded and operation.access.need is not Need.NOTHING:
        found["security"] = [{name: []} for name in _SECURITY]
        found["responses"] |= {
            status: {"description": description, "content": _json(schemas[ErrorBody])}
            for status, description in _GUARDED.items()
        }
    if operation.of_accounts:
        found["responses"] |= {
            status: {"description": description, "content": _json(schemas[ErrorBody])}
            for status, description in _OF_ACCOUNTS.items()
        }
    if operation.deprecated:
        found["deprecated"] = True
    if operation.request is not None:
        found["requestBody"] = {"required": True, "content": _json(schemas[operation.request])}
    return found


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    names = re.findall(r"{(\w+)}", operation.path)
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    found += [
        {"name": name, "in": "query", "required": name in operation.required, "schema": {"type": "string"}}
        for name in operation.query
    ]
    if operation.as_of:
        found.append(_AS_OF)
    if "project" not in names:
        return found
    if operation.kind is Kind.FEED:
        found.append(_LAST_EVENT)
    return [*found, _TENANT, _POSITION, _CONSUMER, *([_DURABILITY] if operation.appends else [])]


def _responses(operation: Operation, schemas: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    if operation.text:
        return {"200": {"description": "success", "content": {"text/plain": {}}}}
    error = {"content": _json(schemas[ErrorBody])}
    if operation.socket:
        return {
            "101": {"description": "a websocket from here on"},
            "400": {"description": "no websocket was asked for, or one that cannot be opened", **error},
        }
    success: dict[str, Any] = {"description": "success"}
    if operation.response is not None:
        success["content"] = _json(schemas[operation.response])
    if operation.kind is Kind.FEED:
        success["content"]["text/event-stream"] = {"schema": {"type": "string"}}
    found: dict[str, Any] = {"200": success}
    if {"rev", "since"} & set(operation.query):
        found["304"] = {"description": "the client holds exactly this answer"}
    found["400"] = {"description": "refused; `errorCode` says why", **error}
    if operation.as_of or operation.kind in (Kind.PAST, Kind.FEED):
        found["410"] = {"description": "nothing is kept of that time; the detail says since when", **error}
    found["403"] = {"description": "not allowed", **error}
    found["500"] = {"description": "a failure of the registry or of its store", **error}
    found["503"] = {"description": "too much is asked at a time; `Retry-After` says when to come again", **error}
    if operation.path.endswith("/readiness"):
        found["503"] = {"description": "not ready; the reason", "content": {"text/plain": {}}}
    return found


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
}
_GUARDED: Final = {"401": "no token that is valid", "403": "not allowed"}
_OF_ACCOUNTS: Final = {
    "401": "no token that is valid, or a wrong password",
    "409": "the name is taken",
    "429": "too much is asked at a time",
}
_PARAMETERS: Final = {
    "lastEvent": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The position of the last event that the client has seen; it goes before `after`.",
        "schema": {"type": "string", "pattern": r"^\d+-\d+$"},
    },
    "asOf": {
        "name": "asOf",
        "in": "query",
        "description": "The time for which the answer is wanted: RFC 3339, Unix milliseconds, or a position.",
        "schema": {"type": "string"},
    },
    "durability": {
        "name": "X-Registry-Durability",
        "in": "header",
        "description": "What a write has before it is answered; absent: what the deployment has chosen.",
        "schema": {"type": "string", "enum": ["memory", "disk", "replica"]},
    },
    "domain": {
        "name": "X-Domain-Name",
        "in": "header",
        "description": "The tenant's domain; absent: default.",
        "schema": {"type": "string"},
    },
    "consumer": {
        "name": "X-ConsumerId",
        "in": "header",
        "description": "The service id of the consumer that asks.",
        "schema": {"type": "string"},
    },
    "position": {
        "name": "X-Registry-Position",
        "in": "header",
        "description": "Answer only when this replica has applied as much of the log.",
        "schema": {"type": "string", "pattern": r"^\d+-\d+$"},
    },
}
