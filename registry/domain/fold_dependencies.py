"""What events about dependencies change. Called by `domain.fold` and its parts only."""

from __future__ import annotations

from collections.abc import Iterable

from registry.domain import weight
from registry.domain.errors import ServiceNotExists
from registry.domain.events import DependenciesAdded, DependenciesReplaced
from registry.domain.outcome import PROVIDERS, Edit, Outcome
from registry.domain.view import GroupKey, RegistryView


def change_dependencies(view: RegistryView, event: DependenciesAdded | DependenciesReplaced) -> Outcome:
    if event.consumer_id not in view.services:
        return Outcome(error=ServiceNotExists(f"consumer {event.consumer_id}"))
    before: dict[str, object] = {}
    if isinstance(event, DependenciesReplaced):
        before = _named_keys(view.providers.get(event.consumer_id, ()))
        forget_consumer(view, event.consumer_id)
    new = set(event.providers).difference(view.providers.get(event.consumer_id, ()))
    view.held_bytes += weight.of_dependencies(new)
    for provider in event.providers:
        view.providers.setdefault(event.consumer_id, {})[provider] = None
        view.consumers.setdefault(provider, {})[event.consumer_id] = None
    return Outcome(event.consumer_id, edit=Edit(PROVIDERS, before, _named_keys(new)))


def _named_keys(providers: Iterable[GroupKey]) -> dict[str, object]:
    return {"/".join(provider): True for provider in sorted(providers)}


def forget_consumer(view: RegistryView, consumer_id: str) -> None:
    """The consumer has found nothing."""
    providers = view.providers.pop(consumer_id, {})
    view.held_bytes -= weight.of_dependencies(providers)
    for provider in providers:
        del view.consumers[provider][consumer_id]
        if not view.consumers[provider]:
            del view.consumers[provider]


def forget_provider(view: RegistryView, provider: GroupKey) -> None:
    """Nobody has found the provider."""
    for consumer_id in view.consumers.pop(provider, {}):
        view.held_bytes -= weight.of_dependencies((provider,))
        del view.providers[consumer_id][provider]
        if not view.providers[consumer_id]:
            del view.providers[consumer_id]
