"""A stop that arrives where exceptions are swallowed is not lost."""

from __future__ import annotations

import signal

import pytest

from registry.running.held_signals import held_signals


class Interrupted:
    """Ctrl-C is pressed while it is thrown away, where Python ignores whatever is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_counts_at_every_moment() -> None:
    """The start of a private Redis went on, and nothing ever asked again."""
    hurried: list[bool] = []
    reached: list[bool] = []

    def work() -> None:
        with held_signals(lambda: hurried.append(True)):
            Interrupted()
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached, "what is under way ends in order"
    assert hurried, "but it is told to hurry"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_nothing_is_raised_where_nothing_came() -> None:
    with held_signals(lambda: pytest.fail("nobody has asked for a stop")):
        pass


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """A shell that runs it in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_signals(lambda: pytest.fail("it is ignored")):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
