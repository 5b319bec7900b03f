"""Every alarm has its place on the page of alarms, with what to do, its alert, and the test that has shown it."""

from __future__ import annotations

import re

import pytest

from registry.usecases.alarms import ALARMS
from tests.support.pages import DOCS, REPOSITORY

SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", (DOCS / "alarms.md").read_text(), re.MULTILINE | re.DOTALL))
ALERTS = re.findall(r"^## (\w+)$", (DOCS / "alerts.md").read_text(), re.MULTILINE)


def test_page_has_every_alarm_and_no_other() -> None:
    assert list(SECTIONS) == list(ALARMS)


@pytest.mark.parametrize("alarm", ALARMS)
def test_alarm_says_what_to_do_and_who_has_shown_it(alarm: str) -> None:
    text = SECTIONS[alarm]
    assert "**What to do.**" in text
    assert set(re.findall(r"^Alert: \[(\w+)\]", text, re.MULTILINE)) <= set(ALERTS)
    (test,) = re.findall(r"`(tests/[\w/]+\.py)`", text)
    shown = (REPOSITORY / test).read_text()
    assert alarm in shown or (alarm == "ReplicasDiffer" and "replicas_differ" in shown)
