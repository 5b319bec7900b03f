"""The oracle: the registry as plain dicts and linear searches, written from the rules and not from the code.

It keeps no index, prepares nothing and shares no helper with `registry.domain.fold` or `registry.domain.find`, so the
two can only agree when both do what the rules say. Slow on purpose.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import msgspec

from registry.domain.access_events import AccessEvent
from registry.domain.events import (
    DependenciesAdded,
    DependenciesReplaced,
    Event,
    HistoryResumed,
    InstanceExpired,
    InstancePropertiesSet,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    PolicyDeleted,
    PolicySaved,
    SchemaDeleted,
    SchemaPut,
    SchemasReplaced,
    ServicePropertiesSet,
    ServiceRegistered,
    ServiceUnregistered,
    TagsDeleted,
    TagSet,
    TagsReplaced,
)
from registry.domain.find import FindQuery
from registry.domain.fold_instances import endpoints_key
from registry.domain.instance_reads import InstanceQuery
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.view import RegistryView
from tests.support.naive_versions import is_version, matching

INVALID, EXISTS, NO_SERVICE, DEPLOYED, NO_SCHEMA = 400001, 400010, 400012, 400013, 400016
NO_INSTANCE, NO_TAG, DEPENDED_ON, NO_VERSION = 400017, 400018, 400023, 400026

Wire = dict[str, Any]


class Told(NamedTuple):
    """What the client of an event is told: an error code or the id, and which instances changed how."""

    error: int | None
    id: str
    changes: list[tuple[str, Wire]]


def wire(struct: msgspec.Struct) -> Wire:
    decoded: Wire = json.loads(msgspec.json.encode(struct))
    return decoded


def told(outcome: Outcome) -> Told:
    """A fold's outcome in the oracle's words."""
    changes = [(change.action, json.loads(change.row.body)) for change in outcome.changes]
    return Told(outcome.error.code if outcome.error else None, outcome.id, changes)


class Oracle:
    """One tenant's registry, in lists of dicts."""

    def __init__(self) -> None:
        self.services: list[Wire] = []
        #: {"wire": …, "registered": "7-3", "endpoints_since": 12}
        self.instances: list[dict[str, Any]] = []
        #: By service id, of every service.
        self.tags: dict[str, dict[str, str]] = {}
        self.schemas: dict[str, dict[str, Wire]] = {}
        #: (consumer id, (environment, app, name)).
        self.dependencies: set[tuple[str, tuple[str, str, str]]] = set()
        self.policies: dict[str, Wire] = {}
        self._steps = 0

    # -- what is there -------------------------------------------------------------------------------------------------

    def service(self, service_id: str) -> Wire | None:
        for service in self.services:
            if service["serviceId"] == service_id:
                return service
        return None

    def instance(self, service_id: str, instance_id: str) -> dict[str, Any] | None:
        for record in self.of_service(service_id):
            if record["wire"]["instanceId"] == instance_id:
                return record
        return None

    def of_service(self, service_id: str) -> list[dict[str, Any]]:
        return [record for record in self.instances if record["wire"]["serviceId"] == service_id]

    def holder(self, service: Wire) -> str | None:
        for member in ("serviceName", "alias"):
            for other in self.services:
                same = all(_get(other, m) == _get(service, m) for m in ("environment", "appId", "version", member))
                if same and _get(service, member):
                    return str(other["serviceId"])
        return None

    # -- what happens --------------------------------------------------------------------------------------------------

    def apply(self, position: Position, event: Event) -> Told:
        self._steps += 1
        now = str(event.at_ms // 1000)
        if isinstance(event, ServiceRegistered):
            return self._register_service(wire(event.service), event.chosen, now)
        if isinstance(event, ServiceUnregistered):
            return self._unregister_service(event.service_id, event.force)
        if isinstance(event, InstanceRegistered):
            return self._register_instance(position, wire(event.instance), event, now)
        if isinstance(event, InstanceUnregistered):
            return self._remove(event.service_id, event.instance_id)
        if isinstance(event, InstanceExpired):
            record = self.instance(event.service_id, event.instance_id)
            if record is None or record["registered"] != event.registered:
                return Told(NO_INSTANCE, "", [])
            return self._remove(event.service_id, event.instance_id)
        if isinstance(event, InstanceStatusSet):
            return self._edit(event.service_id, event.instance_id, "status", event.status, now)
        if isinstance(event, InstancePropertiesSet):
            return self._edit(event.service_id, event.instance_id, "properties", dict(event.properties), now)
        if isinstance(event, PolicySaved):
            self.policies[event.policy.id] = wire(event.policy)
            return Told(None, event.policy.id, [])
        if isinstance(event, PolicyDeleted):
            known = self.policies.pop(event.policy_id, None)
            return Told(None, event.policy_id, []) if known is not None else Told(INVALID, "", [])
        if isinstance(event, DependenciesAdded | DependenciesReplaced):
            return self._depend(event)
        if isinstance(event, HistoryResumed):
            return Told(None, "", [])
        assert not isinstance(event, AccessEvent), "accounts are no part of a tenant"
        return self._describe(event, now)

    def _edit(self, service_id: str, instance_id: str, member: str, value: Any, now: str) -> Told:
        record = self.instance(service_id, instance_id)
        if record is None:
            return Told(NO_INSTANCE, "", [])
        _set(record["wire"], member, value)
        record["wire"]["modTimestamp"] = now
        return Told(None, instance_id, [("UPDATE", dict(record["wire"]))])

    def _depend(self, event: DependenciesAdded | DependenciesReplaced) -> Told:
        if self.service(event.consumer_id) is None:
            return Told(NO_SERVICE, "", [])
        if isinstance(event, DependenciesReplaced):
            self.dependencies = {d for d in self.dependencies if d[0] != event.consumer_id}
        self.dependencies |= {(event.consumer_id, provider) for provider in event.providers}
        return Told(None, event.consumer_id, [])

    def _describe(
        self,
        event: ServicePropertiesSet | TagsReplaced | TagSet | TagsDeleted | SchemaPut | SchemasReplaced | SchemaDeleted,
        now: str,
    ) -> Told:
        """What changes the service's description, and none of its instances."""
        id = event.service_id
        service = self.service(id)
        if service is None:
            return Told(NO_SERVICE, "", [])
        if isinstance(event, ServicePropertiesSet):
            _set(service, "properties", dict(event.properties))
            service["modTimestamp"] = now
        elif isinstance(event, TagsReplaced):
            self.tags[id] = dict(event.tags)
        elif isinstance(event, TagSet):
            if event.key not in self.tags[id]:
                return Told(NO_TAG, "", [])
            self.tags[id][event.key] = event.value
        elif isinstance(event, TagsDeleted):
            if not set(event.keys) <= set(self.tags[id]):
                return Told(NO_TAG, "", [])
            self.tags[id] = {key: value for key, value in self.tags[id].items() if key not in event.keys}
        elif isinstance(event, SchemaPut):
            self.schemas[id][event.schema_id] = {"schema": event.schema, "summary": event.summary}
            declared = service.get("schemas", [])
            _set(service, "schemas", declared if event.schema_id in declared else [*declared, event.schema_id])
        elif isinstance(event, SchemasReplaced):
            self.schemas[id] = {s.schema_id: {"schema": s.schema, "summary": s.summary} for s in event.schemas}
            _set(service, "schemas", [schema.schema_id for schema in event.schemas])
        elif self.schemas[id].pop(event.schema_id, None) is None:
            return Told(NO_SCHEMA, "", [])
        return Told(None, id, [])

    def _register_service(self, service: Wire, chosen: bool, now: str) -> Told:
        holder = self.holder(service)
        if holder is not None:
            if chosen and holder != service["serviceId"]:
                return Told(EXISTS, "", [])
            return Told(None, holder, [])
        if self.service(service["serviceId"]) is not None:
            return Told(EXISTS, "", [])
        if not is_version(service["version"]):
            return Told(INVALID, "", [])
        service["timestamp"] = service["modTimestamp"] = now
        self.services.append(service)
        self.tags[service["serviceId"]] = {}
        self.schemas[service["serviceId"]] = {}
        return Told(None, service["serviceId"], [])

    def _unregister_service(self, service_id: str, force: bool) -> Told:
        service = self.service(service_id)
        if service is None:
            return Told(NO_SERVICE, "", [])
        gone = self.of_service(service_id)
        if gone and not force:
            return Told(DEPLOYED, "", [])
        self.services.remove(service)
        del self.tags[service_id], self.schemas[service_id]
        left = {_group(other) for other in self.services}
        self.dependencies = {
            (consumer, provider)
            for consumer, provider in self.dependencies
            if consumer != service_id and (provider != _group(service) or provider in left)
        }
        for record in gone:
            self.instances.remove(record)
        return Told(None, service_id, [("DELETE", record["wire"]) for record in gone])

    def _register_instance(self, position: Position, content: Wire, event: InstanceRegistered, now: str) -> Told:
        service_id = content["serviceId"]
        service = self.service(service_id)
        if service is None:
            return Told(NO_SERVICE, "", [])
        record = self.instance(service_id, content["instanceId"])
        if record is None and not event.chosen and content.get("endpoints"):
            twins = [r for r in self.of_service(service_id) if _endpoints(r["wire"]) == _endpoints(content)]
            if twins:
                record = min(twins, key=lambda r: int(r["endpoints_since"]))
        content["version"] = service["version"]
        content["timestamp"] = content["modTimestamp"] = now
        if event.keeps_status:
            _set(content, "status", _get(record["wire"], "status") if record else "UP")
        if record is None:
            new = {"wire": content, "registered": position.text(), "endpoints_since": self._steps}
            self.instances.append(new)
            return Told(None, content["instanceId"], [("CREATE", dict(content))])
        content["instanceId"] = record["wire"]["instanceId"]
        content["timestamp"] = record["wire"]["timestamp"]
        if _endpoints(content) != _endpoints(record["wire"]):
            record["endpoints_since"] = self._steps
        record["wire"] = content
        record["registered"] = position.text()
        return Told(None, content["instanceId"], [("UPDATE", dict(content))])

    def _remove(self, service_id: str, instance_id: str) -> Told:
        record = self.instance(service_id, instance_id)
        if record is None:
            return Told(NO_INSTANCE, "", [])
        self.instances.remove(record)
        return Told(None, instance_id, [("DELETE", record["wire"])])

    # -- what is answered ----------------------------------------------------------------------------------------------

    def find(self, query: FindQuery) -> list[Wire] | int:
        """The instances in the order in which they are sent, or the error code."""
        consumer = self.service(query.consumer_id)
        if query.consumer_id and consumer is None:
            return NO_SERVICE
        environment = _get(consumer, "environment") if consumer else query.environment
        here = [service for service in self.services if _get(service, "environment") == environment]
        if query.service_name == "*":
            chosen = self._find_any(here, query)
        else:
            here = [service for service in here if service["appId"] == query.app_id]
            named = [service for service in here if service["serviceName"] == query.service_name]
            named = named or [service for service in here if _get(service, "alias") == query.service_name]
            if not named:
                return NO_SERVICE
            chosen = _by_rule(query.rule.text, named)
            if not chosen and query.rule.kind == "exact":
                return NO_SERVICE
        visible = [s for s in chosen if self._has_tags(s, query.tags) and _visible(s, consumer)]
        return [instance for service in visible for instance in self._sorted_instances(service["serviceId"])]

    def _find_any(self, here: list[Wire], query: FindQuery) -> list[Wire]:
        chosen = []
        for service in here:
            if query.app_id not in ("", service["appId"]):
                continue
            same_name = [
                s for s in here if (s["appId"], s["serviceName"]) == (service["appId"], service["serviceName"])
            ]
            if service in _by_rule(query.rule.text, same_name):
                chosen.append(service)
        return sorted(chosen, key=lambda s: str(s["serviceId"]))

    def instances_of(self, query: InstanceQuery) -> list[Wire] | int:
        """Get one, or list when the query names no instance."""
        service, consumer = self.service(query.service_id), self.service(query.consumer_id)
        if service is None or (query.consumer_id and consumer is None):
            return NO_SERVICE
        visible = self._has_tags(service, query.tags) and _visible(service, consumer)
        if not query.instance_id:
            return self._sorted_instances(query.service_id) if visible else NO_SERVICE
        record = self.instance(query.service_id, query.instance_id)
        return [record["wire"]] if record is not None and visible else NO_INSTANCE

    def exists(self, environment: str, app_id: str, name: str, rule: str) -> str | int:
        here = [s for s in self.services if _get(s, "environment") == environment and s["appId"] == app_id]
        named = [s for s in here if s["serviceName"] == name] or [s for s in here if _get(s, "alias") == name]
        if not named:
            return NO_SERVICE
        chosen = _by_rule(rule, named)
        return str(chosen[0]["serviceId"]) if chosen else NO_VERSION

    def _has_tags(self, service: Wire, tags: tuple[str, ...]) -> bool:
        return set(tags) <= set(self.tags[service["serviceId"]])

    def _sorted_instances(self, service_id: str) -> list[Wire]:
        return sorted((r["wire"] for r in self.of_service(service_id)), key=lambda w: str(w["instanceId"]))


def _by_rule(rule: str, services: list[Wire]) -> list[Wire]:
    by_version = {service["version"]: service for service in services}
    assert len(by_version) == len(services), "a name (or alias) is registered once per version"
    return [by_version[version] for version in matching(rule, list(by_version))]


def _visible(provider: Wire, consumer: Wire | None) -> bool:
    if consumer is None:
        return True
    if _get(provider, "environment") != _get(consumer, "environment"):
        return False
    allowed = provider.get("properties", {}).get("allowCrossApp", "").strip().lower() == "true"
    return bool(provider["appId"] == consumer["appId"] or allowed)


def _group(service: Wire) -> tuple[str, str, str]:
    return _get(service, "environment"), _get(service, "appId"), _get(service, "serviceName")


def _endpoints(instance: Wire) -> frozenset[str]:
    return frozenset(instance.get("endpoints", []))


def _get(thing: Wire, member: str) -> str:
    return str(thing.get(member, ""))


def _set(thing: Wire, member: str, value: Any) -> None:
    """Empty members are left out on the wire."""
    thing.pop(member, None)
    if value:
        thing[member] = value


# -- comparing ---------------------------------------------------------------------------------------------------------


def assert_same(view: RegistryView, oracle: Oracle) -> None:
    """The view holds what the oracle holds, and every index of it says so too."""
    assert {id: json.loads(row.body) for id, row in view.services.items()} == {
        service["serviceId"]: service for service in oracle.services
    }
    rows = [row for service in view.services.values() for row in service.instances.values()]
    assert {(row.service_id, row.instance_id): (json.loads(row.body), row.registered) for row in rows} == {
        (r["wire"]["serviceId"], r["wire"]["instanceId"]): (r["wire"], r["registered"]) for r in oracle.instances
    }
    assert view.instance_count == len(oracle.instances)
    for row in rows:
        assert row.digest == hashlib.sha1(row.body).digest()
        check = json.loads(row.body)["healthCheck"]
        assert row.ttl_ms == check["interval"] * (check.get("times", 0) + 1) * 1000
    assert {id: row.tags for id, row in view.services.items()} == oracle.tags
    assert {
        service_id: {id: {"schema": s.schema, "summary": s.summary} for id, s in row.schemas.items()}
        for service_id, row in view.services.items()
    } == oracle.schemas
    assert {id: wire(policy) for id, policy in view.policies.items()} == oracle.policies
    _assert_indexes(view, oracle)
    assert_weights(view)


def assert_weights(view: RegistryView) -> None:
    """The sums of bytes that the fold keeps are those of what is there."""
    policies = sum(len(msgspec.msgpack.encode(policy)) for policy in view.policies.values())
    held = policies + sum(len(text.encode()) for keys in view.providers.values() for key in keys for text in key)
    for row in view.services.values():
        schemas = sum(len((s.schema_id + s.summary + s.schema).encode()) for s in row.schemas.values())
        assert row.schema_bytes == schemas
        held += schemas + len(row.body) + sum(len(instance.body) for instance in row.instances.values())
        held += sum(len(f'"{key}":"{value}",'.encode()) for key, value in row.tags.items())
    assert (view.policy_bytes, view.held_bytes) == (policies, held)


def _assert_indexes(view: RegistryView, oracle: Oracle) -> None:
    names: dict[tuple[str, ...], str] = {}
    alias_names: dict[tuple[str, ...], str] = {}
    groups: dict[tuple[str, ...], set[str]] = {}
    aliases: dict[tuple[str, ...], set[str]] = {}
    for service in oracle.services:
        where = (_get(service, "environment"), service["appId"])
        names[*where, service["serviceName"], service["version"]] = service["serviceId"]
        groups.setdefault((*where, service["serviceName"]), set()).add(service["serviceId"])
        if _get(service, "alias"):
            alias_names[*where, service["alias"], service["version"]] = service["serviceId"]
            aliases.setdefault((*where, service["alias"]), set()).add(service["serviceId"])
    assert view.ids == names
    assert view.alias_ids == alias_names
    assert {key: set(group.services) for key, group in view.groups.items()} == groups
    assert {key: set(ids) for key, ids in view.aliases.items()} == aliases
    providers: dict[str, set[tuple[str, str, str]]] = {}
    consumers: dict[tuple[str, str, str], set[str]] = {}
    for consumer, provider in oracle.dependencies:
        providers.setdefault(consumer, set()).add(provider)
        consumers.setdefault(provider, set()).add(consumer)
    assert {id: set(found) for id, found in view.providers.items()} == providers
    assert {key: set(ids) for key, ids in view.consumers.items()} == consumers
    for service_id, row in view.services.items():
        assert row.group.services[service_id] is row
        assert row.by_endpoints == _by_endpoints(oracle, service_id)
        assert row.shared_endpoints == {key for key, ids in row.by_endpoints.items() if len(ids) > 1}


def _by_endpoints(oracle: Oracle, service_id: str) -> dict[bytes, tuple[str, ...]]:
    found: dict[bytes, tuple[str, ...]] = {}
    for record in sorted(oracle.of_service(service_id), key=lambda r: int(r["endpoints_since"])):
        if _endpoints(record["wire"]):
            key = endpoints_key(list(_endpoints(record["wire"])))
            found[key] = (*found.get(key, ()), record["wire"]["instanceId"])
    return found
