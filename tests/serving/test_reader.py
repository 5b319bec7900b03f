"""The reader tells the same requests, however their bytes are cut, and whatever upgrade they offer."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.serving.reader import BadRequest, Head, Reader
from registry.settings import HEAD_MAX_BYTES

UPGRADE = [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"HTTP2-Settings", b"AAMA")]


class Request(NamedTuple):
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    chunked: bool

    def text(self, *more: tuple[bytes, bytes]) -> bytes:
        headers = [(b"Host", b"h"), *self.headers, *more]
        if self.chunked:
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif self.body:
            headers.append((b"Content-Length", b"%d" % len(self.body)))
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (self.method, self.target, head, self._framed())

    def _framed(self) -> bytes:
        if not self.chunked:
            return self.body
        chunks = [self.body[at : at + 7] for at in range(0, len(self.body), 7)]
        return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


class Told:
    """What a reader tells."""

    def __init__(self) -> None:
        self.requests: list[list[object]] = []
        self.begun = self.read = 0

    def request_begun(self) -> None:
        self.begun += 1

    def head_read(self, head: Head) -> None:
        own = [header for header in head.headers if header[0].startswith(b"X-")]
        self.requests.append([head.method, head.path, head.query, own, b""])

    def body_read(self, chunk: bytes) -> None:
        body = self.requests[-1][4]
        assert isinstance(body, bytes)
        self.requests[-1][4] = body + chunk

    def request_read(self) -> None:
        self.read += 1


token = st.text("abcXYZ019-", min_size=1, max_size=8).map(str.encode)
requests = st.builds(
    Request,
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"]),
    st.builds(lambda path, query: b"/" + path + (b"?" + query if query else b""), token, token | st.just(b"")),
    st.lists(st.tuples(token.map(b"X-".__add__), token), max_size=3),
    st.binary(max_size=40),
    st.booleans(),
)


def tell(data: bytes, cuts: list[int]) -> Told:
    told = Told()
    reader = Reader(told)
    for start, end in itertools.pairwise(sorted({0, len(data), *(cut % len(data) for cut in cuts)})):
        assert reader.feed(data[start:end]) is None
    assert reader.between
    assert told.read == len(told.requests) <= told.begun  # one that offers an upgrade is begun twice
    return told


@given(
    st.lists(st.tuples(requests, st.booleans()), min_size=1, max_size=5), st.lists(st.integers(0, 5000), max_size=12)
)
def test_requests_are_told_whole_and_in_order(asked: list[tuple[Request, bool]], cuts: list[int]) -> None:
    data = b"".join(request.text(*(UPGRADE if upgrade else ())) for request, upgrade in asked)
    expected = []
    for request, _ in asked:
        path, _, query = request.target.partition(b"?")
        expected.append([request.method, path, query, request.headers, request.body])
    assert tell(data, cuts).requests == expected


@given(requests)
def test_trailers_are_no_headers(request: Request) -> None:
    """Else who sends a body may choose the tenant after everything was checked."""
    text = request._replace(chunked=True).text()
    told = tell(text.removesuffix(b"\r\n") + b"X-Domain-Name: evil\r\n\r\n", [])
    assert told.requests[0][3] == request.headers


def test_websocket_is_handed_over_with_what_came_behind_it() -> None:
    head = b"GET /w?a HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, WebSocket\r\nConnection: upgrade\r\n\r\n"
    found = Reader(Told()).feed(head + b"\x81\x00")
    assert found is not None
    assert (found[0].path, found[0].query, found[1]) == (b"/w", b"a", b"\x81\x00")


@pytest.mark.parametrize(
    "sent", [b"X", b"GET /", b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"GET / HTTP/1.1\r\nHost: h\r\n"]
)
def test_head_without_an_end_is_too_large_some_time(sent: bytes) -> None:
    reader = Reader(Told())
    if sent != b"X":
        assert reader.feed(sent) is None
    more = b"X: " + b"a" * 995 + b"\r\n" if sent.endswith(b"\r\n") else b"a" * 1000
    with pytest.raises(BadRequest) as refused:
        list(map(reader.feed, [more] * (2 * HEAD_MAX_BYTES // 1000)))
    expected = (b"HTTP/1.1 431 ", b"HTTP/1.1 400 ") if sent == b"X" else b"HTTP/1.1 431 "
    assert refused.value.response.startswith(expected)
