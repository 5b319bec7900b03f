"""Differences between two registries and the steps that bring them together, against a model of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from registry.domain.model import Instance, Microservice, Schema
from registry.remote.moving import (
    MARK,
    AddInstance,
    AddProviders,
    AddService,
    Held,
    Key,
    Picture,
    PutSchema,
    SetProperties,
    SetTags,
    Step,
    differences,
    key_of,
    replace_version,
    steps,
)

NAMES = ("cart", "stock", "front")
KEYS = [Key("", "shop", name, version) for name in NAMES for version in ("1.0.0", "2.0.0")]
WORDS = st.sampled_from(["a", "b"])
PAIRS = st.dictionaries(WORDS, WORDS, max_size=2)


@st.composite
def instances(draw: st.DrawFn) -> dict[str, Instance]:
    found = {}
    for instance_id in draw(st.sets(st.sampled_from(["i", "j", "k"]))):
        mark = draw(st.sampled_from([{}, {}, {MARK: "elsewhere"}]))
        status = draw(st.sampled_from(["UP", "DOWN"]))
        found[instance_id] = Instance(instance_id, status=status, properties={**draw(PAIRS), **mark}, timestamp="7")
    return found


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    found: dict[Key, Held] = {}
    for key in draw(st.sets(st.sampled_from(KEYS))):
        schemas = {id: Schema(id, "", text) for id, text in draw(st.dictionaries(WORDS, WORDS)).items()}
        service_id = draw(st.sampled_from(["x", "y"])) + "-".join(key)
        found[key] = Held(
            Microservice(service_id, key.environment, key.app, key.name, version=key.version, properties=draw(PAIRS)),
            draw(PAIRS),
            schemas,
            frozenset(replace_version(provider) for provider in draw(st.sets(st.sampled_from(KEYS), max_size=2))),
            draw(instances()),
        )
    return found


def after(target: Picture, step: Step) -> Picture:
    """What a registry makes of a step, told in the simplest way."""
    if isinstance(step, AddService):
        return {**target, step.key: Held(step.service)} if step.key not in target else target
    there = target[step.key]
    match step:
        case SetProperties(_, properties):
            there = replace(there, service=replace(there.service, properties=properties))
        case SetTags(_, tags):
            there = replace(there, tags=tags)
        case PutSchema(_, schema):
            there = replace(there, schemas={**there.schemas, schema.schema_id: schema})
        case AddProviders(_, providers):
            there = replace(there, providers=there.providers | set(providers))
        case AddInstance(_, instance):
            there = replace(there, instances={**there.instances, instance.instance_id: instance})
    return {**target, step.key: there}


def brought(source: Picture, target: Picture) -> Picture:
    for step in steps(differences(source, target, "old")):
        target = after(target, step)
    return target


@given(pictures(), pictures())
def test_after_the_steps_there_is_nothing_left_to_do(source: Picture, target: Picture) -> None:
    assert steps(differences(source, brought(source, target), "old")) == []


@given(pictures(), pictures(), st.integers(0, 100))
def test_an_import_that_was_interrupted_ends_where_a_whole_one_does(
    source: Picture, target: Picture, reached: int
) -> None:
    part = target
    for step in steps(differences(source, target, "old"))[:reached]:
        part = after(part, step)
    assert brought(source, part) == brought(source, target)


@given(pictures(), pictures())
def test_everything_of_the_source_is_there_and_nothing_of_the_target_is_gone(source: Picture, target: Picture) -> None:
    reached = brought(source, target)
    assert set(reached) == {*source, *target}
    for key, here in source.items():
        there = reached[key]
        assert here.service.properties.items() <= there.service.properties.items()
        assert here.tags.items() <= there.tags.items()
        assert here.schemas.items() <= there.schemas.items()
        assert here.providers <= there.providers
        own = {id for id, instance in here.instances.items() if MARK not in instance.properties}
        assert there.instances.keys() == own | (target[key].instances.keys() if key in target else set())
    for key, before in target.items():
        assert reached[key].service.service_id == before.service.service_id
        assert before.tags.keys() <= reached[key].tags.keys()
        assert before.service.properties.keys() <= reached[key].service.properties.keys()
        # Nobody's lease is renewed, and nobody's status changed.
        assert before.instances.items() <= reached[key].instances.items()


@given(pictures(), pictures())
def test_what_was_brought_is_marked_and_never_brought_back(source: Picture, target: Picture) -> None:
    reached = brought(source, target)
    for key, instance_id in _ids(reached) - _ids(target):
        assert reached[key].instances[instance_id].properties[MARK] == "old"
    there_and_back = brought(reached, source)
    assert _ids(there_and_back) - _ids(source) == {
        (key, id)
        for key, id in _ids(target)
        if MARK not in target[key].instances[id].properties and (key, id) not in _ids(source)
    }


def _ids(picture: Picture) -> set[tuple[Key, str]]:
    return {(key, instance_id) for key, held in picture.items() for instance_id in held.instances}


def one(instances: Mapping[str, Instance] = MappingProxyType({}), service_id: str = "id", alias: str = "") -> Picture:
    service = Microservice(service_id, "", "shop", "cart", alias, "1.0.0")
    return {key_of(service): Held(service, instances=instances)}


def test_what_no_step_can_bring_is_said() -> None:
    here = one({"i": Instance("i", status="UP", endpoints=["b", "a"])}, alias="c")
    there = one({"i": Instance("i", status="DOWN", endpoints=["a", "b"], timestamp="9")}, "other")
    found = differences(here, there, "old")
    assert [(d.service, d.instance, d.what, d.step) for d in found] == [
        ("shop/cart:1.0.0", "", "differs in alias", None),
        ("shop/cart:1.0.0", "", "the id is id here, and other there", None),
        ("shop/cart:1.0.0", "i", "differs in status", None),
    ]


def test_a_copy_is_what_its_client_registered_apart_from_the_mark() -> None:
    original = Instance("i", "id", "1.0.0", "h", ["b", "a"], "UP", {"p": "q"}, timestamp="1", mod_timestamp="2")
    (step,) = steps(differences(one({"i": original}), one(), "old"))
    assert isinstance(step, AddInstance)
    assert step.instance == Instance("i", "", "", "h", ["b", "a"], "UP", {"p": "q", MARK: "old"})


def test_schemas_that_are_declared_only_need_no_step() -> None:
    ((key, held),) = one().items()
    assert differences({key: replace(held, schemas={"s": Schema("s")})}, one(), "old") == []
