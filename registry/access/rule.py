"""Rule: what rights an operation needs. Each row of the operation table has one."""

from __future__ import annotations

from collections.abc import Set
from enum import Enum
from typing import Final

from msgspec import Struct

from registry.domain.accounts import ANY


class Need(Enum):
    """What has to be shown."""

    NOTHING = "nothing"
    #: A token that is valid, of anybody's.
    TOKEN = "token"
    #: A token of somebody who has the right.
    RIGHT = "right"
    #: A token of somebody who has the role `admin`.
    ADMIN = "admin"


class Target(Enum):
    """What the labels of a limited right are compared with."""

    #: It is not about microservices, or about all of them: a limited right is none.
    WHOLE = "whole"
    #: The microservice whose id stands in the path. The door compares.
    SERVICE = "service"
    #: Each microservice that the query, the body or the answer holds. The handler compares (`Call.reach`).
    ELEMENTS = "elements"


class Rule(Struct, frozen=True, eq=False):
    """`resource` and `verb` name the right, where one is needed. Each is the key of what follows from it: itself."""

    need: Need
    resource: str = ""
    verb: str = ""
    target: Target = Target.WHOLE

    def applies(self, scope: Set[str]) -> bool:
        """Whether anything has to be shown, where only these resources are guarded (`*`: all of them)."""
        if self.need is Need.NOTHING:
            return False
        return self.need is not Need.RIGHT or ANY in scope or self.resource in ALWAYS or self.resource in scope


#: Resources that are guarded in every scope.
ALWAYS: Final = frozenset({"account", "role"})

OPEN: Final = Rule(Need.NOTHING)
ANYBODY: Final = Rule(Need.TOKEN)
ONLY_ADMIN: Final = Rule(Need.ADMIN)


def right(resource: str, verb: str, target: Target = Target.WHOLE) -> Rule:
    return Rule(Need.RIGHT, resource, verb, target)
