"""Soundness: whether what stands under a tenant's keys can be what the registry has put there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from registry.domain.position import Position, parse_position
from registry.store.damage import Condition, KeyName

#: The type of Redis that each key of a tenant holds. The order is that in which they are complained of.
TYPES: Final[Mapping[KeyName, str]] = {
    "events": "stream",
    "head": "string",
    "snapshots": "hash",
    "beats": "stream",
    "pulse": "string",
    "rearming": "string",
    "holder": "string",
    "states": "hash",
}
#: The same of the list of tenants.
LIST_TYPES: Final[Mapping[KeyName, str]] = {"tenants": "set", "tenants_log": "stream"}


def mistyped(held: str, must: str) -> str:
    return f"it is a {held} and must be a {must}"


def complaint(condition: Condition) -> tuple[KeyName, str, str] | None:
    """What is wrong first of all: the key, its entry or "", and the reason. None: nothing."""
    for name, held in condition.wrong.items():
        return name, "", mistyped(held, TYPES[name])
    return log_complaint(condition)


def log_complaint(condition: Condition) -> tuple[KeyName, str, str] | None:
    """The same of log and head alone, which change together: after every write the head names the newest entry."""
    head, newest, last = condition.head, condition.newest, condition.last
    if not head:
        return ("head", "", f"it is missing, and the log ends at {newest}") if newest else None
    at = read_position(head)
    if at is None:
        return "head", "", f"it holds {head[:64]!r}, which is no position"
    if not newest:
        return "events", "", f"the log is empty, and its head says {head}"
    if parse_position(newest) > at:
        return "events", newest, f"the entry stands beyond the log's head {head}"
    if newest != head:
        return "head", "", f"it says {head}, and the log ends at {newest}"
    if last != head:
        return "events", "", f"its last id is {last}, beyond its head {head}, so that nothing can be appended"
    return None


def read_position(text: str | bytes) -> Position | None:
    """The position that is written there, if it is one."""
    try:
        return parse_position(text)
    except (ValueError, UnicodeDecodeError):
        return None
