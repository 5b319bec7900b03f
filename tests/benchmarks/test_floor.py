"""The floor answers, so that what is measured against it is an answer."""

from __future__ import annotations

import re
import socket

import pytest

from benchmarks import floor


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.slow
def test_the_floor_answers_every_segment_with_a_whole_response() -> None:
    """Fewer bytes would be less work than a find is."""
    port = _free_port()
    with floor.running("benchmarks.floor", port, 464), socket.create_connection(("127.0.0.1", port), 5.0) as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = b""
            while len(answer) < 464 or not answer.endswith(b"x" * 464):
                answer += client.recv(4096)
            assert re.match(rb"HTTP/1.1 200 OK\r\ncontent-length: 464\r\n\r\nx{464}\Z", answer)
