"""instance_reads: the instances of one microservice version, as functions of (view, query)."""

from __future__ import annotations

from msgspec import Struct

from registry.domain.decide import instance_or_refuse, service_or_refuse
from registry.domain.errors import (
    InstanceNotExists,
    ServiceNotExists,
)
from registry.domain.find import answer_of_instances, answer_of_services, has_tags, may_see
from registry.domain.view import Answer, RegistryView


class InstanceQuery(Struct, frozen=True, gc=False):
    """One instance, or with `instance_id` "" all of the service's."""

    service_id: str
    instance_id: str = ""
    tags: tuple[str, ...] = ()
    consumer_id: str = ""
    rev: str = ""


def list_instances(view: RegistryView, query: InstanceQuery) -> Answer:
    """All instances of one service version.

    Raises:
        ServiceNotExists: no such provider or consumer; a tag is missing; the consumer may not see the provider.
    """
    row = service_or_refuse(view, query.service_id)
    if query.consumer_id or query.tags:
        consumer = service_or_refuse(view, query.consumer_id).service if query.consumer_id else None
        if not has_tags(row, query.tags):
            raise ServiceNotExists(f"service {query.service_id} has not all of the tags {', '.join(query.tags)}")
        if not may_see(consumer, row.service):
            raise ServiceNotExists(f"service {query.service_id} is not visible to consumer {query.consumer_id}")
    if row.answer is None:
        row.answer = answer_of_services(("list", str(view.tenant), query.service_id), (row,))
    return row.answer


def get_instance(view: RegistryView, query: InstanceQuery) -> Answer:
    """One instance, as an answer with exactly one element.

    Raises:
        ServiceNotExists: no such provider or consumer.
        InstanceNotExists: no such instance, or it may not be seen (api-rules.md 3.5).
    """
    service = service_or_refuse(view, query.service_id)
    consumer = service_or_refuse(view, query.consumer_id).service if query.consumer_id else None
    row = instance_or_refuse(view, query.service_id, query.instance_id)
    if not (has_tags(service, query.tags) and may_see(consumer, service.service)):
        raise InstanceNotExists(f"instance {query.instance_id} is not visible to the consumer, or lacks a tag")
    return answer_of_instances(("instance", str(view.tenant), query.service_id), [row])
