"""policies: decisions about traffic policies (api-rules.md 3.14), and how they are listed.

Pure, as `domain.decide`; refusals are made again after catching up.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registry.domain.decide import Stamp
from registry.domain.errors import InvalidParams, PolicyNotExists
from registry.domain.events import PolicySaved
from registry.domain.model import Policy
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import PolicyBody, to_properties
from registry.domain.view import RegistryView

#: kind -> members that its spec must have (api-rules.md 3.14).
POLICY_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "match-group": ("matches", "alias"),
    "retry": ("maxAttempts",),
    "rate-limiting": ("rate",),
    "loadbalance": ("rule",),
    "circuit-breaker": ("minimumNumberOfCalls",),
    "instance-isolation": ("minimumNumberOfCalls",),
    "fault-injection": ("percentage",),
    "bulkhead": ("maxConcurrentCalls",),
}
MATCH_GROUP: Final = "match-group"
MATCH_METHODS: Final = ("GET", "POST", "DELETE", "PUT", "PATCH")
#: Members that are counts.
_COUNTS: Final = ("minimumNumberOfCalls", "percentage", "maxConcurrentCalls", "maxAttempts")


def save_policy(
    view: RegistryView, kind: str, policy_id: str, body: PolicyBody, new_id: str, quotas: Quotas, stamp: Stamp
) -> PolicySaved:
    """Save a new policy (`policy_id` "") or change one."""
    spec = body.spec or {}
    _check_spec(kind, spec)
    now = stamp.at_ms // 1000
    before = policy_or_refuse(view, kind, policy_id) if policy_id else None
    # As in the reference a match group that is given no name gets one of its own; drawn from the new id.
    default_name = f"scene-{new_id[:4]}" if kind == MATCH_GROUP else ""
    policy = Policy(
        name=body.name or (before.name if before else default_name),
        id=policy_id or new_id,
        status=body.status or (before.status if before else "enabled"),
        creat_time=before.creat_time if before else now,
        update_time=now,
        selector=before.selector if before and body.selector is None else to_properties(body.selector),
        kind=kind,
        spec=spec,
    )
    quotas.check_policy(view, before, policy)
    return PolicySaved(policy=policy, **stamp._asdict())


def _check_spec(kind: str, spec: dict[str, Any]) -> None:
    try:
        msgspec.msgpack.encode(spec)
    except OverflowError as exc:
        raise InvalidParams("a number is beyond 64 bits - at `$.spec`") from exc
    if kind not in POLICY_KINDS:
        raise InvalidParams(f"kind {kind[:64]!r}: one of {', '.join(POLICY_KINDS)} - at the path")
    for member in POLICY_KINDS[kind]:
        if spec.get(member) in (None, "", []):
            raise InvalidParams(f"a policy of kind {kind} needs {member} - at `$.spec.{member}`")
        if member in _COUNTS and not _is_count(spec[member]):
            raise InvalidParams(f"{member} is a number of at least 0 - at `$.spec.{member}`")
    matches = spec.get("matches")
    if kind == MATCH_GROUP and not (isinstance(matches, list) and all(isinstance(m, dict) for m in matches)):
        raise InvalidParams("matches is a list of objects - at `$.spec.matches`")
    for index, match in enumerate(matches or [] if kind == MATCH_GROUP else []):
        if not match.get("name"):
            raise InvalidParams(f"a match needs a name - at `$.spec.matches[{index}].name`")
        methods = match.get("method") or []
        if not isinstance(methods, list) or any(method not in MATCH_METHODS for method in methods):
            raise InvalidParams(f"a list of {', '.join(MATCH_METHODS)} - at `$.spec.matches[{index}].method`")


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def policy_or_refuse(view: RegistryView, kind: str, policy_id: str) -> Policy:
    policy = view.policies.get(policy_id)
    if policy is None or policy.kind != kind:
        raise PolicyNotExists(f"policy {policy_id[:64]} of kind {kind[:64]} does not exist")
    return policy


def policies_to_delete(view: RegistryView, kind: str, policy_id: str) -> list[str]:
    """The ids that go when this policy is deleted: with a match group go all policies of its name."""
    policy = policy_or_refuse(view, kind, policy_id)
    ids = [policy_id]
    if kind == MATCH_GROUP:
        ids += [other.id for other in view.policies.values() if other.name == policy.name and other.id != policy_id]
    return ids


def list_policies(view: RegistryView, kind: str, app: str, environment: str) -> list[Policy]:
    """Policies of a kind ("" for all), those selected for an application and environment (`all` or "": any)."""
    return [
        policy
        for policy in view.policies.values()
        if kind in ("", policy.kind)
        and (app in ("", policy.selector.get("app", "")))
        and (environment in ("", "all", policy.selector.get("environment", "")))
    ]
