"""Aliases: the name behind one that a batch find does not know, where a registry resolves aliases elsewhere."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from registry.client.api import Api, FindResult, Found, Unknown
from registry.client.calls import steady
from registry.client.errors import SERVICE_NOT_EXISTS, ClientError
from registry.client.names import ServiceName

#: Seconds after which a name that is no alias is looked up again, and the names that are looked up after one poll.
AGAIN_S: Final = 60.0
LOOKED_UP_MAX: Final = 10


class Aliases:
    """The reference resolves an alias in a find, and not in a batch find (api-rules.md 3.6, 3.8)."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._real: dict[ServiceName, ServiceName] = {}
        self._again_at: dict[ServiceName, float] = {}

    def real(self, name: ServiceName) -> ServiceName:
        """What to ask for in a batch find."""
        return self._real.get(name, name)

    async def resolve(
        self, results: list[tuple[ServiceName, FindResult]], consumer: str
    ) -> list[tuple[ServiceName, FindResult]]:
        """The results of a poll, where those of aliases are what a find says."""
        unknown = [name for name, result in results if is_unknown(result)]
        for name in unknown:
            if self._real.pop(name, None) is not None:
                self._again_at.pop(name, None)  # the service behind it has gone: there may be another one
        due = [name for name in unknown if self._again_at.get(name, 0.0) <= steady()][:LOOKED_UP_MAX]
        found = {name: result for name in due if (result := await self._look_up(name, consumer)) is not None}
        names = {name for name, _ in results}
        self._again_at = {name: at for name, at in self._again_at.items() if name in names}
        return [(name, found.get(name, result)) for name, result in results]

    async def _look_up(self, name: ServiceName, consumer: str) -> Found | None:
        self._again_at[name] = steady() + AGAIN_S
        try:
            result = await self._api.find(name, "", consumer)
            if not isinstance(result, Found) or not result.instances:
                return None
            service = await self._api.service(result.instances[0].service_id)
        except ClientError:
            return None
        self._real[name] = replace(name, name=service.service_name)
        return result


def is_unknown(result: FindResult) -> bool:
    """Whether the registry knows no such name."""
    return isinstance(result, Unknown) and result.error.code == SERVICE_NOT_EXISTS
