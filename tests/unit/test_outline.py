"""By its outline the instances of one microservice are read from a snapshot without those of all others."""

from __future__ import annotations

import zlib
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain import snapshot
from registry.domain.events import Event
from registry.domain.fold import apply
from registry.domain.outline import Outliner, add_some, frame, pack_outline, unpack_outline
from registry.domain.position import Position
from registry.domain.snapshot import SnapshotUnreadable, take
from registry.domain.tenant import DEFAULT_TENANT
from registry.domain.unread import Part, leave_out
from registry.domain.view import RegistryView
from tests.properties.test_past import part_of
from tests.support.strategies import SERVICE_IDS, histories

LAST = b"\0the last event\xff"


@given(histories(), st.frozensets(st.sampled_from(SERVICE_IDS)), st.integers(1, 3))
def test_a_part_of_a_snapshot_is_that_of_the_whole(
    history: list[tuple[Position, Event]], read: frozenset[str], rows_max: int
) -> None:
    view = RegistryView(DEFAULT_TENANT)
    for position, event in history:
        apply(view, position, event)
    with patch.object(snapshot, "SECTION_ROWS_MAX", rows_max):
        chunks = list(take(view, LAST))
    outliner = Outliner()
    for chunk in chunks:
        outliner.add(chunk, chunk)
    outline = unpack_outline(pack_outline(outliner.outline()))
    assert outline is not None
    loader = frame(outline)
    found = loader.view()
    for service_id in read & outline.instances.keys():
        first, last = outline.instances[service_id]
        for chunk in chunks[first : last + 1]:
            add_some(found, chunk, frozenset({service_id}))
    for row in found.services.values():
        leave_out(row, Part(read, set()))
    assert loader.last == LAST
    assert part_of(found, read) == part_of(view, read)
    held = {id for id, row in view.services.items() if row.instances}
    assert outline.instances.keys() == held


@pytest.mark.parametrize("packed", [b"", b"x", zlib.compress(b"\x80"), zlib.compress(b"\xc1")])
def test_what_is_no_outline_is_none(packed: bytes) -> None:
    assert unpack_outline(packed) is None


def test_what_is_no_chunk_is_refused() -> None:
    with pytest.raises(SnapshotUnreadable):
        Outliner().add(b"\xc1", b"\xc1")
