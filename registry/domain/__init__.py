"""The rules, as functions of values: no clock, no randomness, no I/O, no third party but msgspec."""
