"""A memo answers what it was told or nothing, stays within its bounds, and keeps what is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from registry.memo import Memo

ENTRIES_MAX = 8
BYTES_MAX = 40

keys = st.integers(0, 12)
steps = st.lists(st.tuples(keys, st.none() | st.text("ab", max_size=25)), max_size=60)


def of_value(key: int, value: str) -> int:
    return len(value)


@given(steps)
def test_a_memo_says_what_it_was_told_last_and_stays_within_bounds(told: list[tuple[int, str | None]]) -> None:
    """Without a value a step asks; forgetting is always allowed, being wrong never."""
    memo: Memo[int, str] = Memo(ENTRIES_MAX, BYTES_MAX, of_value)
    last: dict[int, str] = {}
    for key, value in told:
        if value is None:
            assert memo.get(key) in (None, last.get(key))
        elif len(value) <= BYTES_MAX // 2:
            memo.put(key, value)
            last[key] = value
            assert memo.get(key) == value
        assert len(memo) <= ENTRIES_MAX
        assert 0 <= memo.size <= BYTES_MAX
    kept = {key: found for key in last if (found := memo.get(key)) is not None}
    assert memo.size >= sum(map(len, kept.values())) - BYTES_MAX // 2  # asking may have made a generation leave


@given(st.lists(keys, min_size=1), st.integers(0, 3))
def test_what_is_asked_for_again_outlives_what_is_not(strangers: list[int], known: int) -> None:
    """A hostile client that asks something new each time does not make others lose what they repeat."""
    memo: Memo[int, str] = Memo(ENTRIES_MAX, BYTES_MAX, of_value)
    memo.put(-known, "mine")
    for number, _ in enumerate(strangers, 1):
        memo.put(number, "x")
        assert memo.get(-known) == "mine"


def test_what_is_larger_than_half_of_the_bound_is_not_kept() -> None:
    memo: Memo[int, str] = Memo(ENTRIES_MAX, BYTES_MAX, of_value)
    memo.put(1, "a")
    memo.put(2, "b")
    memo.put(2, "b" * (BYTES_MAX // 2 + 1))
    assert memo.get(2) is None
    assert memo.get(1) == "a"


def test_a_memo_tells_before_it_forgets() -> None:
    """What others hold of its entries is not counted anywhere else."""
    told: list[int] = []
    memo: Memo[int, str] = Memo(ENTRIES_MAX, BYTES_MAX, of_value, lambda: told.append(len(memo)))
    for number in range(ENTRIES_MAX):
        memo.put(number, "x")
    assert not told
    memo.put(ENTRIES_MAX, "x")
    assert told == [ENTRIES_MAX]
    assert memo.get(0) is None
    memo.clear()
    assert (len(memo), memo.size, memo.get(ENTRIES_MAX)) == (0, 0, None)
