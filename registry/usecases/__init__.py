"""The operations: one function each, from a command to its outcome. They know ports, never adapters, and no HTTP."""
