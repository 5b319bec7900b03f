"""A request that a connection tells from the last one by its bytes is the same to everybody who reads it."""

from __future__ import annotations

from hypothesis import event, given
from hypothesis import strategies as st

from registry.serving.again import AGAIN_MAX_BYTES, Again, alike, same
from registry.serving.heads import VARYING, Heads, without_passed
from tests.support.wires import BATCH, FIND, whole

KEY = b"the key"
NAMES = st.sampled_from(sorted(VARYING))
VALUES = st.one_of(
    st.text("abc 01-\t", max_size=40).map(str.encode),
    st.binary(max_size=12),
    st.sampled_from(
        [b"a\r\nX-ConsumerId: other", b"a\nX: b", b"a\r\n b", b"\r\n\r\n", b"a\0", b"a\r\nb3: 1", b"x" * 5000]
    ),
)
LINES = st.lists(st.sampled_from([b"Host: h", b"X-ConsumerId: c", b"User-Agent: x", b"b3: 1", b"Date: d"]), max_size=4)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two requests that differ in the value of one header, or in more."""
    before, after, name = draw(LINES), draw(LINES), draw(NAMES)
    method, target, body = draw(st.sampled_from([(b"GET", FIND, b""), (b"POST", BATCH, b'{"services":[]}')]))
    if draw(st.booleans()):
        name = name.title()
    first, second = [
        whole(method, target, b"\r\n".join([*before, name + b":" + value, *after]), body)
        for value in (draw(VALUES), draw(VALUES))
    ]
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(second)))
        second = second[:at] + draw(st.binary(max_size=2)) + second[at + draw(st.integers(0, 2)) :]
    return first, second


def twice(request: bytes, head_end: int) -> Again | None:
    """What is kept of a request that has come twice."""
    id = without_passed(request[:head_end])[1]
    return alike(alike(None, request, head_end, KEY, id), request, head_end, KEY, id)


def split(request: bytes) -> tuple[bytes, bytes]:
    head, end, body = request.partition(b"\r\n\r\n")
    return head + end, body


def block_of(head: bytes) -> bytes:
    return head.partition(b"\r\n")[2][:-4]


@given(requests())
def test_what_comes_again_reads_as_the_same_request(both: tuple[bytes, bytes]) -> None:
    """Else a client would be answered what another one has asked."""
    first, second = both
    head, body = split(first)
    if not Heads().read(block_of(head)):
        return  # it is never known
    without, id = without_passed(head)
    once = alike(None, first, len(head), KEY, id)
    for again in (once, twice(first, len(head))):
        if again is None:
            continue
        assert again.id_in(first) == id
        other = again.id_in(second)
        event(f"again: {other is not None}")
        if other is not None:
            other_head, other_body = split(second)
            assert other_body == body
            assert without_passed(other_head) == (without, other)
            assert Heads().read(block_of(other_head)) is not None


@given(NAMES, st.text("abc 01-", max_size=40).map(str.encode), st.text("abc 01-", max_size=40).map(str.encode))
def test_another_value_of_one_header_that_means_nothing_is_told(name: bytes, one: bytes, other: bytes) -> None:
    first, second = [whole(b"GET", FIND, b"Host: h\r\n%b: %b" % (name, value)) for value in (one, other)]
    again = twice(first, len(first))
    assert again is not None
    assert again.id_in(second) == (other.strip() if name == b"x-request-id" else b"")


def test_what_has_two_such_values_comes_again_byte_for_byte_only() -> None:
    first, second = [whole(b"GET", FIND, b"Host: h\r\nX-Request-Id: %d\r\ndate: x" % number) for number in (1, 2)]
    again = twice(first, len(first))
    assert again is not None
    assert (again.id_in(first), again.id_in(second), again.id_in(first + first)) == (b"1", None, None)


def test_only_what_comes_twice_in_turn_is_looked_into() -> None:
    """A client that asks for several things in turn would pay for each and gain nothing."""
    requests = [whole(b"GET", FIND + b"&x=%d" % number, b"Host: h\r\nb3: 1") for number in (1, 2)]
    last = None
    for request in requests * 2:
        last = alike(last, request, len(request), request, b"")
        assert last is not None
        assert (last.before, last.settled) == (request, False)
    last = alike(last, requests[1], len(requests[1]), requests[1], b"")
    assert last is not None
    assert last.settled
    assert last.before.endswith(b"b3:")
    assert alike(last, requests[1] + b" ", len(requests[1]), requests[1], b"") is last


def test_what_follows_a_request_is_not_part_of_it() -> None:
    request = whole(b"POST", BATCH, body=b"{}")
    again = same(request, KEY)
    assert again is not None
    assert (again.id_in(request), again.id_in(request + b" "), again.id_in(request[:-1])) == (b"", None, None)


def test_what_a_connection_keeps_of_a_request_is_bounded() -> None:
    """There may be a hundred thousand of them."""
    for size, is_kept in ((AGAIN_MAX_BYTES, True), (AGAIN_MAX_BYTES + 1, False)):
        body = b" " * (size - len(whole(b"POST", BATCH, body=b" " * 1000)) + 1000)
        request = whole(b"POST", BATCH, body=body)
        assert len(request) == size
        assert (same(request, KEY) is not None) == is_kept
        assert (alike(None, request, size - len(body), KEY, b"") is not None) == is_kept
