"""Endpoints that consumers poll: find, batch find, and instances by service id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from registry.access.rule import Target, right
from registry.domain import find_explained
from registry.domain.access_errors import NoPermission
from registry.domain.batch_find import BatchResult, encode_batch
from registry.domain.errors import InvalidParams
from registry.domain.find import FindQuery
from registry.domain.instance_reads import InstanceQuery
from registry.domain.view import Answer
from registry.http_api import queries, reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.queries import BatchQueries
from registry.http_api.reply import Reply
from registry.http_api.shared_parts import Part

#: Who may say what a consumer depends on.
ADD_DEPENDENCIES: Final = right("service", "create", Target.ELEMENTS)


def find_query(api: Api, call: Call) -> FindQuery:
    key = (call.query_string, call.consumer_id)
    query = api.finds.get(key)
    if query is None:
        query = queries.find_query(*key)
        api.finds.put(key, query)
    return query


async def find(api: Api, call: Call) -> Reply:
    """`GET instances`."""
    query = find_query(api, call)
    _require(api, call, query)
    answer = api.discovery.find_now(call.tenant, query)
    if answer is None:
        answer = await api.discovery.find(call.tenant, query)
    if query.consumer_id and await _record(api, call, _covered(api, call, (query,))):
        answer = await api.discovery.find(call.tenant, query)
    _require(api, call, query)  # an alias may mean another microservice since
    return await answer_reply(api, call, answer, query.rev)


def _require(api: Api, call: Call, query: FindQuery) -> None:
    if call.covers is not None and not api.discovery.is_covered(call.tenant, query, call.covers):
        raise NoPermission(f"not for {query.app_id}/{query.service_name}")


async def _record(api: Api, call: Call, queries: Sequence[FindQuery]) -> bool:
    """A consumer depends on what it finds. When that is new, the caller answers from the view after it was recorded:
    what changed meanwhile was told to none of the consumer's watchers, so the answer has to hold it.
    """
    found = api.discovery.unrecorded(call.tenant, queries)
    if not found:
        return False
    consumer_id = queries[0].consumer_id
    if api.access is not None:
        consumer = await api.discovery.key(call.tenant, consumer_id)
        if not api.access.admission.may_also("add-dependencies", ADD_DEPENDENCIES, call, consumer):
            return False
    if not await api.metadata.add_found(call.tenant, consumer_id, found, call.actor):
        api.watching.doubt(call.tenant, consumer_id)
    return True


async def explain(api: Api, call: Call) -> Reply:
    """`GET find/explain`: what a find would answer, and why each candidate is in or out; nothing is recorded."""
    query = queries.find_query(call.query_string, call.consumer_id)
    _require(api, call, query)
    explained = await api.discovery.read(
        call.tenant, lambda view: find_explained.explain(view, query, api.answer_max_bytes, call.covers)
    )
    whole = reply.json(msgspec.json.encode(explained), api.position(call.tenant))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


async def answer_reply(api: Api, call: Call, answer: Answer, rev: str, alone: bool = False) -> Reply:
    """304 when the client holds exactly this answer, else the whole of it.

    Args:
        alone: one instance, not a list of one.
    """
    position = api.position(call.tenant)
    if rev and rev == answer.rev:
        return reply.not_modified(reply.revision(answer.rev), position)
    body = b'{"instance":' + answer.array()[1:-1] + b"}" if alone else answer.body
    whole = reply.json(body, reply.revision(answer.rev), position)
    return await api.compressor.compress_beside(whole, answer.rev) if call.accepts_gzip else whole


async def batch_find(api: Api, call: Call) -> Reply:
    """`POST instances/action?type=query`."""
    body = await call.body()
    if call.query("type") != "query":
        raise InvalidParams("only `query` is supported - at query parameter `type`")
    asked = _batch_asked(api, body, call.consumer_id)
    results = await api.discovery.batch(call.tenant, asked.services, asked.instances, covers=call.covers)
    if asked.consumer_id and await _record(api, call, _covered(api, call, asked.services)):
        results = await api.discovery.batch(call.tenant, asked.services, asked.instances, covers=call.covers)
    parts, position = _batch_parts(asked, results), api.position(call.tenant)
    _count(api, results[0])
    if call.accepts_gzip:
        return await api.compressor.compress_beside(reply.json(b"".join(parts), position))
    return reply.json_in_parts(parts, position)


def _covered(api: Api, call: Call, queries: Sequence[FindQuery]) -> Sequence[FindQuery]:
    covers = call.covers
    if covers is None:
        return queries
    return [query for query in queries if api.discovery.is_covered(call.tenant, query, covers)]


def _batch_asked(api: Api, body: bytes, consumer_id: str) -> BatchQueries:
    """What a batch find asks. Raises InvalidParams."""
    key = (body, consumer_id)
    asked = api.batches.get(key)
    if asked is None:
        asked = queries.batch_queries(*key)
        api.batches.put(key, asked)
    return asked


def _count(api: Api, services: BatchResult) -> None:
    polled = api.observer.polled
    polled["200"] += len(services.updated)
    polled["304"] += len(services.not_modified)
    polled["failed"] += sum(len(indexes) for _, indexes in services.failed)


def _batch_parts(asked: BatchQueries, results: list[BatchResult]) -> list[Part]:
    services, instances = results
    parts: list[Part] = []
    if asked.services:
        parts += (b",", b'"services":', *encode_batch(services))
    if asked.instances:
        parts += (b",", b'"instances":', *encode_batch(instances))
    return [b"{", *parts[1:], b"}"]


async def list_instances(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/instances`."""
    return await _instances(api, call, "")


async def get_instance(api: Api, call: Call) -> Reply:
    """`GET microservices/{serviceId}/instances/{instanceId}`."""
    return await _instances(api, call, call.instance_id)


async def _instances(api: Api, call: Call, instance_id: str) -> Reply:
    rev = "" if call.flag("noCache") else call.query("rev")
    query = InstanceQuery(call.service_id, instance_id, call.tags, call.consumer_id, rev)
    answer = api.discovery.instances_now(call.tenant, query)
    if answer is None:
        answer = await api.discovery.instances(call.tenant, query)
    return await answer_reply(api, call, answer, rev, alone=bool(instance_id))
