"""Figures: what a replica has to say of itself in numbers."""

from __future__ import annotations

from collections.abc import Sequence

from registry.domain.tenant import ACCOUNTS
from registry.metrics.figure import Figure
from registry.projection.projector import Projector
from registry.upkeep.agreement import Agreement
from registry.upkeep.expiry import Expiry
from registry.upkeep.pulses import Pulses
from registry.upkeep.snapshotting import Snapshotting
from registry.usecases.discovery import Discovery
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.watching import Watching


def figures(
    projector: Projector,
    expiry: Expiry,
    pulses: Pulses,
    heartbeats: Heartbeats,
    snapshotting: Snapshotting,
    agreement: Agreement,
    watching: Watching,
    discovery: Discovery,
    lines_dropped: int,
) -> Sequence[Figure]:
    """All of them, as of now. Names are without the prefix `registry_`."""
    log, tenants = projector.stats(), [tenant for tenant in projector.tenants if tenant != ACCOUNTS]
    views = [projector.view(tenant) for tenant in tenants]
    protection = expiry.protection
    return (
        Figure("tenants", "Tenants that this replica follows.", len(tenants)),
        Figure("tenants_set_aside", "Tenants whose data in the store are damaged.", len(projector.aside.tenants)),
        Figure("services", "Service versions in its views.", sum(len(view.services) for view in views)),
        Figure("instances", "Instances in its views.", sum(view.instance_count for view in views)),
        Figure(
            "held_bytes", "Bytes that its views hold, as quotas count them.", sum(view.held_bytes for view in views)
        ),
        Figure("dependencies_left_out_total", "Not recorded by finds: a quota was full.", discovery.left_out, True),
        Figure("store_refuses_writes", "1 while the store takes no writes.", float(projector.refusing.lasts)),
        Figure("watchers", "Websockets of consumers.", watching.count),
        Figure("store_silent_seconds", "Since the store last answered the reader of the log.", log.silent_s),
        Figure("events_applied_total", "Events applied to the views.", log.applied, True),
        Figure("remembered_bytes", "Of the newest events that it remembers.", projector.remembered_bytes),
        Figure("events_refused_total", "Events that lost a race.", log.refused, True),
        Figure("rebuilds_total", "Views replayed because the log had changed.", log.rebuilt, True),
        Figure("events_put_back_total", "Lost events appended again by it.", projector.mending.put_back, True),
        Figure("logs_seeded_total", "Lost logs that it seeded from memory.", projector.mending.seeded, True),
        Figure("instances_expired_total", "Instances that it expired.", expiry.stats.expired, True),
        Figure("expiry_latest_ms", "Longest time from a lease's end to its expiry.", expiry.stats.latest_ms),
        Figure("leases_rearmed_total", "Leases that started anew after a silence.", pulses.rearmed, True),
        Figure("expiry_pauses_total", "Times expiry paused for a mass lapse.", protection.pauses, True),
        Figure("expiry_paused_tenants", "Tenants whose expiry is paused now.", len(protection.held())),
        Figure("expiry_held_instances", "Lapsed instances kept by the pause.", sum(protection.held().values())),
        Figure("heartbeats_remembered_total", "Accepted without the store.", heartbeats.stats.remembered, True),
        Figure("heartbeats_waiting", "Remembered and not delivered yet.", heartbeats.waiting),
        Figure("snapshots_written_total", "Snapshots written by it.", snapshotting.stats.written, True),
        Figure("snapshot_bytes", "Size of the newest one that it wrote.", snapshotting.stats.size),
        Figure("events_trimmed_total", "Events it dropped behind snapshots.", snapshotting.stats.trimmed, True),
        Figure("agreement_rounds_total", "Comparisons with the other replicas.", agreement.stats.rounds, True),
        Figure("differences_total", "Parts found to differ from another's.", agreement.stats.differences, True),
        Figure("log_lines_dropped_total", "Lines of its log that were not read in time.", lines_dropped, True),
        Figure("healed_total", "Replays because of a difference.", agreement.stats.healed, True),
    )
