"""Retold: what a log that lost events tells again, as an event writes it."""

from __future__ import annotations

from msgspec import Struct


class Retold(Struct, frozen=True, array_like=True, gc=False):
    """A microservice, or an instance of it, of which who was told the lost events may hold what is not so.

    `service`: environment, application, name, version. `undone`: events about it that were lost and are not put back,
    the newest ones, as position and kind. Without ids: events that are about no microservice.
    """

    service_id: str
    instance_id: str
    service: tuple[str, str, str, str]
    undone: list[tuple[str, str]] = []
