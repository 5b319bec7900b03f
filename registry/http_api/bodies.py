"""Bodies: JSON into request bodies, strict where clients are wrong and lenient where they differ.

Unknown members are ignored, null is absence, and member names match in any letter case, as the reference's decoder
does. A member given twice is refused: which of the two was meant is not ours to guess.
"""

from __future__ import annotations

import json
import re
from collections.abc import Set
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

from registry.domain.errors import InvalidParams
from registry.http_api.complaints import in_words

T = TypeVar("T")

#: Nesting beyond this is no request of any client.
DEPTH_MAX: Final = 32


def decode(body: bytes, type_: type[T]) -> T:
    """Decode a request body.

    Raises:
        InvalidParams: with the path of the bad value (`$.instance.hostName`) in its detail.
    """
    hashable: Any = type_
    try:
        value: T = _decoder(hashable).decode(body)
        return value if _is_usual(body, _names(hashable)) else _decode_carefully(body, type_, value)
    except UnicodeDecodeError as exc:
        raise InvalidParams(f"the body is not UTF-8: {exc.reason} at byte {exc.start} - at `$`") from exc
    except (msgspec.DecodeError, ValueError) as exc:
        raise InvalidParams(in_words(str(exc), type_)) from exc
    except RecursionError as exc:
        raise InvalidParams("the body is nested too deeply - at `$`") from exc


class _Names(NamedTuple):
    """The member names known anywhere in a type, as they are written, and all of them in lower case."""

    exact: frozenset[str]
    lower: frozenset[str]

    def are_odd(self, members: Set[str]) -> bool:
        """Whether one of these is a known name in another letter case."""
        return not self.lower.isdisjoint(map(str.lower, members - self.exact))


def _is_usual(body: bytes, names: _Names) -> bool:
    """Whether this body, as nearly all are, needs no second look: no member is repeated or in another letter case.

    Of members with the same name a dict holds one, so there are fewer in the tree than quotes with a colon behind them
    in the text. (A string may have such a quote, too: then there is a second look at nothing.)
    """
    if _SPACED_COLON.search(body):
        return False
    try:
        members = _usual_members(_plainly(body), names)
    except (msgspec.MsgspecError, ValueError):
        return False
    return members == body.count(b'":')


_plainly = msgspec.json.Decoder().decode
_SPACED_COLON: Final = re.compile(rb"[ \t\r\n]:")


def _usual_members(tree: Any, names: _Names) -> int | None:
    """The number of members, or None if one is in another letter case or too deep. Level by level: a call for each
    would cost more than the decoding.
    """
    members = 0
    level = [tree]
    for _ in range(DEPTH_MAX + 1):
        inner: list[Any] = []
        for value in level:
            if type(value) is dict:
                if not names.exact.issuperset(value) and names.are_odd(value.keys()):
                    return None
                members += len(value)
                inner += value.values()
            elif type(value) is list:
                inner += value
        if not inner:
            return members
        level = inner
    return None


def _decode_carefully(body: bytes, type_: type[T], value: T) -> T:
    """The value of the body if each of its members is looked at. `value`: what the decoder made of it."""
    tree = _members_of(body.decode())
    hashable: Any = type_
    odd = _check(tree, "$", _names(hashable), 0)
    return msgspec.convert(_normalise(tree, inspect.type_info(type_)), type_) if odd else value


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object as they stand in the text, repetitions included."""


_members_of = json.JSONDecoder(object_pairs_hook=_Members).decode


def _check(value: Any, path: str, names: _Names, depth: int) -> bool:
    """Refuse repeated members; return whether some member is a known name in another letter case."""
    if depth > DEPTH_MAX:
        raise InvalidParams(f"the body is nested deeper than {DEPTH_MAX} levels - at `{path[:200]}`")
    odd = False
    if isinstance(value, _Members):
        seen: set[str] = set()
        for key, member in value:
            if key in seen:
                raise InvalidParams(f"member {key[:64]!r} is given twice - at `{path}.{key[:64]}`")
            seen.add(key)
            if isinstance(member, list):
                odd |= _check(member, f"{path}.{key}", names, depth + 1)
        odd |= names.are_odd(seen)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            if isinstance(element, list):
                odd |= _check(element, f"{path}[{index}]", names, depth + 1)
    return odd


@cache
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@cache
def _names(type_: Any) -> _Names:
    found: set[str] = set()
    _collect(inspect.type_info(type_), found)
    return _Names(frozenset(found), frozenset(name.lower() for name in found))


def _collect(info: inspect.Type, found: set[str]) -> None:
    match info:
        case inspect.StructType(fields=fields):
            for member in fields:
                found.add(member.encode_name)
                _collect(member.type, found)
        case inspect.UnionType(types=types):
            for inner in types:
                _collect(inner, found)
        case inspect.Metadata(type=inner):
            _collect(inner, found)
        case inspect.ListType(item_type=item):
            _collect(item, found)
        case inspect.DictType(value_type=item):
            _collect(item, found)


def _normalise(value: Any, info: inspect.Type) -> Any:
    """The tree as plain dicts, struct members renamed to the case of the type; map keys are data and stay."""
    match info:
        case inspect.UnionType(types=types):
            (inner,) = (one for one in types if not isinstance(one, inspect.NoneType))
            return _normalise(value, inner)
        case inspect.Metadata(type=inner):
            return _normalise(value, inner)
        case inspect.StructType(fields=fields) if isinstance(value, _Members):
            by_lower = {member.encode_name.lower(): member for member in fields}
            result: dict[str, Any] = {}
            for key, element in value:
                member = by_lower.get(key.lower())
                if member is None:
                    continue
                if member.encode_name in result:
                    raise InvalidParams(f"member {key[:64]!r} is given twice in different letter case - at `$`")
                result[member.encode_name] = _normalise(element, member.type)
            return result
        case inspect.ListType(item_type=item) if isinstance(value, list) and not isinstance(value, _Members):
            return [_normalise(element, item) for element in value]
        case inspect.DictType(value_type=item) if isinstance(value, _Members):
            return {key: _normalise(element, item) for key, element in value}
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, _Members):
        return {key: _plain(element) for key, element in value}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value
