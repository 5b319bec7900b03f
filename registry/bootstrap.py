"""bootstrap: the only place where the layers meet."""

from __future__ import annotations

import os
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

from registry import __version__
from registry.accounts_setup import build_access
from registry.archive.deep_log import DeepLog
from registry.clock import Clock
from registry.conditions import conditions, late_replicas, lost_durability
from registry.console.files import Files
from registry.domain.own import OWN_SERVICE_NAME
from registry.domain.quotas import Quotas
from registry.domain.retention import Retention
from registry.domain.tenant import DEFAULT_TENANT
from registry.history.feeds import Feeds
from registry.http_api.access_log import AccessLog
from registry.http_api.api import Api
from registry.http_api.client_address import TrustedProxies
from registry.http_api.door import Door
from registry.http_api.load import Load
from registry.http_api.networks import Networks
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS
from registry.http_api.origins import ANY, NONE, Origins
from registry.http_api.past_here import PastHere
from registry.http_api.sockets import text_frame
from registry.logconfig import lines_dropped
from registry.metrics.events import EventCounts
from registry.metrics.figure import Figure
from registry.metrics.figures import Figures
from registry.metrics.streams import Streams
from registry.projection.projector import Projector
from registry.settings import Settings
from registry.store.port import Durability, PastLog, Store
from registry.store.redis_limits import RedisLimits
from registry.store.redis_store import RedisStore
from registry.tracing import Spans
from registry.upkeep.agreement import Agreement
from registry.upkeep.archiving import Archiving, Limits
from registry.upkeep.clearing import Clearing
from registry.upkeep.expiry import Expiry
from registry.upkeep.forgetting import Forgetting
from registry.upkeep.protection import MassLapse, Protection
from registry.upkeep.pulses import Pulses
from registry.upkeep.self_registration import SelfRegistration
from registry.upkeep.snapshotting import HOLD_MS, Snapshotting
from registry.usecases.alarms import (
    Alarms,
)
from registry.usecases.discovery import Discovery
from registry.usecases.durable import Durable
from registry.usecases.followed import follow_events
from registry.usecases.formats import Formats
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.metadata import Metadata
from registry.usecases.microservices import Microservices
from registry.usecases.removals import Removals
from registry.usecases.roster import Presence, Roster, memory_bytes
from registry.usecases.watching import Watching
from registry.usecases.writers import Writers
from registry.usecases.writes import Writes

#: A replica that has not heard from the store for this long (seconds) should not be sent requests.
SILENT_MAX_S: Final = 5.0
#: ... and after this time its answers say that they may be old. The log is asked at least once a second.
STALE_AFTER_S: Final = 2.5
#: The requests that the list of replicas counts.
BEATS: Final = ("heartbeat", "heartbeat-set")
FINDS: Final = ("find-instances", "batch-find-instances", "list-instances")


