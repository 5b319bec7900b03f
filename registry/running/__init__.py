"""Running: replicas as processes - the server beside its loops, the private Redis, several workers on one port."""
