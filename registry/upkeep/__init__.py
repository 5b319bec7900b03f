"""upkeep: the loops beside the answers. Expiry, pulses, snapshots, agreement of replicas, registering itself."""
