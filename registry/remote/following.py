"""Following: what a mirror does when the metadata of a service that both sides have changes at one of them.

Properties, tags and schemas are items, each with its name. What counts is a change that the mirror has seen: items that
were different when it began stay so, since nobody knows which side is right. Where both sides have changed one item
between two looks, the first side wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from registry.domain.model import Schema
from registry.remote.moving import Held, Key, PutSchema, RemoveSchema, SetProperties, SetTags, Step

PROPERTY: Final = "property"
TAG: Final = "tag"
SCHEMA: Final = "schema"

#: By kind and name. A schema that is declared only is none.
Items = Mapping[tuple[str, str], str | Schema]
#: The service versions of one side.
Services = Mapping[Key, Held]


class Known(Struct, frozen=True):
    """The items of each side when they were last compared, or first seen."""

    here: Mapping[Key, Items] = field(default_factory=dict)
    there: Mapping[Key, Items] = field(default_factory=dict)


class Change(Struct, frozen=True):
    """Steps at one side, and what it has of the service afterwards."""

    steps: tuple[Step, ...]
    after: Held


class Follow(Struct, frozen=True):
    """What makes the two sides of one service version equal in what has changed."""

    key: Key
    here: Change
    there: Change


def items(held: Held) -> Items:
    return {
        **{(PROPERTY, name): value for name, value in held.service.properties.items()},
        **{(TAG, name): value for name, value in held.tags.items()},
        **{(SCHEMA, name): schema for name, schema in held.schemas.items() if schema.schema},
    }


def see(known: Known, here: Services, there: Services) -> Known:
    """Remember what is new at each side, and forget what is gone."""
    return Known(_seen(known.here, here), _seen(known.there, there))


def follow(known: Known, here: Services, there: Services, both: bool) -> list[Follow]:
    """What is to be done. `known`: as `see` has made it of the same two. `both`: changes go from there to here too."""
    found = []
    for key in sorted(here.keys() & there.keys()):
        old, new = items(here[key]), items(there[key])
        changed = _changed(known.here[key], old)
        to_there = _with(new, old, changed)
        to_here = _with(old, new, _changed(known.there[key], new) - changed) if both else old
        if (known.here[key], known.there[key]) != (to_here, to_there):
            found.append(Follow(key, _change(key, here[key], to_here), _change(key, there[key], to_there)))
    return found


def done(known: Known, follows: Follow) -> Known:
    """Its steps were taken."""
    here, there = items(follows.here.after), items(follows.there.after)
    return Known({**known.here, follows.key: here}, {**known.there, follows.key: there})


def _seen(known: Mapping[Key, Items], services: Services) -> Mapping[Key, Items]:
    return {key: known[key] if key in known else items(held) for key, held in services.items()}


def _changed(before: Items, now: Items) -> set[tuple[str, str]]:
    return {item for item in {*before, *now} if before.get(item) != now.get(item)}


def _with(side: Items, other: Items, changed: Iterable[tuple[str, str]]) -> Items:
    """The items of a side after these have become what the other one has."""
    found = {**side}
    for item in changed:
        if item in other:
            found[item] = other[item]
        else:
            found.pop(item, None)
    return found


def _change(key: Key, held: Held, wanted: Items) -> Change:
    properties, tags = _texts(wanted, PROPERTY), _texts(wanted, TAG)
    schemas = {schema_id: schema for schema_id, schema in held.schemas.items() if not schema.schema}
    schemas |= {schema.schema_id: schema for schema in wanted.values() if isinstance(schema, Schema)}
    steps = _steps(key, items(held), wanted)
    service = replace(held.service, properties=properties)
    return Change(steps, replace(held, service=service, tags=tags, schemas=schemas))


def _steps(key: Key, now: Items, wanted: Items) -> tuple[Step, ...]:
    changed = sorted(_changed(now, wanted))
    found: list[Step] = []
    if any(kind == PROPERTY for kind, _ in changed):
        found.append(SetProperties(key, _texts(wanted, PROPERTY)))
    if any(kind == TAG for kind, _ in changed):
        found.append(SetTags(key, _texts(wanted, TAG)))
    for item in changed:
        schema = wanted.get(item)
        if isinstance(schema, Schema):
            found.append(PutSchema(key, schema))
        elif item[0] == SCHEMA:
            found.append(RemoveSchema(key, item[1]))
    return tuple(found)


def _texts(found: Items, wanted: str) -> dict[str, str]:
    return {name: value for (kind, name), value in found.items() if kind == wanted and isinstance(value, str)}
