"""What events about instances change. Called by `domain.fold` only."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec
from msgspec import structs

from registry.domain.errors import (
    InstanceNotExists,
    ServiceNotExists,
)
from registry.domain.events import (
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
)
from registry.domain.model import (
    STATUS_DEFAULT,
    Instance,
    decode_instance,
    encode_instance,
    seconds,
)
from registry.domain.outcome import CREATE, DELETE, UPDATE, Change, Outcome
from registry.domain.position import Position
from registry.domain.rev import content_digest
from registry.domain.view import InstanceRow, RegistryView, ServiceRow, one_number


def endpoints_key(endpoints: list[str]) -> bytes:
    """The endpoints as a set, in 16 bytes; b"" for none. Order and repetition do not matter (D2)."""
    if not endpoints:
        return b""
    return blake2b(msgspec.msgpack.encode(sorted(set(endpoints))), digest_size=16).digest()


def register_instance(view: RegistryView, position: Position, event: InstanceRegistered) -> Outcome:
    instance = event.instance
    row = view.services.get(instance.service_id)
    if row is None:
        return Outcome(error=ServiceNotExists(f"service {instance.service_id} was unregistered meanwhile"))
    key = endpoints_key(instance.endpoints)
    instance_id = instance.instance_id
    if not event.chosen and instance_id not in row.instances and key in row.by_endpoints:
        # Another registration with the same endpoints won the race: the original id stays (D2).
        instance_id = row.by_endpoints[key][0]
    before = row.instances.get(instance_id)
    registered = decode_instance(before.body) if before else None
    now = seconds(event.at_ms)
    status = instance.status
    if event.keeps_status:
        status = registered.status if registered else STATUS_DEFAULT
    content = structs.replace(
        instance,
        instance_id=instance_id,
        version=row.service.version,
        status=status,
        timestamp=registered.timestamp if registered else now,
        mod_timestamp=now,
        # One string for all instances of the service, of which there may be many.
        service_id=row.service_id,
    )
    after = _instance_row(content, key, position.text())
    _put_instance(view, row, after)
    return Outcome(instance_id, (Change(UPDATE if before else CREATE, row.service, after, before),))


def edit_instance(
    view: RegistryView, event: InstanceStatusSet | InstancePropertiesSet, edit: Callable[[Instance], Instance]
) -> Outcome:
    row = view.services.get(event.service_id)
    before = row.instances.get(event.instance_id) if row is not None else None
    if row is None or before is None:
        return _no_instance(event.service_id, event.instance_id)
    content = structs.replace(edit(decode_instance(before.body)), mod_timestamp=seconds(event.at_ms))
    after = _instance_row(content, before.endpoints_key, before.registered)
    _put_instance(view, row, after)
    return Outcome(after.instance_id, (Change(UPDATE, row.service, after, before),))


def expire_instance(view: RegistryView, event: InstanceExpired) -> Outcome:
    before = view.instance(event.service_id, event.instance_id)
    if before is None or before.registered != event.registered:
        # It was unregistered, expired by another replica, or registered anew: this lapse is of the past.
        return _no_instance(event.service_id, event.instance_id)
    return remove_instance(view, event.service_id, event.instance_id)


def remove_instance(view: RegistryView, service_id: str, instance_id: str) -> Outcome:
    row = view.services.get(service_id)
    before = row.instances.pop(instance_id, None) if row is not None else None
    if row is None or before is None:
        return _no_instance(service_id, instance_id)
    view.instance_count -= 1
    view.held_bytes -= len(before.body)
    _forget_endpoints(row, before)
    row.drop_answers()
    return Outcome(instance_id, (Change(DELETE, row.service, before),))


def _no_instance(service_id: str, instance_id: str) -> Outcome:
    return Outcome(error=InstanceNotExists(f"instance {instance_id} of service {service_id}"))


def _instance_row(content: Instance, key: bytes, registered: str) -> InstanceRow:
    body = encode_instance(content)
    return InstanceRow(
        content.service_id,
        content.instance_id,
        body,
        content_digest(body),
        one_number(content.health_check.ttl_ms()),
        registered,
        key,
    )


def _put_instance(view: RegistryView, row: ServiceRow, after: InstanceRow) -> None:
    before = row.instances.get(after.instance_id)
    row.instances[after.instance_id] = after
    view.held_bytes += len(after.body) - (len(before.body) if before is not None else 0)
    if before is None:
        view.instance_count += 1
    if before is None or before.endpoints_key != after.endpoints_key:
        if before is not None:
            _forget_endpoints(row, before)
        if after.endpoints_key:
            _note_endpoints(row, after)
    row.drop_answers()


def _note_endpoints(row: ServiceRow, after: InstanceRow) -> None:
    others = row.by_endpoints.get(after.endpoints_key, ())
    row.by_endpoints[after.endpoints_key] = (*others, after.instance_id)
    if others:
        row.shared_endpoints.add(after.endpoints_key)


def _forget_endpoints(row: ServiceRow, before: InstanceRow) -> None:
    if not before.endpoints_key:
        return
    others = tuple(id for id in row.by_endpoints[before.endpoints_key] if id != before.instance_id)
    if others:
        row.by_endpoints[before.endpoints_key] = others
    else:
        del row.by_endpoints[before.endpoints_key]
    if len(others) == 1:
        row.shared_endpoints.discard(before.endpoints_key)
