"""Who may do what: rights, tokens, passwords, lock-out. Values in, values out."""
