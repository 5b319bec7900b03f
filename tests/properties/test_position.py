"""Positions are totally ordered, as Redis orders the ids of a stream, and survive being written down."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry.domain.position import ORIGIN, Position, parse_position

numbers = st.integers(0, 3) | st.integers(0, 2**64 - 1)
positions = st.builds(Position, numbers, numbers)


@given(positions)
def test_a_position_that_is_written_and_read_is_the_same(position: Position) -> None:
    """Clients send positions back to wait for their own writes."""
    assert parse_position(position.text()) == position
    assert parse_position(position.text().encode()) == position


@given(positions, positions)
def test_positions_order_by_history_first_and_by_sequence_within_it(one: Position, other: Position) -> None:
    """Every event of a later history is after every event of a lost one, whatever their numbers."""
    expected = one.sequence < other.sequence if one.epoch == other.epoch else one.epoch < other.epoch
    assert (one < other) == expected
    assert [one < other, one == other, one > other].count(True) == 1


@given(positions)
def test_next_is_the_smallest_greater_position_of_the_same_history(position: Position) -> None:
    """A gap in the log is told from nothing new by this."""
    following = position.next()
    assert following > position
    assert (following.epoch, following.sequence) == (position.epoch, position.sequence + 1)
    assert position >= ORIGIN


@given(st.text("0123456789-+ x²", max_size=24) | st.text(max_size=6))
@example("1-2-3")
@example("1")
@example("-1")
@example("1-")
@example(" 1-1")
@example("1-1\n")
@example("18446744073709551616-0")
@example("0-18446744073709551616")
@example("0" * 5000 + "-1")
def test_a_text_is_a_position_or_a_value_error(text: str) -> None:
    """The position header comes from clients: garbage must be told as such, not crash."""
    try:
        position = parse_position(text)
    except ValueError:
        return
    epoch, sequence = text.split("-")
    assert epoch.isascii()
    assert sequence.isascii()
    assert (position.epoch, position.sequence) == (int(epoch), int(sequence))
    assert max(position.epoch, position.sequence) < 2**64


@given(st.binary(max_size=8))
def test_bytes_are_a_position_or_a_value_error(raw: bytes) -> None:
    """Headers arrive as bytes, not all of them ASCII."""
    try:
        position = parse_position(raw)
    except ValueError:
        return
    assert parse_position(raw.decode("ascii")) == position


@pytest.mark.parametrize("text", ["٣-1", "1-²", "0x1-1", "1_0-1", "+1-1"])
def test_numbers_that_only_python_reads_are_no_positions(text: str) -> None:
    """`int()` is more generous than the wire."""
    with pytest.raises(ValueError):
        parse_position(text)
