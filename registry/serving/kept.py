"""Kept: what was answered to a request, and what that rests on. As long as it holds, the same is answered again."""

from __future__ import annotations

from msgspec import Struct

from registry.domain.tenant import Tenant
from registry.domain.view import GroupKey, Standing
from registry.http_api.shared_parts import Parts
from registry.usecases.discovery import Asker, Discovery


class Fact(Struct, gc=False):
    """What an answer says of one microservice name."""

    #: Whether it is still true. It does not hold where nobody knows how long it is.
    standing: Standing
    #: As dependencies name the provider; None: it is not recorded who finds it.
    key: GroupKey | None


class Said(Fact, gc=False):
    """The response of a find to one kind of consumer.

    Its bytes name the time and a position, and are made anew when these have changed. Positions are compared by
    identity, for each change makes another. The answer itself is not held: it may be large, and out of date.
    """

    status: int
    #: Bytes of the body.
    sent: int
    response: Parts
    #: What stands in it before the lines of every answer, between them and the position, and after that.
    around: tuple[bytes, bytes, bytes]
    lines: bytes
    position: bytes
    #: `Discovery.changes` at which the position was seen to be the present one.
    changes: int

    def renew(self, lines: bytes, position: bytes) -> None:
        """Say the same with these lines and at this position."""
        before, between, after = self.around
        self.response = (b"".join((before, lines, between, position, after)),)
        self.lines, self.position = lines, position


class Kept(Struct, gc=False):
    """What the answer to one request rests on. `kind`: that of the consumer (`Asker.kind`)."""

    kind: tuple[object, ...]
    facts: tuple[Fact, ...]
    #: `Discovery.changes` at which all this was seen to hold.
    changes: int

    def holds(self, discovery: Discovery, tenant: Tenant, consumer_id: str) -> bool:
        """Whether the same would be answered now to the same request."""
        asker = discovery.asker(tenant, consumer_id)
        if asker is None or not self.holds_for(asker):
            return False
        self.changes = discovery.changes
        return True

    def holds_for(self, asker: Asker) -> bool:
        """Whether the same would be answered now to this consumer, and nothing is to be recorded of it."""
        if asker.kind != self.kind:
            return False
        found = asker.found
        for fact in self.facts:
            if not fact.standing.holds:
                return False
            if found is not None and fact.key is not None and fact.key not in found:
                return False
        return True
