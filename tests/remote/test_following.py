"""Following changes of metadata, against a naive oracle: each item goes its own way."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.model import Microservice, Schema
from registry.remote.following import Change, Known, done, follow, items, see
from registry.remote.moving import Held, Key, PutSchema, RemoveSchema, SetProperties, SetTags

KEY = Key("", "shop", "cart", "1.0.0")
WORDS = st.sampled_from(["a", "b"])
PAIRS = st.dictionaries(WORDS, WORDS)


@st.composite
def helds(draw: st.DrawFn) -> Held:
    # "" stands for a schema that is declared only.
    schemas = draw(st.dictionaries(WORDS, st.sampled_from(["", "x", "y"])))
    found = {name: Schema(name, "", text) for name, text in schemas.items()}
    return Held(Microservice("id", "", "shop", "cart", "", "1.0.0", properties=draw(PAIRS)), draw(PAIRS), found)


def took(before: Held, change: Change) -> Held:
    """What a registry makes of the steps, told in the simplest way."""
    held = before
    for step in change.steps:
        match step:
            case SetProperties(_, properties):
                held = replace(held, service=replace(held.service, properties=properties))
            case SetTags(_, tags):
                held = replace(held, tags=tags)
            case PutSchema(_, schema):
                held = replace(held, schemas={**held.schemas, schema.schema_id: schema})
            case RemoveSchema(_, schema_id):
                held = replace(held, schemas={name: one for name, one in held.schemas.items() if name != schema_id})
            case _:
                raise AssertionError(step)
    return held


class Sides:
    """Two registries and what the mirror knows of them."""

    def __init__(self, here: Held, there: Held, both: bool) -> None:
        self.here, self.there, self.both = here, there, both
        self.known = see(Known(), {KEY: here}, {KEY: there})

    def round(self) -> int:
        """One look and what follows of it: the number of steps."""
        self.known = see(self.known, {KEY: self.here}, {KEY: self.there})
        number = 0
        for step in follow(self.known, {KEY: self.here}, {KEY: self.there}, self.both):
            number += len(step.here.steps) + len(step.there.steps)
            self.here, self.there = took(self.here, step.here), took(self.there, step.there)
            assert items(self.here) == items(step.here.after)
            assert items(self.there) == items(step.there.after)
            self.known = done(self.known, step)
        return number


@given(helds(), helds(), helds(), helds(), st.booleans())
def test_each_item_that_was_changed_follows_and_no_other(
    here: Held, there: Held, later_here: Held, later_there: Held, both: bool
) -> None:
    sides = Sides(here, there, both)
    assert sides.round() == 0, "what was different before stays so"
    sides.here, sides.there = later_here, later_there
    sides.round()
    for item in {*items(here), *items(there), *items(later_here), *items(later_there)}:
        one, other = items(later_here).get(item), items(later_there).get(item)
        wanted = (one, other)
        if one != items(here).get(item):
            wanted = (one, one)
        elif both and other != items(there).get(item):
            wanted = (other, other)
        assert (items(sides.here).get(item), items(sides.there).get(item)) == wanted
    assert sides.round() == 0, "nothing comes back"


@given(helds(), helds())
def test_a_change_before_the_other_side_has_the_service_follows_too(before: Held, after: Held) -> None:
    known = see(Known(), {KEY: before}, {})
    assert follow(known, {KEY: before}, {}, True) == []
    known = see(known, {KEY: after}, {KEY: before})
    changed = items(before) != items(after)
    found: list[Mapping[tuple[str, str], str | Schema]]
    found = [items(step.there.after) for step in follow(known, {KEY: after}, {KEY: before}, True)]
    assert found == ([items(after)] if changed else [])


@given(helds(), helds())
def test_what_was_refused_is_tried_again(before: Held, after: Held) -> None:
    known = see(Known(), {KEY: before}, {KEY: before})
    first = follow(known, {KEY: after}, {KEY: before}, False)
    assert follow(see(known, {KEY: after}, {KEY: before}), {KEY: after}, {KEY: before}, False) == first


def test_a_service_that_is_gone_is_forgotten() -> None:
    held = Held(Microservice("id", "", "shop", "cart", "", "1.0.0"))
    known = see(Known(), {KEY: held}, {KEY: held})
    assert see(known, {}, {}) == Known()
