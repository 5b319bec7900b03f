"""Fuzz: generated and mutated requests over real sockets. None may be answered 500 or more, or not at all.

`requests` and `bodies` make requests that mean something, `mutations` spoil them, `client` sends them in every way
and judges what comes back, `world` runs the registries and looks at their memory and their logs.
"""
