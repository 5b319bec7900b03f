"""A client of the ServiceComb v4 API: a Python service registers with it, and finds by it, without the server.

The core is functions of values: names, backoff, addresses, listing, registration, choosing, tokens, answers. Around it
stand calls (one request), api (one operation), registering, providers and watching (the loops of a service), and on
top AsyncRegistry and Registry.
"""

from registry.client.async_registry import AsyncRegistry, Options
from registry.client.errors import ClientError, Closed, NoInstance, Refused, Unreachable
from registry.client.listing import Change
from registry.client.names import ServiceName, parse_name
from registry.client.providers import Provider
from registry.client.registering import Registered
from registry.client.sync_registry import Registry
from registry.domain.model import DataCenterInfo, HealthCheck, Instance, Microservice

__all__ = [
    "AsyncRegistry",
    "Change",
    "ClientError",
    "Closed",
    "DataCenterInfo",
    "HealthCheck",
    "Instance",
    "Microservice",
    "NoInstance",
    "Options",
    "Provider",
    "Refused",
    "Registered",
    "Registry",
    "ServiceName",
    "Unreachable",
    "parse_name",
]
