"""Events survive being written down; what is not understood is refused, what is merely more is accepted."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from registry.domain.accounts import Permission, Resource, Secret
from registry.domain.events import EVENT_TYPES, Event, decode_event, encode_event
from registry.domain.model import (
    DataCenterInfo,
    Framework,
    HealthCheck,
    Instance,
    Microservice,
    Policy,
    Schema,
    ServiceKey,
    ServicePath,
)
from registry.domain.recorded import Recorded
from registry.domain.retold import Retold
from tests.support.strategies import texts

maps = st.dictionaries(texts, texts, max_size=3)
whole = st.integers(0, 2**31 - 1)
secrets = st.builds(Secret, texts)
members: dict[str, st.SearchStrategy[Any]] = {
    "at_ms": st.integers(0, 2**53),
    "number": st.integers(0, 2**63 - 1),
    "last_beat_ms": st.integers(0, 2**53),
    "deadline_ms": st.integers(0, 2**53),
    "paused_ms": st.integers(0, 2**53),
    "properties": maps,
    "mended": st.dictionaries(st.integers(0, 2**53), st.integers(0, 2**53), max_size=3),
    "until": st.integers(0, 2**53),
    "put_back": whole,
    "undone": whole,
    "retold": st.lists(
        st.builds(Retold, texts, texts, st.tuples(*[texts] * 4), st.lists(st.tuples(texts, texts), max_size=2)),
        max_size=2,
    ),
    "outages": st.dictionaries(texts, st.lists(st.tuples(whole, whole), max_size=2), max_size=2),
    "chosen": st.booleans(),
    "keeps_status": st.booleans(),
    "force": st.booleans(),
    "tags": maps,
    "keys": st.lists(texts, max_size=3),
    "providers": st.lists(st.tuples(texts, texts, texts), max_size=2),
    "schemas": st.lists(st.builds(Schema, texts, texts, texts), max_size=2),
    "password": secrets,
    "pem": secrets,
    "roles": st.lists(texts, max_size=3),
    "perms": st.lists(st.builds(Permission, st.lists(st.builds(Resource, texts, maps)), st.lists(texts)), max_size=2),
    "expires_s": st.integers(0, 2**53),
    "alone": st.booleans(),
    "policy": st.builds(
        Policy, texts, texts, texts, whole, whole, maps, texts, st.dictionaries(texts, texts | whole | maps, max_size=2)
    ),
    "instance": st.builds(
        Instance,
        *[texts] * 4,
        st.lists(texts, max_size=3),
        texts,
        maps,
        st.builds(HealthCheck, texts, whole, whole, whole, texts),
        st.none() | st.builds(DataCenterInfo, texts, texts, texts),
    ),
    "service": st.builds(
        Microservice,
        *[texts] * 8,
        schemas=st.lists(texts, max_size=3),
        paths=st.lists(st.builds(ServicePath, texts, maps), max_size=2),
        properties=maps,
        framework=st.none() | st.builds(Framework, texts, texts),
        providers=st.lists(st.builds(ServiceKey, *[texts] * 6), max_size=2),
        lb_strategy=maps,
    ),
}
events: st.SearchStrategy[Event] = st.one_of(
    [
        st.builds(type, **{field.name: texts if field.type is str else members[field.name] for field in fields(type)})
        for type in EVENT_TYPES
    ]
)


@given(events)
def test_an_event_that_is_written_and_read_is_the_same(event: Event) -> None:
    """Another replica must understand what this one has recorded."""
    again = decode_event(encode_event(event))
    assert again == event
    assert type(again) is type(event)
    assert encode_event(again) == encode_event(event)


def as_map(event: Event) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.msgpack.decode(encode_event(event))
    return decoded


@given(events, st.text(max_size=20).filter(lambda tag: tag not in {type.__struct_config__.tag for type in EVENT_TYPES}))
def test_an_unknown_kind_of_event_is_refused(event: Event, tag: str) -> None:
    """A replica that skips what it does not know answers from half a log; the projector relies on ValueError."""
    with pytest.raises(ValueError):
        decode_event(msgspec.msgpack.encode(as_map(event) | {"type": tag}))


@given(events, st.dictionaries(st.text(min_size=1, max_size=8).map("new_".__add__), texts | whole | maps, max_size=3))
def test_fields_of_a_newer_version_are_accepted(event: Event, extra: dict[str, Any]) -> None:
    """During a rolling upgrade old replicas read what new ones write."""
    written = extra | as_map(event)
    for member in ("instance", "service", "policy"):
        if member in written:
            written[member] = extra | written[member]
    assert decode_event(msgspec.msgpack.encode(written)) == event


@given(events, st.data())
def test_an_event_without_a_field_that_always_was_there_is_refused(event: Event, data: st.DataObject) -> None:
    """Only fields with a default may be missing: those are the ones that were added later or are often empty."""
    required = [field.name for field in msgspec.structs.fields(event) if field.required]
    missing = data.draw(st.sampled_from(["type", *required]))
    written = as_map(event)
    del written[missing]
    with pytest.raises(ValueError):
        decode_event(msgspec.msgpack.encode(written))


@given(events, st.data())
def test_a_truncated_event_is_refused(event: Event, data: st.DataObject) -> None:
    """Damage must be noticed, not read as something shorter."""
    written = encode_event(event)
    with pytest.raises(ValueError):
        decode_event(written[: data.draw(st.integers(0, len(written) - 1))])


@given(st.binary(max_size=30))
def test_arbitrary_bytes_are_an_event_or_a_value_error(raw: bytes) -> None:
    """Anything else would end the projector without a word about where the log is damaged."""
    try:
        decode_event(raw)
    except ValueError:
        return


def test_every_event_says_who_and_when() -> None:
    """An audit without a name or a moment is none."""
    assert all(issubclass(type, Recorded) for type in EVENT_TYPES)
    assert len({type.__struct_config__.tag for type in EVENT_TYPES}) == len(EVENT_TYPES)
