"""weight: how many bytes of content things hold, for quotas.

The fold keeps sums of these with each change, so nobody has to count again. They are bytes of texts and of JSON, not of
memory: equal content weighs the same on every replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import structs

from registry.domain.model import Instance, Microservice, Policy, Schema, encode_instance, encode_microservice
from registry.domain.view import GroupKey, ServiceRow

#: What JSON puts around a member's name and value.
_QUOTES = 6
_encode = msgspec.msgpack.Encoder().encode


def of_text(text: str) -> int:
    """Bytes of the text in UTF-8; for ASCII, as most is, without a look at it."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def of_instance(instance: Instance) -> int:
    """Bytes of the instance as JSON, without what the registry adds: version and timestamps."""
    if instance.timestamp:
        instance = structs.replace(instance, version="", timestamp="", mod_timestamp="")
    return len(encode_instance(instance))


def of_record(service: Microservice, tags: Mapping[str, str]) -> int:
    """Bytes of the microservice as JSON with its tags, without timestamps."""
    return len(encode_microservice(structs.replace(service, timestamp="", mod_timestamp=""))) + of_tags(tags)


def of_tags(tags: Mapping[str, str]) -> int:
    return sum(of_text(key) + of_text(value) + _QUOTES for key, value in tags.items())


def of_schema(schema: Schema) -> int:
    return of_text(schema.schema_id) + of_text(schema.summary) + of_text(schema.schema)


def of_service(row: ServiceRow) -> int:
    """Bytes of all that the row holds but instances."""
    return len(row.body) + of_tags(row.tags) + row.schema_bytes


def of_instances(row: ServiceRow) -> int:
    return sum(len(instance.body) for instance in row.instances.values())


def of_policy(policy: Policy) -> int:
    return len(_encode(policy))


def of_dependencies(providers: Iterable[GroupKey]) -> int:
    """Bytes of the names of what one consumer has found."""
    return sum(of_text(text) for provider in providers for text in provider)
