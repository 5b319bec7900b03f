"""Population: many instances of many services, named by number, so that nobody has to remember them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import workload
from benchmarks.wire import Request
from benchmarks.workload import PREFIX


@dataclass(frozen=True, slots=True)
class Population:
    """`instances` of them, `per_service` in each service (the last one may have fewer)."""

    instances: int
    per_service: int
    name: str = "fill"
    times: int = 479
    """Of the health check: the lease is 30 s × (times + 1), so four hours unless it matters."""

    @property
    def services(self) -> int:
        """How many there are."""
        return -(-self.instances // self.per_service)

    def service(self, number: int) -> str:
        """Name and id of a service."""
        return f"{PREFIX}{self.name}-{number:06d}"

    def size_of(self, service_number: int) -> int:
        """How many instances a service has."""
        return min(self.per_service, self.instances - service_number * self.per_service)

    def member(self, number: int) -> tuple[str, str]:
        """Service and instance id of an instance."""
        service = self.service(number // self.per_service)
        return service, f"{service}-{number % self.per_service:05d}"

    def registration(self, number: int, build: str = "1") -> Request:
        """The request that registers an instance; another `build` makes its content another one."""
        service, instance_id = self.member(number)
        body = workload.numbered_body(instance_id, number, build, self.times)
        return workload.register_instance(service, body)

    def some(self, count: int) -> list[tuple[str, str]]:
        """A number of members (or all), evenly spread over the whole."""
        count = min(count, self.instances)
        return [self.member(number * self.instances // count) for number in range(count)]
