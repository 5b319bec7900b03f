"""Connection: whatever pieces an answer comes in, it is read as the same answer."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.connection import Connection, whole_reply
from tests.benchmarks.fake_server import reply


class Listener:
    """Notes what the connection tells its owner."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.heads: list[bytes] = []

    def answered(self, connection: Connection, status: int, head: bytes, body: bytes) -> None:
        self.answers.append((status, body))
        self.heads.append(head)

    def lost(self, connection: Connection) -> None:
        raise AssertionError("the connection was not lost")


def chunked(body: bytes, size: int) -> bytes:
    """As Go's servers send what is longer than their buffer."""
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    parts = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Rev: 7\r\n\r\n" + parts + b"0\r\n\r\n"


def feed(data: bytes, cuts: list[int]) -> Listener:
    listener = Listener()
    connection = Connection(listener)
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    for start, end in pairwise(places):
        connection.data_received(data[start:end])
    return listener


@given(st.binary(max_size=300), st.booleans(), st.integers(1, 50), st.lists(st.integers(0, 10_000), max_size=6))
def test_answer_is_read_whole_from_any_pieces(body: bytes, in_chunks: bool, size: int, cuts: list[int]) -> None:
    """Large finds arrive in many pieces; a benchmark that loses one would call the registry wrong."""
    data = chunked(body, size) if in_chunks else reply(200, body, b"X-Rev: 7")
    listener = feed(data, cuts)
    assert listener.answers == [(200, body)]
    assert b"\r\nX-Rev: 7" in listener.heads[0]


@given(st.lists(st.integers(0, 10_000), max_size=3))
def test_not_modified_has_no_body(cuts: list[int]) -> None:
    """A 304 ends with its head, whatever its headers say."""
    data = b"HTTP/1.1 304 Not Modified\r\nX-Rev: 7\r\n\r\n"
    assert feed(data, cuts).answers == [(304, b"")]


def test_incomplete_and_unusual_answers_are_left_to_the_parser() -> None:
    """The fast way must only take what it is sure of."""
    whole = reply(200, b"abc")
    assert whole_reply(whole) is not None
    assert whole_reply(whole[:-1]) is None
    assert whole_reply(whole + b"x") is None
    assert whole_reply(chunked(b"abc", 3)) is None
