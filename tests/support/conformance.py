"""Every answer that a test receives is held against the registry's own OpenAPI document."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from registry.http_api.operations import openapi_document

DOCUMENT: dict[str, Any] = json.loads(openapi_document(with_accounts=True))
#: Answers given before any route is reached, in plain text.
UNROUTED = (301, 404, 405, 431)
#: Larger bodies are many of the same.
BODY_MAX_BYTES = 200_000


def check(method: str, target: str | bytes, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Fail when the document does not know this answer of this operation."""
    operation = _operation(method, target)
    plain = any(name.lower() == "content-type" and value.startswith("text/plain") for name, value in headers)
    if operation is None or method == "OPTIONS" or status in UNROUTED or (status == 400 and plain):
        return
    documented = operation["responses"].get(str(status))
    assert documented is not None, f"{method} {target!r}: status {status} is not in the document"
    content = documented.get("content", {})
    if "application/json" not in content:
        assert plain or not body, f"{method} {target!r}: {status} has a body, the document knows of none"
        return
    if any(name == "Content-Encoding" for name, _ in headers) or len(body) > BODY_MAX_BYTES:
        return
    errors = list(_validator(json.dumps(content["application/json"]["schema"])).iter_errors(json.loads(body)))
    assert not errors, f"{method} {target!r}: {status} does not fit the document: {errors[0].message}"


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Paths with fewer parameters first: `instances/status` before `instances/{id}`."""
    paths = sorted(DOCUMENT["paths"], key=lambda path: (path.count("{"), path))
    return [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in paths]


def _operation(method: str, target: str | bytes) -> dict[str, Any] | None:
    text = target.decode("latin-1") if isinstance(target, bytes) else target
    path = text.partition("?")[0].replace("/registry/v3/", "/v4/default/registry/", 1)
    for pattern, name in _patterns():
        if pattern.fullmatch(path) and method.lower() in DOCUMENT["paths"][name]:
            operation: dict[str, Any] = DOCUMENT["paths"][name][method.lower()]
            return operation
    return None
