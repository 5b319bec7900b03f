"""Bodies: JSON that fits the types of the operation table, and JSON that does not quite."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from random import Random
from typing import Any, Final

import msgspec
from msgspec import inspect

#: Few of each, so that requests meet each other, and what is stored stays small.
SERVICES: Final = [f"service-{number}" for number in range(20)]
INSTANCES: Final = [f"instance-{number}" for number in range(40)]
NAMES: Final = [f"name-{number}" for number in range(10)]
ACCOUNTS: Final = [f"account-{number}" for number in range(5)]
POOLS: Final[dict[str, list[Any]]] = {
    "serviceId": SERVICES,
    "consumerServiceId": SERVICES,
    "instanceId": INSTANCES,
    "appId": ["shop", "default", "bank"],
    "serviceName": NAMES,
    "alias": ["", *NAMES],
    "version": ["1.0.0", "1.0.1", "2.0.0", "0+", "1.0.0+", "1.0.0-2.0.0", "latest", "0.0.0.0"],
    "environment": ["", "production", "development", "testing", "acceptance"],
    "env": ["", "production"],
    "status": ["UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE"],
    "level": ["FRONT", "MIDDLE", "BACK"],
    "endpoints": [[f"rest://10.0.0.{number}:80"] for number in range(40)],
    "hostName": ["host"],
    "mode": ["push", "pull"],
    "rev": ["", "0", "0" * 40],
    "roles": [["developer"], ["admin"], ["reader"], []],
    "name": [*ACCOUNTS, *NAMES],
    "password": ["Password_1", "Ab1-defgh", "short"],
    "currentPassword": ["Password_1"],
    "verbs": [["*"], ["get"], ["create", "update"]],
    "type": ["service", "governance", "ops", "account"],
}
#: What no member expects.
ODD: Final[list[Any]] = [
    *(None, True, -1, 0, 2**31, 2**63, 2**200, 1e308, 0.5, "", " ", "\x00", "\ud800", "ä€😀", "x" * 300, "x" * 70_000),
    *("../..", "a/b", "%2F", "${jndi}", "<script>", "\r\nX: y", [], {}, [[]], [None], {"": ""}, {"a": {"b": []}}),
]


def body(type_: Any, random: Random) -> bytes:
    """A body for a request of this type, in one of four cases an odd one."""
    value = _of_type(type_)(random, 0)
    if random.random() < 0.15:
        value = _spoiled(value, random)
    text = json.dumps(value, ensure_ascii=random.random() < 0.5, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def odd_text(random: Random) -> str:
    return str(random.choice(ODD))[:300]


Make = Callable[[Random, int], Any]


@lru_cache
def _of_type(type_: Any) -> Make:
    return _maker(inspect.type_info(type_), "")


def _maker(info: inspect.Type, name: str) -> Make:
    """Makes values of a type, for a member of this name."""
    if name in POOLS:
        pool = POOLS[name]
        return lambda random, depth: random.choice(pool)
    match info:
        case inspect.Metadata(type=inner):
            return _maker(inner, name)
        case inspect.UnionType(types=types):
            makers = [_maker(one, name) for one in types if not isinstance(one, inspect.NoneType)]
            return lambda random, depth: None if random.random() < 0.03 else random.choice(makers)(random, depth)
        case inspect.StructType(cls=cls):
            return lambda random, depth: _struct(cls, random, depth)
        case inspect.ListType(item_type=item):
            make = _maker(item, name)
            return lambda random, depth: [
                make(random, depth + 1) for _ in range(random.choice((0, 1, 1, 1, 1, 1, 2, 2, 2, 5)))
            ]
        case inspect.DictType(value_type=value):
            make = _maker(value, "")
            return lambda random, depth: {
                random.choice("abc"): make(random, depth + 1) for _ in range(random.randrange(3))
            }
        case inspect.BoolType():
            return lambda random, depth: random.random() < 0.5
        case inspect.IntType():
            return lambda random, depth: random.choice((0, 1, 5, 30, 80, 65536))
        case inspect.NoneType():
            return lambda random, depth: None
    return lambda random, depth: random.choice(("a", "text", "1", ""))


@lru_cache
def _members(cls: type[msgspec.Struct]) -> list[tuple[str, float, Make]]:
    """Name, share of bodies that have it, and maker."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    return [
        (
            field.encode_name,
            1.0 if field.required else 0.95 if field.encode_name in POOLS or _holds_struct(field.type) else 0.3,
            _maker(field.type, field.encode_name),
        )
        for field in info.fields
    ]


def _holds_struct(info: inspect.Type) -> bool:
    match info:
        case inspect.Metadata(type=inner) | inspect.ListType(item_type=inner):
            return _holds_struct(inner)
        case inspect.UnionType(types=types):
            return any(map(_holds_struct, types))
    return isinstance(info, inspect.StructType)


def _struct(cls: type[msgspec.Struct], random: Random, depth: int) -> Any:
    if depth > 6:
        return {}
    return {name: make(random, depth + 1) for name, share, make in _members(cls) if random.random() < share}


def _spoiled(value: Any, random: Random) -> Any:
    """The same with something odd somewhere in it."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(list(value))
        if random.random() < 0.2:
            return {odd_text(random) if key == name else key: inner for key, inner in value.items()}
        return {**value, name: _spoiled(value[name], random)}
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        if random.random() < 0.1:
            return value * 200
        return [*value[:place], _spoiled(value[place], random), *value[place + 1 :]]
    return random.choice(ODD)
