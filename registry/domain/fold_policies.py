"""What events about traffic policies change. Called by `domain.fold` only."""

from __future__ import annotations

from registry.domain import weight
from registry.domain.errors import PolicyNotExists
from registry.domain.events import PolicyDeleted, PolicySaved
from registry.domain.model import Policy
from registry.domain.outcome import Edit, Outcome
from registry.domain.view import RegistryView


def save_policy(view: RegistryView, event: PolicySaved) -> Outcome:
    policy, before = event.policy, view.policies.get(event.policy.id)
    _weigh_policies(view, weight.of_policy(policy) - (weight.of_policy(before) if before is not None else 0))
    view.policies[policy.id] = policy
    return Outcome(policy.id, edit=Edit("policies", _by_id(before), {policy.id: policy}))


def delete_policy(view: RegistryView, event: PolicyDeleted) -> Outcome:
    before = view.policies.pop(event.policy_id, None)
    if before is None:
        return Outcome(error=PolicyNotExists(f"policy {event.policy_id} does not exist"))
    _weigh_policies(view, -weight.of_policy(before))
    return Outcome(event.policy_id, edit=Edit("policies", {before.id: before}, {}))


def _by_id(policy: Policy | None) -> dict[str, Policy]:
    return {policy.id: policy} if policy is not None else {}


def _weigh_policies(view: RegistryView, change: int) -> None:
    view.policy_bytes += change
    view.held_bytes += change
