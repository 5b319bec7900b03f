"""Requests have ids, and lines in the access log: alike by both ways through the server."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

import pytest

from registry.http_api.access_log import NAME
from registry.settings import Settings
from tests.support.memory_replica import run
from tests.support.wires import BASE, BATCH, BEAT, BLOCK, FIND, Lane, fill, follow, header, status, two_lanes, whole

#: One of each kind of request that the hot way knows, and some that it does not; and what is named in the log.
REQUESTS = {
    "find": (whole(b"GET", FIND), "find-instances"),
    "find of nothing": (whole(b"GET", BASE + b"/instances?appId=shop&serviceName=none"), "find-instances"),
    "batch": (
        whole(b"POST", BATCH, body=b'{"services":[{"service":{"appId":"shop","serviceName":"cart","version":"0+"}}]}'),
        "batch-find-instances",
    ),
    "beat": (whole(b"PUT", BEAT), "heartbeat"),
    "beat of nobody": (whole(b"PUT", BEAT.replace(b"i1", b"i99")), "heartbeat"),
    "service": (whole(b"GET", BASE + b"/microservices/cart"), "get-service"),
    "register": (
        whole(
            b"POST",
            BASE + b"/microservices/cart/instances",
            body=b'{"instance":{"instanceId":"i1","hostName":"h","endpoints":["rest://10.0.0.1:1"]}}',
        ),
        "register-instance",
    ),
    "nowhere": (whole(b"GET", BASE + b"/nowhere"), ""),
    "no such method": (whole(b"DELETE", BASE + b"/version"), ""),
}
_MS = re.compile(r"in [\d.e-]+ ms")


def named(request: bytes, name: bytes) -> bytes:
    """The request with a name."""
    return request.replace(BLOCK, BLOCK + b"\r\n" + name, 1)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    """The lines of the access log."""
    logger = logging.getLogger(NAME)
    before = logger.propagate, logger.level
    logger.propagate = True
    caplog.set_level(logging.INFO, NAME)
    yield caplog.records
    logger.propagate = before[0]
    logger.setLevel(before[1])


async def lanes(settings: Settings) -> tuple[Lane, Lane]:
    fast, plain = await two_lanes(settings)
    await fill(fast)
    await follow(fast, plain)
    return fast, plain


def lines_of(records: list[logging.LogRecord]) -> list[dict[str, object]]:
    """What was said in the access log since the last time, without what differs with each request."""
    found = []
    for record in records:
        if record.name == NAME:
            fields = {k: v for k, v in record.__dict__.items() if k in FIELDS}
            found.append({**fields, "message": _MS.sub("in ? ms", record.getMessage())})
    records.clear()
    return found


FIELDS = ("action", "request_id", "operation", "tenant", "client", "target", "status", "received", "sent", "slow")


def test_both_ways_say_the_same_of_the_same_request(
    said: list[logging.LogRecord], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        fast, plain = await lanes(Settings(access_log="all", access_log_slow_ms=3_600_000))
        for what, (request, operation) in REQUESTS.items():
            for asked in (request, request, named(request, b"X-Request-Id: mine-1")):
                heard = []
                for lane in (fast, plain):
                    await follow(fast, plain)
                    caplog.clear()
                    wire = lane.connect()
                    answer = await lane.say(wire, asked)
                    wire.drop(None)
                    heard.append((answer, lines_of(caplog.records)))
                assert heard[0] == heard[1], what
                (line,) = heard[0][1]
                assert line.get("operation", "") == operation
                assert line["status"] == status(heard[0][0])
                if operation and asked is not request:
                    assert line["request_id"] == "mine-1"
                    assert header(heard[0][0], b"X-Request-Id") == b"mine-1"
        assert fast.hot.recognised > 12, "the hot way was asked"
        assert fast.hot.finds.repeated == 0, "each find is said, also one that is repeated"

    run(main)


@pytest.mark.parametrize("way", [0, 1])
def test_with_no_time_at_all_every_request_is_slow(
    said: list[logging.LogRecord], caplog: pytest.LogCaptureFixture, way: int
) -> None:
    """Also one that is known, which is answered without a look at the clock."""

    async def main() -> None:
        lane = (await lanes(Settings(access_log="slow", access_log_slow_ms=0)))[way]
        wire = lane.connect()
        for _ in range(3):
            caplog.clear()
            await lane.say(wire, whole(b"GET", FIND))
            assert len(lines_of(caplog.records)) == 1

    run(main)


@pytest.mark.parametrize("way", [0, 1])
def test_mode_errors_says_refusals_only_and_off_nothing(
    said: list[logging.LogRecord], caplog: pytest.LogCaptureFixture, way: int
) -> None:
    async def main() -> None:
        for mode, refused in (
            ("errors", ["find of nothing", "beat of nobody", "nowhere", "no such method"]),
            ("off", []),
        ):
            lane = (await lanes(Settings(access_log=mode)))[way]
            wire = lane.connect()
            heard = []
            for what, (request, _) in REQUESTS.items():
                caplog.clear()
                await lane.say(wire, request)
                heard += [what] * len(lines_of(caplog.records))
            assert heard == refused

    run(main)


@pytest.mark.parametrize("way", [0, 1])
def test_id_is_taken_where_it_is_sane_and_made_where_somebody_may_look_for_it(way: int) -> None:
    """What it is answered with is what the log and the events say. Nothing of it is another line, or endless."""

    async def main() -> None:
        lane = (await lanes(Settings()))[way]
        lane.replica.api.request_ids = lambda: "made"
        wire = lane.connect()

        async def answered(what: str, name: bytes = b"") -> bytes:
            request = REQUESTS[what][0]
            return header(await lane.say(wire, named(request, name) if name else request), b"X-Request-Id")

        for what in ("find", "batch", "beat", "service"):
            assert await answered(what) == b""
            assert await answered(what, b"x-request-ID:   a-b/c=1  ") == b"a-b/c=1"
            assert await answered(what, b"X-Request-Id: " + b"x" * 128) == b"x" * 128
            for bad in (b"x" * 129, b"a b", "é".encode(), b""):
                assert await answered(what, b"X-Request-Id: " + bad) == b""
        for what in ("find of nothing", "beat of nobody", "register"):
            assert await answered(what) == b"made"
            assert await answered(what, b"X-Request-Id: mine") == b"mine"
            assert await answered(what, b"X-Request-Id: a b") == b"made"

    run(main)
