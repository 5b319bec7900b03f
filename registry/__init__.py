"""A service registry that speaks the ServiceComb v4 API, event-sourced on Redis Streams.

The event log is the only truth; a view is the fold of the log; every answer is a plain function of a view.

Layers, each importing only those before it:
`domain` (pure) < `access` (who may do what: pure too) < `store` (log and leases: one port, two adapters) <
`projection` (the projector) < `usecases` (one function per operation) < `archive` (what the logs no longer hold, in
files) < `upkeep` (the loops beside them) < `history` (what happened, and what was at any moment) < `metrics` (what a
replica says of itself in numbers) < `http_api` (the operation table, the door, the handlers) < `console` (pages for
people) < `serving` (connections, and the short way for hot requests) < `running` (processes) < `cli`.
Beside them stand `client`, the client of this API, which knows the domain, and `remote`, the command's remote verbs,
which knows the client; of the layers only `cli` knows them.

Reading order: domain/events, domain/fold, domain/find, store/port, projection/projector, usecases/instances,
upkeep/expiry, http_api/operations, http_api/door, serving/connection, serving/lane, running/replica.
"""

__version__ = "0.1.0"
