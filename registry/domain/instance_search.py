"""instance_search: instances by a part of their host name, of an address, or of their id.

Finds answer what a consumer may call; this answers a person who has an address from a log and asks whose it is.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from registry.domain.drawing import draw
from registry.domain.service_reads import is_shared
from registry.domain.steps import Steps, some_at_a_time
from registry.domain.view import Covers, RegistryView

#: Instances in one answer; the others are counted.
FOUND_MAX: Final = 500
#: Letters of what is asked for.
TEXT_MAX: Final = 256


class _Told(Struct, rename="camel", gc=False):
    """What an instance tells of itself that is looked at."""

    instance_id: str = ""
    host_name: str = ""
    endpoints: list[str] = []
    status: str = ""


_told = msgspec.json.Decoder(_Told).decode


def search(view: RegistryView, text: str, status: str, hidden: frozenset[str], covers: Covers | None = None) -> Steps:
    """`{"instances":[…],"total":n}`: the first of those that have all words of the text, in whatever letter case.

    Args:
        text: words, each of which must stand in the id, the host name or an endpoint.
        status: only instances of this status; "": of every one.
        hidden: names in application `default` that are left out.
        covers: which microservices are looked at; None: all.
    """
    words = text.lower().split()
    found: list[bytes] = []
    total = 0
    for row in draw(view):
        if is_shared(row.service, hidden) or not (covers is None or covers(*row.group.key)):
            continue
        for some in some_at_a_time(row.instances.values()):
            size = 0
            for instance in some:
                told = _told(instance.body)
                if status in ("", told.status) and _has(told, words):
                    total += 1
                    if total <= FOUND_MAX:
                        found.append(instance.body)
                        size += len(instance.body)
            yield size
    return [b'{"instances":[', b",".join(found), b'],"total":%d}' % total]


def _has(told: _Told, words: list[str]) -> bool:
    text = "\n".join((told.instance_id, told.host_name, *told.endpoints)).lower()
    return all(word in text for word in words)
