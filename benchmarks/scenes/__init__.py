"""The scenes, in the order in which they run: small ones, ones with a registry of their own, ones on the filled one.

Each module asks a related set of questions; `catalogue` lists them all.
"""
