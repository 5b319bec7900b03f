"""The access log says what it is asked to say, and each line says what the request was."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.domain.tenant import ACCOUNTS, Tenant
from registry.http_api.access_log import MODES, NAME, TARGET_MAX, AccessLog

SLOW_MS = 100


class Lines(logging.Handler):
    """What was said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record)


@pytest.fixture
def lines() -> object:
    handler, logger = Lines(), logging.getLogger(NAME)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


@given(
    mode=st.sampled_from(MODES),
    status=st.sampled_from([200, 304, 400, 429, 499, 500]),
    ms=st.sampled_from([0.0, SLOW_MS - 1.0, float(SLOW_MS), SLOW_MS + 1.0]),
    sample=st.sampled_from([0.0, 0.5, 1.0]),
    chance=st.sampled_from([0.0, 0.49, 0.51, 0.99]),
)
def test_each_mode_says_what_those_before_it_say_and_more(
    mode: str, status: int, ms: float, sample: float, chance: float
) -> None:
    is_error, is_slow = status >= 400, ms >= SLOW_MS
    # The door keeps none for `off`.
    expected = {
        "off": is_error,
        "errors": is_error,
        "slow": is_error or is_slow,
        "all": is_error or is_slow or chance < sample,
    }[mode]
    assert AccessLog(mode, SLOW_MS, sample, lambda: chance).wants(status, ms / 1000) is expected


def test_line_says_what_the_request_was(lines: Lines) -> None:
    tenant = Tenant("d", "p")
    AccessLog("all", SLOW_MS).say("find-instances", tenant, "GET /x", "10.0.0.1", 200, 0.2, 3, 5, "id-1")
    (line,) = lines.said
    assert line.getMessage() == "GET /x answered 200 in 200 ms"
    expected = {
        "action": "request",
        "request_id": "id-1",
        "operation": "find-instances",
        "tenant": "d/p",
        "client": "10.0.0.1",
        "target": "GET /x",
        "status": 200,
        "ms": 200.0,
        "received": 3,
        "sent": 5,
        "slow": True,
    }
    assert {name: line.__dict__[name] for name in expected} == expected


def test_accounts_are_no_tenant_and_a_long_target_is_cut(lines: Lines) -> None:
    AccessLog("all", SLOW_MS).say("login", ACCOUNTS, "POST /" + "x" * 5000, "", 200, 0.0)
    (line,) = lines.said
    assert not hasattr(line, "tenant")
    assert len(line.__dict__["target"]) == TARGET_MAX
    assert len(line.getMessage()) < 2 * TARGET_MAX