@dataclass(slots=True)
class Replica:
    """One replica's parts, wired but not running."""

    name: str
    store: Store
    projector: Projector
    expiry: Expiry
    pulses: Pulses
    registration: SelfRegistration
    snapshotting: Snapshotting
    agreement: Agreement
    formats: Formats
    forgetting: Forgetting
    clearing: Clearing
    api: Api
    #: The application, and the way to it for hot requests.
    door: Door
    #: Answers about the past in this process; a replica that serves asks another one.
    past: PastHere
    #: How long the logs are.
    streams: Streams
    #: Whether requests should come only while the store takes writes.
    needs_writes: bool = False
    stopping: bool = False
    #: Since when it is there, Unix ms.
    started_ms: int = 0

    def presence(self, address: str) -> Presence:
        """How this replica is, for the list of replicas."""
        projector, stats = self.projector, self.projector.stats()
        return Presence(
            self.name,
            address,
            __version__,
            self.api.now_ms(),
            self.started_ms,
            projector.view(DEFAULT_TENANT).position.text(),
            self.not_ready(),
            int(stats.silent_s * 1000),
            len(self.snapshotting.distrusted),
            memory_bytes(),
            self.api.observer.answered(BEATS),
            self.api.observer.answered(FINDS),
            projector.own,
            writing=self.pulses.write_times(),
        )

    def loops(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside the projector and the server for as long as the replica lives."""
        return {
            "following": self.projector.following.run(),
            "pulse": self.pulses.run(),
            "expiry": self.expiry.run(),
            "notifications": self.expiry.follow_notifications(),
            "registration": self.registration.run(),
            "heartbeats": self.api.heartbeats.run(),
            "snapshotting": self.snapshotting.run(),
            "agreement": self.agreement.run(),
            "forgetting": self.forgetting.run(),
            "clearing": self.clearing.run(),
            "formats": self.formats.run(),
            "durability": self.api.durable.run(),
            "damage": self.projector.aside.run(),
            **self._loops_of_access(),
        }

    def _loops_of_access(self) -> dict[str, Coroutine[Any, Any, None]]:
        access = self.api.access
        if access is None:
            return {}
        return {"accounts": access.everywhere.run(), "sessions": access.sessions.run()}

    def figures(self) -> tuple[Figure, ...]:
        """What stands around the use cases."""
        return (
            Figure("stale_seconds", "For how long answers say that they may be old; 0: they do not.", self.stale_s()),
            Figure("log_lines_dropped_total", "Lines of its log that were not read in time.", lines_dropped(), True),
        )

    def stale_s(self) -> int:
        """For how many seconds the store has been away; 0 when it is not."""
        silent_s = self.projector.reading.silent_s
        return int(silent_s) if silent_s > STALE_AFTER_S else 0

    def not_ready(self) -> str:
        """Why this replica should not be sent requests; "" when it should."""
        stats = self.projector.stats()
        if self.stopping:
            return "stopping"
        if not stats.live:
            return "the log is still being replayed"
        if stats.silent_s > SILENT_MAX_S:
            return f"the store has not answered for {stats.silent_s:.0f} seconds"
        if self.needs_writes and self.projector.refusing.lasts:
            return "the store takes no writes"
        if self.needs_writes and self.api.durable.lost.since_ms is not None:
            return "no write can have the durability of REGISTRY_DURABILITY"
        return ""

    def unhealthy(self) -> str:
        """Why no write can be relied on now, as far as this replica knows; "" when there is no reason."""
        silent_s = self.projector.reading.silent_s
        if silent_s > SILENT_MAX_S:
            return f"the store has not answered for {silent_s:.0f} seconds"
        if self.projector.refusing.lasts:
            return "the store takes no writes"
        return self.api.durable.lost.newest if self.api.durable.lost.since_ms is not None else ""


#: Bytes of an id, and of the randomness taken at once.
ID_BYTES: Final = 16
RANDOM_BYTES: Final = 128 * ID_BYTES


class Ids:
    """Generates ids: 32 lower-case hex (D19). The system's randomness is taken by the page, for each costs a call."""

    def __init__(self) -> None:
        self._left = b""

    def __call__(self) -> str:
        if not self._left:
            self._left = os.urandom(RANDOM_BYTES)
        taken, self._left = self._left[:ID_BYTES], self._left[ID_BYTES:]
        return taken.hex()


def redis_store(settings: Settings) -> RedisStore:
    durability: Durability = settings.durability  # type: ignore[assignment]  # checked with the settings
    limits = RedisLimits(
        prefix=settings.redis_prefix,
        timeout_s=settings.redis_timeout_s,
        durability=durability,
        beats_max_bytes=settings.beats_max_bytes,
    )
    return RedisStore(settings.redis_url, limits)


def past_log(settings: Settings, store: Store) -> PastLog:
    """The logs as far back as they are kept: in the store, and in the archive where there is one."""
    return DeepLog(store, Path(settings.archive_dir), settings.redis_prefix) if settings.archive_dir else store


def quotas(settings: Settings) -> Quotas:
    return Quotas(
        tenants=settings.quota_tenant,
        services=settings.quota_service,
        instances=settings.quota_instance,
        schemas=settings.quota_schema,
        tags=settings.quota_tag,
        policies=settings.quota_policy,
        endpoints=settings.quota_endpoint,
        dependencies=settings.quota_dependency,
        instance_bytes=settings.instance_max_bytes,
        service_bytes=settings.quota_service_bytes,
        schema_bytes=settings.quota_schema_bytes,
        policy_bytes=settings.quota_policy_bytes,
        tenant_bytes=settings.quota_tenant_bytes,
    )


def new_name() -> str:
    """A name for a replica: in its events, its log, its figures, and wherever else it is named."""
    return secrets.token_hex(6)


def _access_log(settings: Settings) -> AccessLog | None:
    """At level debug every request is said: so each can be followed."""
    if settings.log_level == "debug":
        return AccessLog("all", settings.access_log_slow_ms)
    if settings.access_log == "off":
        return None
    return AccessLog(settings.access_log, settings.access_log_slow_ms, settings.access_log_sample)


def build_replica(
    settings: Settings,
    store: Store,
    advertise: str,
    clock: Clock | None = None,
    name: str = "",
    spans: Spans | None = None,
) -> Replica:
    """Wire one replica, with a new name if it is given none. Nothing runs yet."""
    clock = clock or Clock()
    name = name or new_name()
    projector = Projector(store, name, clock, settings.remembered_max_bytes)
    shared = frozenset((OWN_SERVICE_NAME, *settings.shared_services.replace(",", " ").split()))
    formats = Formats(store, name, clock)
    writes = Writes(store, projector, clock, quotas(settings), formats, settings.waiting_max_bytes)
    heartbeats = Heartbeats(store, projector)
    new_id = Ids()
    instances = Instances(writes, heartbeats, new_id)
    metadata = Metadata(writes, new_id)
    watching = Watching(projector, text_frame)
    Removals(projector, advertise)
    follow_events(projector)
    microservices = Microservices(writes)
    protection = Protection(
        MassLapse(settings.mass_lapse_share, settings.mass_lapse_least, settings.mass_lapse_hold_s * 1000), clock
    )
    pulses = Pulses(store, projector, clock, settings.outage_after_ms)
    writers = Writers(name, clock)
    expiry = Expiry(store, projector, writes, clock, pulses, protection, writers)
    retention = Retention(
        settings.snapshot_every,
        settings.snapshots_kept,
        settings.history_s * 1000,
        settings.log_max_bytes,
        settings.history_events,
    )
    archiving = None
    if settings.archive_dir:
        limits = Limits(settings.archive_s * 1000, settings.archive_max_bytes)
        root = Path(settings.archive_dir)
        archiving = Archiving(store, clock, name, root, settings.redis_prefix, limits, HOLD_MS)
    snapshotting = Snapshotting(store, projector, clock, retention, archiving)
    agreement = Agreement(store, projector, snapshotting, clock)
    registration = SelfRegistration(
        microservices, instances, heartbeats, advertise, __version__, projector.refusing, bool(settings.tls_cert_file)
    )
    discovery = Discovery(projector, shared, writes.quotas, settings.answer_max_bytes)
    api = Api(
        discovery,
        heartbeats,
        instances,
        microservices,
        metadata,
        watching,
        Alarms(
            lambda: projector.reading.silent_s,
            clock.steady_ms,
            lambda: (
                conditions(projector, protection, snapshotting, heartbeats)
                | late_replicas(api.access)
                | lost_durability(api.durable)
            ),
        ),
        Durable(
            store,
            clock,
            lambda tenant: (projector.view(tenant).position, projector.newest_event(tenant)),
            projector.knows,
            settings.durability,  # type: ignore[arg-type]  # checked with the settings
        ),
        lambda: replica.not_ready(),
        lambda: replica.unhealthy(),
        projector.aside,
        Roster(store, projector, lambda: replica.presence(advertise), writers),
        store.about,
        settings.body_max_bytes,
        settings.answer_max_bytes,
        Networks(settings.admin_from),
    )
    api.proxies = TrustedProxies(settings.trusted_proxies)
    api.access = build_access(settings, store, projector, writes, discovery, clock, new_id, advertise)
    if api.access is not None:
        access = api.access
        api.caches["grants"] = lambda: access.admission.principals.size
        api.figures.append(access.figures)
    api.load = Load(settings.requests_max)
    guarded = settings.rbac == "on"
    api.origins = Origins(settings.cors_origins or (NONE if guarded else ANY), settings.rbac != "off")
    operations = OPERATIONS if api.access is None else (*OPERATIONS, *ACCOUNT_OPERATIONS)
    door = Door(api, operations, Files().answer) if settings.console else Door(api, operations)
    log = past_log(settings, store)
    past = PastHere(api, store)
    if isinstance(log, DeepLog):
        past = PastHere(api, store, log, log.damaged, log.earlier, log.is_silent)
    replica = Replica(
        name,
        store,
        projector,
        expiry,
        pulses,
        registration,
        snapshotting,
        agreement,
        formats,
        Forgetting(store, projector, clock, settings.forget_after_s * 1000),
        Clearing(store, projector, settings.history_s * 1000),
        api,
        door,
        past,
        Streams(store, projector),
    )
    replica.started_ms = clock.wall_ms()
    api.now_ms = clock.wall_ms
    api.settings = settings
    api.access_log = _access_log(settings)
    api.spans = writes.spans = spans
    numbers = count(1)
    api.request_ids = lambda: f"{name}-{next(numbers):x}"
    api.past = replica.past
    api.feeds = feeds = Feeds(projector)
    streams = replica.streams
    api.figures += [
        Figures(
            *(projector, writes, instances, heartbeats, discovery, watching, feeds, api.alarms, api.roster, expiry),
            *(pulses, snapshotting, agreement, EventCounts(projector), streams, clock),
        ).all,
        replica.figures,
    ]
    api.observer.tenants.exists = projector.knows
    replica.needs_writes = settings.ready_needs_writes
    return replica
