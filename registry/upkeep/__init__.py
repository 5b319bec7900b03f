"""upkeep: the loops that run beside the answers. Expiry, pulses, snapshots, agreement between replicas, registering itself."""
