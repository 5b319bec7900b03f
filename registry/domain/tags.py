"""tags: decisions about the tags of a microservice.

Pure, as `domain.decide`; refusals are made again after catching up.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.domain.decide import Known, Stamp, service_to_write
from registry.domain.errors import TagNotExists
from registry.domain.events import TagsDeleted, TagSet, TagsReplaced
from registry.domain.quotas import Quotas
from registry.domain.view import RegistryView


def replace_tags(
    view: RegistryView, service_id: str, tags: dict[str, str], quotas: Quotas, stamp: Stamp
) -> TagsReplaced | Known:
    row = service_to_write(view, service_id, stamp.actor)
    if row.tags == tags:
        return Known(service_id)
    quotas.check_record(view, row, row.service, tags)
    return TagsReplaced(service_id=service_id, tags=tags, **stamp._asdict())


def set_tag(view: RegistryView, service_id: str, key: str, value: str, quotas: Quotas, stamp: Stamp) -> TagSet:
    row = service_to_write(view, service_id, stamp.actor)
    if key not in row.tags:
        raise TagNotExists(f"service {service_id} has no tag {key}")
    quotas.check_record(view, row, row.service, row.tags | {key: value})
    return TagSet(service_id=service_id, key=key, value=value, **stamp._asdict())


def delete_tags(view: RegistryView, service_id: str, keys: Sequence[str], stamp: Stamp) -> TagsDeleted:
    row = service_to_write(view, service_id, stamp.actor)
    missing = [key for key in keys if key not in row.tags]
    if missing:
        raise TagNotExists(f"service {service_id} has no tag {', '.join(missing)}")
    return TagsDeleted(service_id=service_id, keys=list(keys), **stamp._asdict())
