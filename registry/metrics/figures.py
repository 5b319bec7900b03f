"""Figures: what a replica has to say of itself in numbers. registry/docs/metrics.md has them all in a table."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from registry import __version__
from registry.clock import Clock
from registry.domain.tenant import ACCOUNTS
from registry.domain.view import RegistryView
from registry.history.feeds import Feeds
from registry.metrics.events import EventCounts
from registry.metrics.figure import Figure, Spread, Told
from registry.metrics.streams import Streams
from registry.metrics.tenants import tenant_figures
from registry.projection.projector import Projector
from registry.store.round_trips import RoundTrips
from registry.upkeep.agreement import Agreement
from registry.upkeep.expiry import Expiry
from registry.upkeep.pulses import Pulses
from registry.upkeep.snapshotting import Snapshotting
from registry.usecases.alarms import ACTIVATED, ALARMS, Alarms
from registry.usecases.discovery import Discovery
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.roster import Roster
from registry.usecases.watching import Watching
from registry.usecases.writes import Writes


@dataclass(frozen=True, slots=True)
class Figures:
    """All of one replica, as of now: the parts that are asked."""

    projector: Projector
    writes: Writes
    instances: Instances
    heartbeats: Heartbeats
    discovery: Discovery
    watching: Watching
    feeds: Feeds
    alarms: Alarms
    roster: Roster
    expiry: Expiry
    pulses: Pulses
    snapshotting: Snapshotting
    agreement: Agreement
    events: EventCounts
    streams: Streams
    clock: Clock

    def all(self) -> Iterator[Told]:
        views = [self.projector.view(tenant) for tenant in self.projector.tenants if tenant != ACCOUNTS]
        labels = {"replica": self.projector.replica, "version": __version__, "python": platform.python_version()}
        yield Figure("build_info", "1; its labels say what runs.", 1, False, labels)
        yield from self._views(views)
        yield from self._log()
        yield from self.events.figures()
        yield from self._writes()
        yield from self._instances()
        yield from self._expiry()
        yield from self._clients()
        yield from self._snapshots(views)
        yield from self._agreement()
        yield from self._alarms()
        yield from tenant_figures(views)

    def _views(self, views: Sequence[RegistryView]) -> Iterator[Told]:
        yield Figure("tenants", "Tenants that this replica follows.", len(views))
        aside = len(self.projector.aside.tenants)
        yield Figure("tenants_set_aside", "Tenants whose data in the store are damaged.", aside)
        yield Figure("services", "Service versions in its views.", sum(len(view.services) for view in views))
        yield Figure("instances", "Instances in its views.", self.projector.instances)
        held = sum(view.held_bytes for view in views)
        yield Figure("held_bytes", "Bytes that its views hold, as quotas count them.", held)
        left_out = self.discovery.left_out
        yield Figure(
            "dependencies_left_out_total", "Dependencies that finds did not record: a quota was full.", left_out, True
        )

    def _log(self) -> Iterator[Told]:
        projector, stats = self.projector, self.projector.stats()
        refuses = float(projector.refusing.lasts)
        yield Figure("store_refuses_writes", "1 while the store takes no writes.", refuses)
        yield Figure(
            "store_silent_seconds", "Time since the store last answered the reader of the log.", stats.silent_s
        )
        lag = self.roster.lag if self.roster.lag >= 0 else float("nan")
        yield Figure("log_lag_events", "Events of the log that it has not applied; NaN: it cannot know.", lag)
        yield Figure("log_events", "Events that the logs hold, when it last looked.", self.streams.events)
        yield Figure("events_applied_total", "Events applied to the views.", stats.applied, True)
        yield Figure("remembered_bytes", "Bytes of the newest events that it remembers.", projector.remembered_bytes)
        yield Figure("events_refused_total", "Events that lost a race.", stats.refused, True)
        yield Figure("rebuilds_total", "Views replayed because the log had changed.", stats.rebuilt, True)
        yield Figure("events_put_back_total", "Lost events appended again by it.", projector.mending.put_back, True)
        yield Figure("logs_seeded_total", "Lost logs that it seeded from memory.", projector.mending.seeded, True)

    def _writes(self) -> Iterator[Told]:
        writes = self.writes
        yield Spread("append_batch_events", "Writes that were appended together.", writes.batches)
        yield Spread("append_seconds", "Time until the store had what was appended.", writes.seconds)
        for queue, length in (
            ("writes", writes.waiting),
            ("heartbeats", self.heartbeats.gathering),
            ("watch_deliveries", self.watching.pending),
        ):
            yield Figure("queue_length", "What waits for its turn.", length, False, {"queue": queue})
        yield Figure("writes_waiting_bytes", "Events on their way to the store.", writes.waiting_bytes)

    def _instances(self) -> Iterator[Told]:
        for kind, count in self.instances.registered.items():
            labels = {"kind": kind}
            yield Figure("registrations_total", "Registrations of instances by what came of them.", count, True, labels)
        stats = self.heartbeats.stats
        for outcome, count in (
            ("renewed", stats.renewed),
            ("revived", stats.revived),
            ("remembered", stats.remembered),
            ("unknown", stats.unknown),
        ):
            labels = {"outcome": outcome}
            yield Figure("heartbeats_total", "Heartbeats by what came of them.", count, True, labels)
        yield Figure("heartbeats_remembered_total", "Heartbeats accepted without the store.", stats.remembered, True)
        yield Figure("heartbeats_waiting", "Heartbeats remembered and not delivered yet.", self.heartbeats.waiting)

    def _expiry(self) -> Iterator[Told]:
        stats, protection = self.expiry.stats, self.expiry.protection
        held = protection.held()
        yield Figure("instances_expired_total", "Instances that it expired.", stats.expired, True)
        yield Figure("expiry_latest_ms", "Longest time from a lease's end to its expiry.", stats.latest_ms)
        yield Figure("leases_rearmed_total", "Leases that started anew after a silence.", self.pulses.rearmed, True)
        yield Figure("expiry_pauses_total", "Times expiry paused for a mass lapse.", protection.pauses, True)
        yield Figure("expiry_paused_tenants", "Tenants whose expiry is paused now.", len(held))
        yield Figure("expiry_held_instances", "Lapsed instances kept by the pause.", sum(held.values()))

    def _clients(self) -> Iterator[Told]:
        yield Figure("watchers", "Websockets of consumers.", self.watching.count)
        yield Figure("feeds", "Clients that are told of events as they happen.", self.feeds.count)

    def _snapshots(self, views: Sequence[RegistryView]) -> Iterator[Told]:
        stats = self.snapshotting.stats
        yield Figure("snapshots_written_total", "Snapshots written by it.", stats.written, True)
        yield Figure("snapshot_bytes", "Size of the newest snapshot that it wrote.", stats.size)
        yield Figure("snapshot_write_seconds", "How long it took to write that one.", stats.took_ms / 1000)
        newest = [(view, self.snapshotting.newest(view.tenant)) for view in views]
        behind = [self.projector.log(view.tenant).events_since(mark) for view, mark in newest]
        yield Figure(
            "snapshot_lag_events",
            "Events since the newest snapshot, of the tenant with the most.",
            max(behind, default=0),
        )
        now_ms = self.clock.wall_ms()
        ages = [(now_ms - mark.at_ms) / 1000 for _, mark in newest if mark is not None]
        yield Figure(
            "snapshot_age_seconds",
            "Age of the newest snapshot that it knows of; NaN: of none.",
            min(ages, default=float("nan")),
        )
        yield Figure("events_trimmed_total", "Events it dropped behind snapshots.", stats.trimmed, True)
        archiving = self.snapshotting.archiving
        yield Figure(
            "archive_damaged_files",
            "Files of the archive that it could not read when it last wrote there.",
            sum(archiving.stats.damaged.values()) if archiving is not None else 0,
        )

    def _agreement(self) -> Iterator[Told]:
        stats = self.agreement.stats
        differing = len(self.snapshotting.distrusted)
        yield Figure("tenants_differing", "Tenants of which another replica holds something else.", differing)
        yield Figure("agreement_rounds_total", "Comparisons with the other replicas.", stats.rounds, True)
        help = "Tenants that had news lately and are still to be compared for it."
        yield Figure("agreement_lively_tenants", help, self.agreement.lively)
        yield Figure("differences_total", "Parts found to differ from another's.", stats.differences, True)
        yield Figure("healed_total", "Replays because of a difference.", stats.healed, True)

    def _alarms(self) -> Iterator[Told]:
        active = {alarm.id for alarm in self.alarms.current() if alarm.status == ACTIVATED}
        for name in ALARMS:
            yield Figure("alarm", "1 while the alarm is active.", float(name in active), False, {"alarm": name})


def store_figures(round_trips: RoundTrips) -> Iterator[Told]:
    """How a store answers."""
    for call, histogram in sorted(round_trips.seconds.items()):
        yield Spread("store_seconds", "Round trips to the store, by what was asked.", histogram, {"call": call})
    for call, failed in sorted(round_trips.failed.items()):
        yield Figure("store_failures_total", "Round trips that brought no answer.", failed, True, {"call": call})
