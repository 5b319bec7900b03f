"""Shared parts: clients that are told the same are sent the same bytes, which are in memory once."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.http_api.shared_parts import BODY_MIN_BYTES, PART_MIN_BYTES, shared
from registry.serving.connection import Connection
from registry.store.memory_server import MemoryServer
from tests.support.memory_replica import run, virtual_ms
from tests.support.wires import BATCH, BLOCK, Lane, Wire, fill, register, whole

PARTS: Final = st.lists(st.integers(0, 2 * PART_MIN_BYTES).map(lambda size: memoryview(b"x" * size)))


@given(PARTS)
def test_the_bytes_are_the_same_and_large_parts_are_not_copied(parts: list[memoryview]) -> None:
    begin, more = shared(parts)
    assert b"".join((begin, *more)) == b"".join(parts)
    large = [part for part in parts if len(part) >= PART_MIN_BYTES]
    assert [part for part in more if isinstance(part, memoryview)] == large
    assert all(kept is part for kept, part in zip((p for p in more if isinstance(p, memoryview)), large, strict=True))
    assert len(more) <= 2 * len(large) + 1


class Watched(Wire):
    """Remembers what it was given, as it was given."""

    def __init__(self, protocol: Any) -> None:
        self.given: list[Any] = []
        super().__init__(protocol)

    def write(self, data: Any) -> None:
        self.given.append(data)
        super().write(data)

    def writelines(self, parts: Any) -> None:
        self.given += parts
        super().write(b"".join(parts))

    @property
    def copied(self) -> int:
        """Bytes that are this client's alone."""
        return sum(len(part) for part in self.given if not isinstance(part, memoryview))

    @property
    def owners(self) -> list[int]:
        return [id(part.obj) for part in self.given if isinstance(part, memoryview)]


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("rev", ["", "other"], ids=["first", "changed"])
def test_large_batch_answers_are_shared_by_all_who_ask(fast: bool, rev: str) -> None:
    """Else a hundred clients that do not read are a hundred copies (REGISTRY_UNSENT_MAX_BYTES)."""

    async def main() -> None:
        lane = Lane(MemoryServer(virtual_ms), fast)
        await lane.replica.projector.start()
        await fill(lane)
        for number in range(3):
            await register(lane, "cart", f"large{number}", properties={"p": "x" * 50_000})
        names, held = ("empty", "cart"), {"rev": rev} if rev else {}
        named = ({"appId": "shop", "serviceName": name, "version": "0+"} for name in names)
        services = [{"service": service, **held} for service in named]
        body = json.dumps({"services": services}, separators=(",", ":")).encode()
        wires, before = [], lane.hot.recognised
        for _ in range(2):
            wire = Watched(Connection(lane.shared, asyncio.get_running_loop()))
            answer = await lane.say(wire, whole(b"POST", BATCH, BLOCK, body))
            head, _, told = answer.partition(b"\r\n\r\n")
            assert len(told) > BODY_MIN_BYTES
            assert b"Content-Length: %d\r\n" % len(told) in head + b"\r\n"
            first, second = json.loads(told)["services"]["updated"]
            assert ("instances" in first, len(second["instances"])) == (False, 15)
            assert wire.copied < 2000
            wires.append(wire)
        assert lane.hot.recognised - before == (2 if fast else 0)
        assert wires[0].owners == wires[1].owners != []

    run(main)
