"""Listening: who comes second at a port is told so."""

from __future__ import annotations

import pytest

from registry.running.listening import close, listen, listening_sockets
from registry.running.private_redis import CannotStart
from registry.settings import Settings


def test_of_two_that_start_at_the_same_moment_the_second_is_told() -> None:
    """Both are given the port, for nobody listens there yet."""
    first = listening_sockets(Settings(port=0), share=False)
    port = first["http"].getsockname()[1]
    second = listening_sockets(Settings(port=port), share=False)
    try:
        listen(first)
        with pytest.raises(CannotStart, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use; another"):
            listen(second)
    finally:
        close(first)
        close(second)
