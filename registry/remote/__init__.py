"""The command's remote verbs: what an operator asks of a registry, over the client."""
