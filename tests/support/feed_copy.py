"""FeedCopy: what a client holds that has read the registry once, and then follows nothing but the feed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from registry.domain.view import RegistryView

#: Members of a microservice that the feed tells of by other events, or that only say when.
_ELSEWHERE: Final = ("schemas", "timestamp", "modTimestamp")


class FeedCopy:
    """Microservices, their tags and their instances.

    While a history is being mended it may lack what it was not told, so that what goes may be gone already.

    Args:
        view: what was read; None for nothing yet.
    """

    def __init__(self, view: RegistryView | None = None) -> None:
        self.services: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.instances: dict[tuple[str, str], Any] = {}
        for service_id, row in view.services.items() if view is not None else ():
            instances = [json.loads(instance.body) for instance in row.instances.values()]
            self.hold(service_id, json.loads(row.body), row.tags, instances)

    def hold(
        self, service_id: str, content: Mapping[str, Any], tags: Mapping[str, str], instances: Iterable[Any]
    ) -> None:
        """A microservice was read, with all that belongs to it."""
        self._put_service(service_id, content)
        self._put_tags(service_id, tags)
        for instance in instances:
            self.instances[service_id, instance["instanceId"]] = instance

    def apply(self, told: Mapping[str, Any]) -> bool:
        """One event of the feed. False: it says that the copy may be wrong from now on, and has to be read anew."""
        kind, service_id = told["kind"], told.get("serviceId", "")
        after: Any = told.get("after")
        if told["effect"] == "refused":
            return True
        match kind:
            case "history-resumed":
                for again in after or ():
                    self._tell_again(again)
                return "forkedAt" in told["evidence"]
            case "instance-registered" | "instance-status-set" | "instance-properties-set":
                # One that was merged has the id of the other in its content; one without content is held as wrong.
                self.instances[service_id, (after or told)["instanceId"]] = after
            case "instance-unregistered" | "instance-expired":
                self.instances.pop((service_id, told["instanceId"]), None)
            case "service-registered" if after is not None:
                self._put_service(service_id, after)
            case "service-unregistered":
                self._drop(service_id)
            case "service-properties-set" if service_id in self.services:
                self.services[service_id]["properties"] = after or {}
            case "tags-replaced" | "tag-set" | "tags-deleted":
                self._put_tags(service_id, after)
        return True

    def _tell_again(self, again: Mapping[str, Any]) -> None:
        service_id, instance_id, after = again.get("serviceId"), again.get("instanceId"), again.get("after")
        if not service_id:
            return
        if instance_id and after is not None:
            self.instances[service_id, instance_id] = after
        elif instance_id:
            self.instances.pop((service_id, instance_id), None)
        elif after is not None:
            self._put_service(service_id, after)
            self._put_tags(service_id, again.get("tags"))
        else:
            self._drop(service_id)

    def _put_service(self, service_id: str, content: Mapping[str, Any]) -> None:
        self.services[service_id] = {name: value for name, value in content.items() if name not in _ELSEWHERE}
        self.services[service_id].setdefault("properties", {})

    def _put_tags(self, service_id: str, tags: Mapping[str, Any] | None) -> None:
        self.tags.pop(service_id, None)
        if tags:
            self.tags[service_id] = dict(tags)

    def _drop(self, service_id: str) -> None:
        self.services.pop(service_id, None)
        self.tags.pop(service_id, None)
        for ids in [ids for ids in self.instances if ids[0] == service_id]:
            del self.instances[ids]

    def differences(self, present: FeedCopy) -> str:
        """What the copy holds otherwise than one that was read now; "" where it is right."""
        own, other = self._flat(), present._flat()
        wrong = [name for name in sorted(own.keys() | other.keys()) if own.get(name) != other.get(name)]
        return "; ".join(f"{name}: {own.get(name)}, and is {other.get(name)}" for name in wrong[:3])

    def _flat(self) -> dict[str, Any]:
        return {
            **{f"service {name}": value for name, value in self.services.items()},
            **{f"tags {name}": value for name, value in self.tags.items()},
            **{f"instance {service}/{name}": value for (service, name), value in self.instances.items()},
        }
