"""The operations: one function each, from a request body to its outcome.

They know ports, never adapters, and no HTTP.
"""
