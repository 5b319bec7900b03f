"""Subjects: which microservice and which instance an event is about, told without reading the whole of it."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from registry.domain.events import (
    EVENT_TYPES,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
)

#: The name of what may be about anything: an event by which a history goes on, or one that this version cannot read.
ANYTHING: Final = ("", "")
#: Types of events that change the instances of one microservice, and look at nothing else in a view.
OF_INSTANCES: Final = (
    InstanceRegistered,
    InstanceUnregistered,
    InstanceExpired,
    InstanceStatusSet,
    InstancePropertiesSet,
)
_TAGS: Final = frozenset(str(type_.__struct_config__.tag) for type_ in OF_INSTANCES)


class Subject(NamedTuple):
    """`service_id`: whose instances it is about; "" when it is about something else, or cannot be read this way."""

    service_id: str
    at_ms: int


class _Named(Struct, rename="camel"):
    service_id: str = ""
    instance_id: str = ""


class _Brief(Struct):
    type: str
    at_ms: int
    service_id: str = ""
    instance_id: str = ""
    consumer_id: str = ""
    instance: _Named | None = None
    service: _Named | None = None


_KNOWN: Final = frozenset(str(type_.__struct_config__.tag) for type_ in EVENT_TYPES if type_ is not HistoryResumed)
_decode = msgspec.msgpack.Decoder(_Brief).decode
UNKNOWN: Final = Subject("", 0)


def subject_of(payload: bytes) -> Subject:
    """Of an event as the log holds it."""
    try:
        brief = _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UNKNOWN
    if brief.type not in _TAGS:
        return Subject("", brief.at_ms)
    return Subject(brief.instance.service_id if brief.instance is not None else brief.service_id, brief.at_ms)


def name_of(payload: bytes) -> tuple[str, str]:
    """The ids of the microservice and the instance that an event names, "" for what it does not, or ANYTHING."""
    try:
        brief = _decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ANYTHING
    if brief.type not in _KNOWN:
        return ANYTHING
    named = brief.instance or brief.service
    if named is not None:
        return named.service_id, named.instance_id
    return brief.service_id or brief.consumer_id or brief.type, brief.instance_id
