"""Api: the use cases that the handlers call, and what is ready to be said of this replica."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from registry.domain.find import FindQuery
from registry.domain.view import Tenant
from registry.http_api import reply
from registry.http_api.figure import Figure
from registry.http_api.queries import BatchQueries, Memo
from registry.http_api.reply import Compressor, Header
from registry.usecases.alarms import Alarms
from registry.usecases.discovery import Discovery
from registry.usecases.durable import Durable
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.metadata import Metadata
from registry.usecases.microservices import Microservices
from registry.usecases.watching import Watching


@dataclass(slots=True)
class Api:
    """Everything behind the HTTP face of one replica."""

    discovery: Discovery
    heartbeats: Heartbeats
    instances: Instances
    microservices: Microservices
    metadata: Metadata
    watching: Watching
    alarms: Alarms
    durable: Durable
    figures: Callable[[], Sequence[Figure]]
    #: "" when this replica may be sent requests, else the reason why not.
    not_ready: Callable[[], str]
    compressor: Compressor = field(default_factory=Compressor)
    finds: Memo[FindQuery] = field(default_factory=Memo)
    batches: Memo[BatchQueries] = field(default_factory=Memo)

    def position(self, tenant: Tenant) -> Header:
        """The header that says at which position of the tenant's log an answer is made."""
        return reply.position(self.discovery.position_text(tenant))
