"""The store: each tenant's log and leases, which change together in atomic steps. One port, two adapters.

Log and leases are one room because one atomic step touches both: an instance is appended with its lease granted, and
expired only where the lease is really gone (decisions/0002).
"""
