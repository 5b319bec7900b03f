"""Subjects: which microservice and which instance an event is about, told without reading the whole of it."""

from __future__ import annotations

from typing import Final

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


class _Service(Struct, rename="camel", gc=False):
    service_id: str = ""


class _Subject(Struct, gc=False):
    """As little as says whose instances an event is about: all events of a log are read so."""

    type: str
    at_ms: int
    service_id: str = ""
    instance: _Service | None = None


class _Named(Struct, rename="camel", gc=False):
    service_id: str = ""
    instance_id: str = ""


class _Names(Struct, gc=False):
    type: str
    service_id: str = ""
    instance_id: str = ""
    consumer_id: str = ""
    instance: _Named | None = None
    service: _Named | None = None


_KNOWN: Final = frozenset(str(type_.__struct_config__.tag) for type_ in EVENT_TYPES if type_ is not HistoryResumed)
_decode_subject = msgspec.msgpack.Decoder(_Subject).decode
_decode_names = msgspec.msgpack.Decoder(_Names).decode


def subject_of(payload: bytes) -> tuple[str, int]:
    """Whose instances an event is about, as the log holds it, and its moment (Unix ms).

    "" for the microservice when it is about something else, or cannot be read this way.
    """
    try:
        brief = _decode_subject(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", 0
    if brief.type not in _TAGS:
        return "", brief.at_ms
    return brief.instance.service_id if brief.instance is not None else brief.service_id, brief.at_ms


def name_of(payload: bytes) -> tuple[str, str]:
    """The ids of the microservice and the instance that an event names, "" for what it does not, or ANYTHING."""
    try:
        brief = _decode_names(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ANYTHING
    if brief.type not in _KNOWN:
        return ANYTHING
    named = brief.instance or brief.service
    if named is not None:
        return named.service_id, named.instance_id
    return brief.service_id or brief.consumer_id or brief.type, brief.instance_id
