"""Who may do what: accounts, roles, rights, tokens, passwords, lock-out. Values in, values out."""
