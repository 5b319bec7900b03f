"""Replies: what must come back for each kind of request, as checks that say what is wrong."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from benchmarks.wire import Reply


def is_empty(reply: Reply, status: int = 200) -> str | None:
    """A status and nothing else."""
    return None if (reply.status, reply.body) == (status, b"") else f"expected status {status} without a body"


def is_id(reply: Reply, instance_id: str | None = None) -> str | None:
    """A registration is answered with the id of the instance, whatever it is or the given one."""
    if reply.status != 200:
        return "expected status 200"
    answered = _document(reply).get("instanceId")
    if not answered or (instance_id is not None and answered != instance_id):
        return f"expected the instanceId {instance_id or 'of a new instance'}"
    return None


def has_instances(reply: Reply, ids: Collection[str]) -> str | None:
    """A find is answered with exactly these instances and a rev."""
    if reply.status != 200 or not reply.headers.get("x-resource-revision"):
        return "expected status 200 and an X-Resource-Revision"
    found = _ids(_document(reply))
    return None if sorted(found) == sorted(ids) else f"expected {len(ids)} instances, got {len(found)}"


def is_304(reply: Reply, rev: str) -> str | None:
    """A find is answered with "not modified"."""
    return is_empty(reply, 304) or (
        None if reply.headers.get("x-resource-revision") == rev else "expected the same X-Resource-Revision"
    )


def is_batch(reply: Reply, services: int, changed: dict[int, str]) -> str | None:
    """A batch find is answered with "not modified" for all services but the changed ones.

    Args:
        changed: by index in the request, the only instance of the service.
    """
    if reply.status != 200:
        return "expected status 200"
    answer = _document(reply).get("services", {})
    expected = [index for index in range(services) if index not in changed]
    if sorted(answer.get("notModified", [])) != expected:
        return f"expected {len(expected)} notModified"
    updated = {element["index"]: _ids(element) for element in answer.get("updated", []) if element.get("rev")}
    if updated != {index: [instance_id] for index, instance_id in changed.items()} or answer.get("failed"):
        return f"expected {len(changed)} updated with their instances and none failed"
    return None


def is_heartbeat_set(reply: Reply, members: Collection[tuple[str, str]]) -> str | None:
    """A heartbeat set is answered with all of its members and no error."""
    if reply.status != 200:
        return "expected status 200"
    elements = _document(reply).get("instances", [])
    errors = [element["errMessage"] for element in elements if "errMessage" in element]
    if errors:
        return f"{len(errors)} heartbeats failed, the first: {errors[0]}"
    beaten = {(element.get("serviceId"), element.get("instanceId")) for element in elements}
    return None if beaten == set(members) else f"expected {len(members)} members, got {len(beaten)}"


def _ids(found: dict[str, Any]) -> list[str]:
    return [instance.get("instanceId", "") for instance in found.get("instances", [])]


def _document(reply: Reply) -> dict[str, Any]:
    """The body as a JSON object; empty when it is none."""
    try:
        document = reply.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
