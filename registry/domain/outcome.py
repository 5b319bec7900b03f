"""Outcome: what applying an event came to - the changes made, or the refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import Struct

from registry.domain.errors import RegistryError
from registry.domain.model import Microservice
from registry.domain.retold import Retold
from registry.domain.view import InstanceRow

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
DELETE: Final = "DELETE"


class Change(Struct, frozen=True):
    """One instance changed. `row` is the new content, or on DELETE the last one; `before` what it has replaced."""

    action: str
    service: Microservice
    row: InstanceRow
    before: InstanceRow | None = None


#: The part that is what a consumer has found, each by environment, application and name with `/` between them.
PROVIDERS: Final = "providers"


class Edit(NamedTuple):
    """One part of a microservice, of what it consumes, or of the policies changed: its members before and after.

    Of a schema the summary stands for the content, which may be large.
    """

    part: str
    before: Mapping[str, object]
    after: Mapping[str, object]


class Again(NamedTuple):
    """What is so of something that is told again. `service` None: it is gone; `row` None: so is the instance."""

    told: Retold
    service: Microservice | None
    tags: Mapping[str, str]
    row: InstanceRow | None


class Outcome(Struct, frozen=True):
    """What applying an event came to.

    `id` is the service or instance that the event ended up concerning: another than the event names, when the fold
    merged it into what was there. `error` is set when the event was refused. `released` names the consumers whose
    dependency on the service ended with it, and who are still to be told of its last changes. `added` is the
    microservice that is new, `removed` the one that is gone. `edit` is what changed that is no instance. `retold` is
    what is so of that which a mended history tells again.
    """

    id: str = ""
    changes: tuple[Change, ...] = ()
    released: tuple[str, ...] = ()
    error: RegistryError | None = None
    removed: Microservice | None = None
    added: Microservice | None = None
    edit: Edit | None = None
    retold: tuple[Again, ...] = ()


NOTHING: Final = Outcome()
