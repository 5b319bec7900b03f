"""A batch tells each of its waiters what came of it, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from registry.domain.errors import StoreUnavailable
from registry.usecases.grouping import Group

pytestmark = pytest.mark.anyio


class Broken:
    """Cannot be told of anything."""

    def done(self) -> bool:
        return False

    def set_result(self, result: int, /) -> None:
        raise ValueError("broken")

    def set_exception(self, exception: Exception, /) -> None:
        raise ValueError("broken")


@pytest.mark.parametrize("fails", [False, True], ids=["a result", "a failure"])
async def test_one_that_cannot_be_told_costs_only_itself(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def flush(items: Sequence[int]) -> Sequence[int]:
        if fails:
            raise StoreUnavailable("away")
        return items

    group = Group[int, int](flush, 10, 1, 10)
    group.put_for(1, Broken())
    other = group.put(2)
    await asyncio.wait([other], timeout=1)
    assert (str(other.exception()) if fails else other.result()) == ("away" if fails else 2)
    assert "could not be told" in caplog.text
