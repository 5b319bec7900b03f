"""archive: what is trimmed from the logs, in files that all replicas see. The format stands in docs/archive.md."""
