"""The archive's files and what they tell together, as values: whole or named as unreadable, never something else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from registry.archive import segment
from registry.archive.contents import EVENTS_APART, Contents, File, outlived, snapshots_wanted
from registry.archive.folder import Folder, file_name, folder_name
from registry.archive.segment import Head, Unreadable
from registry.domain.marks import ChunksDigest, Mark
from registry.domain.position import Position
from registry.domain.tenant import Tenant

TENANT = Tenant("d", "p")
payloads = st.lists(st.binary(min_size=1, max_size=400), min_size=1, max_size=60)


def events(payloads: Sequence[bytes], epoch: int = 7, first: int = 1) -> list[tuple[Position, bytes]]:
    return [(Position(epoch, first + number), payload) for number, payload in enumerate(payloads)]


def head_of(data: bytes) -> tuple[Head, int]:
    prefix = data[: segment.PREFIX_BYTES]
    length = segment.head_bytes(prefix)
    return segment.decode_head(prefix, data[segment.PREFIX_BYTES : segment.PREFIX_BYTES + length]), length


def read(data: bytes) -> list[tuple[Position, bytes]]:
    head, length = head_of(data)
    found = []
    for index, block in enumerate(head.blocks):
        start = segment.offset_of(head, length, index)
        stored = data[start : start + block.size]
        if head.names and block is head.blocks[-1]:
            segment.check_block(block, stored)
        else:
            found += segment.decode_block(block, stored)
    return found


@given(payloads)
def test_a_segment_holds_what_was_put_into_it(payloads: list[bytes]) -> None:
    some = events(payloads)
    data = segment.encode_events(TENANT, Position(7, 0), some)
    head, _ = head_of(data)
    assert read(data) == some
    assert (head.tenant, head.start, head.end, head.events) == (TENANT, Position(7, 0), some[-1][0], len(some))
    assert head.raw == sum(map(len, payloads))


def test_an_event_is_that_of_the_file_that_is_there_now(tmp_path: Path) -> None:
    """A file that was put back from a copy, or written anew after a loss, has the same name."""
    folder = Folder(tmp_path, "p", TENANT)
    for payloads in ([b"a", b"b", b"c"], [b"a", b"b", b"another c"]):
        some = events(payloads)
        folder.put(segment.encode_events(TENANT, Position(7, 0), some), "r")
        (file,) = folder.scan().files
        for _ in range(2):
            assert [folder.event(file, position) for position, _ in some] == payloads
        assert folder.event(file, Position(7, 4)) is None
        for number in range(4):
            assert folder.events(file, Position(7, number)) == some[number:]


@given(st.lists(st.integers(1, 700_000), min_size=1, max_size=6), st.data())
def test_each_event_is_found_by_the_block_that_the_head_names(sizes: list[int], data: st.DataObject) -> None:
    some = events([bytes([number]) * size for number, size in enumerate(sizes)])
    head, _ = head_of(segment.encode_events(TENANT, Position(7, 0), some))
    position = data.draw(st.sampled_from([Position(7, 0), *(position for position, _ in some)]))
    index = segment.block_behind(head, position)
    behind = [other for other, _ in some if other > position]
    assert (index is None) == (not behind)
    if index is not None:
        block = head.blocks[index]
        assert Position(7, int(block.first.split("-")[1])) <= behind[0] <= Position(7, int(block.last.split("-")[1]))


@given(payloads, st.data())
def test_a_segment_that_is_damaged_is_never_read_as_another_one(payloads: list[bytes], data: st.DataObject) -> None:
    some = events(payloads)
    whole = segment.encode_events(TENANT, Position(7, 0), some)
    if data.draw(st.booleans()):
        spoilt = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        spoilt = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with pytest.raises(Unreadable):
        read(spoilt)


def test_a_newer_format_is_refused() -> None:
    data = segment.encode_events(TENANT, Position(7, 0), events([b"x"]))
    head, _ = head_of(data)
    newer = segment.encode_file(structs.replace(head, format=segment.FORMAT + 1), [])
    with pytest.raises(Unreadable, match="format 2"):
        head_of(newer)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5))
def test_a_snapshot_is_kept_as_the_store_had_it(chunks: list[bytes]) -> None:
    digest = ChunksDigest()
    for chunk in chunks:
        digest.add(chunk)
    mark = Mark(1, 7, 3, len(chunks), digest.size, digest.digest(), 12_345, "r")
    data = segment.encode_snapshot(TENANT, mark, chunks)
    head, length = head_of(data)
    assert (head.mark, head.end, head.moment_ms) == (mark, Position(7, 3), 12_345)
    parts = []
    for index, block in enumerate(head.blocks):
        start = segment.offset_of(head, length, index)
        parts.append(segment.check_block(block, data[start : start + block.size]))
    assert parts == chunks


@given(st.text(min_size=1, max_size=300))
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    folder = folder_name(name)
    assert "/" not in folder
    assert folder not in (".", "..")
    assert len(folder.encode()) <= 255


def test_names_are_in_the_order_of_the_log() -> None:
    heads = [_segment(7, 0, 9), _segment(7, 9, 10), _segment(7, 10, 1000), _segment(11, 0, 1)]
    names = [file_name(file.head) for file in heads]
    assert names == sorted(names)


# -- what files tell together ------------------------------------------------------------------------------------------


def _segment(epoch: int, after: int, last: int, moment_ms: int = 0, size: int = 100) -> File:
    places = Position(epoch, after).text(), Position(epoch, last).text()
    head = Head(1, "events", "d", "p", *places, last - after, moment_ms, 0, [])
    return File(f"{epoch}-{after}_{last}", size, 0, head)


def _snapshot(epoch: int, at: int, moment_ms: int = 0, size: int = 10) -> File:
    mark = _mark(epoch, at, size)
    place = mark.position.text()
    return File(f"{epoch}-{at}", size, 0, Head(1, "snapshot", "d", "p", place, place, 0, moment_ms, 0, [], mark))


def _mark(epoch: int, at: int, size: int = 10) -> Mark:
    return Mark(1, epoch, at, 1, size, b"", 0)


cuts = st.lists(st.integers(1, 40), min_size=1, max_size=8, unique=True).map(sorted)


@given(cuts, st.sets(st.integers(0, 7)))
def test_the_chain_is_what_reaches_the_end_without_a_gap(cuts: list[int], missing: set[int]) -> None:
    """Against the events that the files hold, counted one by one."""
    places = [0, *cuts]
    files = [
        _segment(7, a, b) for number, (a, b) in enumerate(zip(places, cuts, strict=False)) if number not in missing
    ]
    contents = Contents(files)
    held = {number for file in files for number in range(file.head.start.sequence + 1, file.head.end.sequence + 1)}
    end = contents.end()
    assert end == (Position(7, max(held)) if held else None)
    if end is None:
        assert contents.begins() is None
        return
    first = end.sequence
    while first - 1 in held:
        first -= 1
    assert contents.begins() == Position(7, first - 1)
    for number in range(45):
        file = contents.with_next(Position(7, number))
        assert (file is not None) == (number < end.sequence)
        if file is not None:
            assert file.head.start.sequence <= max(number, first - 1) < file.head.end.sequence


@given(cuts, st.sets(st.integers(0, 7)), st.sets(st.integers(0, 45)))
def test_parts_are_what_has_no_gap(cuts: list[int], missing: set[int], at: set[int]) -> None:
    """Each event is in one of them, and so is each snapshot that can be followed; newest first."""
    places = [0, *cuts]
    files = [
        _segment(7, a, b) for number, (a, b) in enumerate(zip(places, cuts, strict=False)) if number not in missing
    ]
    parts = Contents([*files, *(_snapshot(7, place) for place in at)]).parts()
    held = {number for file in files for number in range(file.head.start.sequence, file.head.end.sequence)}
    told = [number for part in parts for number in reversed(range(_begin(part), _end(part)))]
    assert told == sorted(held, reverse=True)
    for newer, older in pairwise(parts):
        assert _end(older) < _begin(newer)
    for part in parts:
        marks = [mark.sequence for mark in part.marks()]
        assert marks == sorted((place for place in at if _begin(part) <= place <= _end(part)), reverse=True)


def _begin(part: Contents) -> int:
    begins = part.begins()
    assert begins is not None
    return begins.sequence


def _end(part: Contents) -> int:
    end = part.end()
    assert end is not None
    return end.sequence


@given(cuts, st.lists(st.integers(0, 45), unique=True, max_size=6))
def test_marks_are_those_from_which_the_chain_can_be_followed(cuts: list[int], at: list[int]) -> None:
    places = [0, *cuts]
    files = [_segment(7, a, b) for a, b in zip(places, cuts, strict=False)] + [_snapshot(7, place) for place in at]
    found = [mark.position.sequence for mark in Contents(files).marks()]
    assert found == sorted((place for place in at if place <= cuts[-1]), reverse=True)


def test_overlapping_segments_are_one_chain() -> None:
    """Two replicas may have archived the same stretch."""
    contents = Contents([_segment(7, 0, 10), _segment(7, 0, 6), _segment(7, 6, 12), _segment(7, 10, 20)])
    assert contents.begins() == Position(7, 0)
    for number in range(20):
        assert contents.with_next(Position(7, number)) is not None


def test_a_snapshot_is_wanted_first_and_then_after_as_many_bytes_as_it_has() -> None:
    segments = [_segment(7, n, n + 10, size=100) for n in range(0, 100, 10)]
    marks = [_mark(7, n, size=250) for n in range(0, 110, 10)]
    wanted = snapshots_wanted(Contents(segments), marks, Position(7, 100))
    assert [mark.sequence for mark in wanted] == [0, 30, 60, 90]
    again = snapshots_wanted(Contents([*segments, _snapshot(7, 90)]), marks, Position(7, 100))
    assert again == []


def test_snapshots_are_wanted_as_far_apart_wherever_segments_end() -> None:
    """An archive that is written late has long segments, and marks in the midst of them."""
    places = [EVENTS_APART // 2 * number + 1 for number in range(9)]
    contents = Contents([_segment(7, 0, places[-1], size=10)])
    wanted = snapshots_wanted(contents, [_mark(7, place, size=1 << 30) for place in places], Position(7, places[-1]))
    assert [mark.sequence for mark in wanted] == places[::2]


@given(cuts, st.integers(0, 2000), st.integers(0, 60))
def test_what_goes_leaves_all_that_has_to_stay(cuts: list[int], max_bytes: int, age: int) -> None:
    places = [0, *cuts]
    segments = [_segment(7, a, b, moment_ms=b, size=100) for a, b in zip(places, cuts, strict=False)]
    snapshots = [_snapshot(7, place, moment_ms=place, size=20) for place in places]
    contents = Contents([*segments, *snapshots])
    now = 60
    going = outlived(contents, now, age, max_bytes)
    staying = [file for file in contents.files if file not in going]
    left = Contents(staying)
    assert left.marks(), "what stays begins with a snapshot"
    begins = left.begins()
    assert begins is None or left.marks()[-1].position >= begins
    for file in going:
        if file.head.kind == "events":
            is_old = age and now - file.head.moment_ms > age
            assert is_old or contents.size - sum(f.size for f in going if f.head.end < file.head.end) > max_bytes
    if not age:
        # As much went as could: the newest snapshot stays, and what holds its place.
        assert left.size <= max_bytes or len(left.snapshots) == 1
