"""Alerts and the board ask for figures that there are, and every alert has a page that says what to do."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from registry.http_api.operations import OPERATIONS
from registry.usecases.alarms import ALARMS
from tests.support.deployments import DEPLOY, checker
from tests.support.replica import REPOSITORY, Replica, replica

ALERTS = DEPLOY / "prometheus" / "alerts.yml"
BOARD = DEPLOY / "grafana" / "boards" / "registry.json"
PAGE = REPOSITORY / "registry" / "docs" / "alerts.md"
#: Prometheus' own.
OTHERS = {"up"}
#: Of a histogram its parts are asked for, not it.
PARTS = ("_bucket", "_sum", "_count")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """By where it stands."""
    of_panels = {
        f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]
    }
    return {rule["alert"]: rule["expr"] for rule in rules()} | of_panels


def series(expression: str) -> set[str]:
    """The figures that it asks for."""
    return set(re.findall(r"\b(?:(?:registry|process)_\w+|up)\b(?=[^\w\"=(]|$)", expression))


@pytest.fixture(scope="module")
def one(redis_url: str) -> Iterator[Replica]:
    with replica("--redis-url", redis_url, "--redis-prefix", "figures:") as process:
        yield process


@pytest.mark.slow
def test_every_figure_that_is_asked_for_is_there(one: Replica) -> None:
    """Asked of a replica itself, so a figure that is called otherwise one day is noticed here."""
    connection = one.connect()
    text = connection.request("GET", "/metrics").body.decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    histograms = {name for name, kind in kinds.items() if kind == "histogram"}
    known = OTHERS | kinds.keys() - histograms | {name + part for name in histograms for part in PARTS}
    for place, expression in expressions().items():
        assert series(expression), place
        assert series(expression) <= known, f"{place} asks for {series(expression) - known}"


def test_operations_that_are_named_are_operations() -> None:
    names = {operation.name for operation in OPERATIONS}
    for place, expression in expressions().items():
        for pattern in re.findall(r'operation=~?"([^"]*)"', expression):
            assert set(pattern.split("|")) <= names, place


def test_alarms_that_are_named_are_alarms() -> None:
    for place, expression in expressions().items():
        assert set(re.findall(r'alarm="(\w+)"', expression)) <= set(ALARMS), place


def test_every_alarm_has_an_alert_or_needs_none() -> None:
    """`InternalError` is a single request's, which `RegistryErrors` counts."""
    page = PAGE.read_text()
    assert [alarm for alarm in ALARMS if f"alarm `{alarm}`" not in page] == ["InternalError"]


def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run([checker("promtool"), "check", "rules", str(ALERTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_every_expression_of_the_board(tmp_path: Any) -> None:
    made = [{"record": f"board:{number}", "expr": expr} for number, expr in enumerate(expressions().values())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": made}]}))
    command = [checker("promtool"), "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_ring_when_they_should_and_not_else() -> None:
    """By figures that are made up: `alerts_test.yml`."""
    command = [checker("promtool"), "test", "rules", "alerts_test.yml"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY / "tests" / "deploy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    page = PAGE.read_text()
    sections = dict(re.findall(r"^## (Registry\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert "**What to do.**" in sections[rule["alert"]], rule["alert"]
        assert rule["annotations"]["runbook"] == f"registry/docs/alerts.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_board_is_one_that_grafana_is_given() -> None:
    """Its data source is the provisioned one, and no two panels have one id or place."""
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {sources[0]["uid"]}
    assert len({panel["id"] for panel in panels()}) == len(panels())
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places)
