"""Choice: which events, and which microservices, a question is about."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, structs

from registry.access.reach import EVERYWHERE, Reach
from registry.domain.events import Event, HistoryResumed
from registry.domain.model import Microservice
from registry.domain.outcome import PROVIDERS, Again, Edit, Outcome
from registry.domain.view import RegistryView, ServiceRow
from registry.history.told import kind_of, subject


class Choice(Struct, frozen=True, omit_defaults=True):
    """What is asked about; an empty member leaves everything in. `env` None: any environment, "": the one without name.

    `kinds`: types of events, as `told.KINDS` names them. `actor`: who asked, by address or account. `reach`: what the
    one who asks may see; what is about no microservice is for those only who may see everything.
    """

    service_id: str = ""
    instance_id: str = ""
    app_id: str = ""
    service_name: str = ""
    env: str | None = None
    version: str = ""
    kinds: tuple[str, ...] = ()
    actor: str = ""
    reach: Reach = EVERYWHERE

    def takes_service(self, service: Microservice) -> bool:
        """Whether it is about this microservice, as far as the microservice says."""
        return (
            self.service_id in ("", service.service_id)
            and self.app_id in ("", service.app_id)
            and self.service_name in ("", service.service_name, service.alias)
            and self.env in (None, service.environment)
            and self.version in ("", service.version)
            and self.reach.covers(service.environment, service.app_id, service.service_name)
        )

    def takes_row(self, row: ServiceRow) -> bool:
        return self.takes_service(row.service)

    @property
    def names_service(self) -> bool:
        """It asks for something that only a microservice can have."""
        named = bool(self.app_id or self.service_name or self.version) or self.env is not None
        return named or not self.reach.everywhere

    def takes(self, event: Event, outcome: Outcome, service: Microservice | None) -> bool:
        """Whether it is about this event. `service`: the microservice that the event is about, if there is or was one.

        An event about one instance is also about the one that it was merged into; a microservice takes its instances
        with it. A history that was put together again may concern anything that is asked about.
        """
        if self.kinds and kind_of(event) not in self.kinds:
            return False
        if self.actor and self.actor not in (
            event.actor,
            event.actor.partition("@")[0],
            event.actor.rpartition("@")[2],
        ):
            return False
        if isinstance(event, HistoryResumed):
            return not event.retold or bool(self.seen(outcome).retold)
        service_id, instance_id = subject(event)
        if self.service_id and self.service_id not in (service_id, outcome.id):
            return False
        if self.instance_id:
            named = {instance_id, outcome.id if instance_id else "", *(c.row.instance_id for c in outcome.changes)}
            if self.instance_id not in named:
                return False
        if self.names_service:
            return service is not None and self.takes_service(service)
        return True

    def seen(self, outcome: Outcome) -> Outcome:
        """As much of it as is asked about and the one who asks may see: a mended history tells again of many things,
        and an event about a consumer names its providers.
        """
        if outcome.retold:
            retold = tuple(again for again in outcome.retold if self._takes_again(again))
            return outcome if len(retold) == len(outcome.retold) else structs.replace(outcome, retold=retold)
        edit = outcome.edit
        if self.reach.everywhere or edit is None or edit.part != PROVIDERS:
            return outcome
        before, after = (self._covered(providers) for providers in (edit.before, edit.after))
        return structs.replace(outcome, edit=Edit(PROVIDERS, before, after))

    def _takes_again(self, again: Again) -> bool:
        told = again.told
        if self.instance_id and self.instance_id != told.instance_id:
            return False
        if not told.service_id:
            return not (self.service_id or self.names_service)
        env, app_id, name, version = told.service
        named = Microservice(
            service_id=told.service_id, environment=env, app_id=app_id, service_name=name, version=version
        )
        return self.takes_service(again.service or named)

    def _covered(self, providers: Mapping[str, object]) -> dict[str, object]:
        return {name: value for name, value in providers.items() if self.reach.covers(*name.split("/"))}


def service_of(view: RegistryView, event: Event, outcome: Outcome) -> Microservice | None:
    """The microservice that an event is about, once it is applied to the view; None where there is none."""
    if outcome.removed is not None:
        return outcome.removed
    if outcome.changes:
        return outcome.changes[0].service
    service_id, instance_id = subject(event)
    row = view.services.get(service_id) or view.services.get(outcome.id if not instance_id else "")
    return row.service if row is not None else None
