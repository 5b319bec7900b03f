"""complaints: what the decoder has against a body, in words for people.

The decoder names the place of a bad value and the pattern that it does not match. The rule behind the pattern has a
sentence (`domain.rules`), which is found by going to that place in the type.
"""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import inspect

_COMPLAINT: Final = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`(?P<path>\$[^`]*)`)?", re.DOTALL)
#: A member of an object, or an element of a list or a map.
_STEP: Final = re.compile(r"\.(?P<member>\w+)|\[[^\]]*\]")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_KINDS: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number with a fraction",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_OTHERS: Final = {"Input data was truncated": "the JSON ends too early"}


def in_words(complaint: str, type_: Any) -> str:
    """The decoder's complaint about a body of this type, with the place of the bad value at its end."""
    found = _COMPLAINT.fullmatch(complaint)
    assert found is not None, "everything matches"
    what, path = found["what"], found["path"] or "$"
    where = f"a name in `{path}`" if found["key"] else f"`{path}`"
    missing = _MISSING.fullmatch(what)
    if missing:
        return f"{missing[1]} is missing - at {where}"
    name, rule = _rule_at(path, bool(found["key"]), type_)
    if rule and ", got " not in what:
        return f"{name}: {rule} - at {where}"
    return f"{_OTHERS.get(what) or _kinds(what, name or 'the body')} - at {where}"


def _rule_at(path: str, is_key: bool, type_: Any) -> tuple[str, str]:
    """The member at the path, and the sentence of its rule, "" when it has none."""
    name, info = "", inspect.type_info(type_)
    for step in _STEP.finditer(path):
        name = step["member"] or name
        info = _inside(_bare(info)[0], step["member"])
    info, words = _bare(info)
    if is_key and isinstance(info, inspect.DictType):
        words = _bare(info.key_type)[1]
    return name, words


def _bare(info: inspect.Type) -> tuple[inspect.Type, str]:
    """The type without null and without its rule, and that rule's sentence."""
    if isinstance(info, inspect.UnionType):
        (info,) = (one for one in info.types if not isinstance(one, inspect.NoneType))
    if isinstance(info, inspect.Metadata):
        return info.type, (info.extra_json_schema or {}).get("description", "")
    return info, ""


def _inside(info: inspect.Type, member: str | None) -> inspect.Type:
    match info:
        case inspect.StructType(fields=fields):
            return next(field.type for field in fields if field.encode_name == member)
        case inspect.ListType(item_type=item) | inspect.DictType(value_type=item):
            return item
    return inspect.AnyType()


def _kinds(what: str, name: str) -> str:
    """``Expected `str | null`, got `int``` -> `version: expected a text or null, got a whole number`."""

    def named(match: re.Match[str]) -> str:
        return " or ".join(_KINDS.get(kind, kind) for kind in match[1].split(" | "))

    return re.sub(r"`([a-z |]+)`", named, what).replace("Expected", f"{name}: expected", 1)
