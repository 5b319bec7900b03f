"""Each rule about a request's body has a sentence, and that sentence is what a client is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect

from registry.domain import request_bodies, rules
from registry.domain.errors import InvalidParams
from registry.http_api.bodies import decode
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS


def constraints(info: inspect.Type, path: str = "$", words: str = "") -> Iterator[tuple[str, str]]:
    """The place of each limit within a type, and its sentence."""
    match info:
        case inspect.Metadata(type=inner, extra_json_schema=extra):
            yield from constraints(inner, path, (extra or {}).get("description", ""))
            return
        case inspect.UnionType(types=types):
            for one in types:
                yield from constraints(one, path)
        case inspect.StructType(fields=fields):
            for field in fields:
                yield from constraints(field.type, f"{path}.{field.encode_name}")
        case inspect.ListType(item_type=item):
            yield from constraints(item, f"{path}[]")
        case inspect.DictType(key_type=key, value_type=value):
            yield from constraints(key, f"{path} key")
            yield from constraints(value, f"{path}[]")
    names = ("pattern", "min_length", "max_length", "ge", "gt", "le", "lt", "multiple_of")
    if any(getattr(info, name, None) is not None for name in names):
        yield path, words


def test_every_limit_has_a_sentence() -> None:
    """A new field with a pattern and no words would answer that pattern."""
    bodies = {route.request for route in (*OPERATIONS, *ACCOUNT_OPERATIONS) if route.request is not None}
    found = {(body.__name__, *limit) for body in bodies for limit in constraints(inspect.type_info(body))}
    assert len(found) > 50
    assert [limit for limit in found if not limit[2]] == []


@pytest.mark.parametrize(
    ("type_", "body", "detail"),
    [
        (
            request_bodies.RegisterService,
            '{"service":{"version":"x.y"}}',
            "version: one to four numbers, 0 to 32767, with dots between them - at `$.service.version`",
        ),
        (
            request_bodies.RegisterService,
            '{"service":{"schemas":["a","-"]}}',
            "schemas: up to 160 letters, digits, `_`, `-` and `.`, with a letter or digit at both ends"
            " - at `$.service.schemas[1]`",
        ),
        (
            request_bodies.RegisterService,
            '{"Service":{"LEVEL":"up"}}',
            "level: FRONT, MIDDLE or BACK, or blank - at `$.service.level`",
        ),
        (
            request_bodies.RegisterService,
            '{"tags":{"9":"a"}}',
            "tags: a letter, then up to 63 letters, digits, `_`, `-` and `.` - at a name in `$.tags`",
        ),
        (
            request_bodies.RegisterService,
            '{"tags":{"a":"9"}}',
            "tags: a letter, then up to 63 letters, digits, `_`, `-` and `.` - at `$.tags[...]`",
        ),
        (
            request_bodies.RegisterInstance,
            '{"instance":{"healthCheck":{"port":70000}}}',
            "port: a whole number from 0 to 65535 - at `$.instance.healthCheck.port`",
        ),
        (
            request_bodies.RegisterInstance,
            '{"instance":{"dataCenterInfo":{"name":"x"}}}',
            "region is missing - at `$.instance.dataCenterInfo`",
        ),
        (
            request_bodies.RegisterInstance,
            '{"instance":{"hostName":5}}',
            "hostName: expected a text or null, got a whole number - at `$.instance.hostName`",
        ),
        (request_bodies.RegisterInstance, "[]", "the body: expected an object, got a list - at `$`"),
        (request_bodies.RegisterInstance, '{"instance":{', "the JSON ends too early - at `$`"),
        (request_bodies.RegisterInstance, "{} x", "JSON is malformed: trailing characters (byte 4) - at `$`"),
        (
            request_bodies.DeleteServices,
            '{"serviceIds":[]}',
            "serviceIds: a list of at least 1 element(s) - at `$.serviceIds`",
        ),
    ],
)
def test_complaint_is_the_rule_in_words_and_the_place(type_: Any, body: str, detail: str) -> None:
    """Anyone who reads it in a log knows what to write instead, and where."""
    with pytest.raises(InvalidParams) as refused:
        decode(body.encode(), type_)
    assert refused.value.detail == detail


def test_parameter_that_is_missing_is_not_told_its_characters() -> None:
    """Nothing is wrong with characters that are not there."""
    with pytest.raises(InvalidParams) as missing:
        rules.FIND_NAME.check("", "serviceName", "query parameter `serviceName`")
    assert missing.value.detail == "serviceName is missing - at query parameter `serviceName`"
    with pytest.raises(InvalidParams) as wrong:
        rules.FIND_NAME.check("-", "serviceName", "query parameter `serviceName`")
    assert wrong.value.detail == f"serviceName: {rules.FIND_NAME.words} - at query parameter `serviceName`"
