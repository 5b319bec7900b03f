"""Prometheus discovers what is registered (HTTP service discovery)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, assert_refused, ok

#: What Prometheus 2 and 3 take for JSON (discovery/http).
CONTENT_TYPE = re.compile(r'(?i:application/json(;\s*charset=("utf-8"|utf-8))?)')
META = "__meta_servicecomb_"


def asked(api: Api, query: str = "") -> list[dict[str, Any]]:
    headers = {"X-Domain-Name": api.domain}
    answer = ok(api.connection.request("GET", f"/v1/default/sd/prometheus{query}", None, headers))
    assert CONTENT_TYPE.fullmatch(answer.header("Content-Type"))
    found: list[dict[str, Any]] = answer.json()
    for group in found:
        assert group.keys() == {"targets", "labels"}
        assert all(re.fullmatch(r"(\[[0-9a-f:]+\]|[^:/]+):\d+", target) for target in group["targets"])
        assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name) for name in group["labels"])
        assert all(isinstance(value, str) for value in group["labels"].values())
    return found


@pytest.fixture
def shop(api: Api) -> Api:
    """Two versions of cart, one instance of them down; till, which speaks TLS; and one that speaks no HTTP."""
    first = api.service("cart", version="1.0.0")
    second = api.service("cart", version="2.0.0", environment="production")
    till, queue = api.service("till"), api.service("queue")
    register(api, first, "a", "highway://10.0.0.1:7070", "rest://10.0.0.1:8080", zone="z1")
    register(api, first, "b", "rest://[2001:db8::1]:8080", zone="z1")
    register(api, first, "c", "rest://10.0.0.3:8080", status="DOWN", zone="z1")
    register(api, second, "d", "http://cart.example:80", **{"metrics-path": '/m"\\'})
    register(api, till, "e", "rest://10.0.0.5:8443?sslEnabled=true")
    register(api, queue, "f", "grpc://10.0.0.6:9090", "rest://no-port", "rest://10.0.0.6:port", "nonsense")
    return api


def register(api: Api, service_id: str, name: str, *endpoints: str, status: str = "UP", **properties: str) -> None:
    body = {"instanceId": name, "endpoints": list(endpoints), "properties": properties, "status": status}
    ok(api.register(service_id, **body))


def addresses(groups: list[dict[str, Any]]) -> list[str]:
    return sorted(target for group in groups for target in group["targets"])


def test_nothing_registered_is_an_empty_list(api: Api) -> None:
    assert asked(api) == []


def test_instances_are_grouped_by_service_and_status(shop: Api) -> None:
    groups = {tuple(sorted(group["targets"])): group["labels"] for group in asked(shop)}
    up = groups["10.0.0.1:8080", "[2001:db8::1]:8080"]
    service_id = up.pop(f"{META}service_id")
    assert service_id
    assert up == {
        f"{META}app": "shop",
        f"{META}service": "cart",
        f"{META}version": "1.0.0",
        f"{META}environment": "",
        f"{META}status": "UP",
    }
    assert groups[("10.0.0.3:8080",)][f"{META}status"] == "DOWN"
    assert groups[("cart.example:80",)][f"{META}environment"] == "production"
    assert groups[("10.0.0.5:8443",)]["__scheme__"] == "https"
    assert len(groups) == 4, "what speaks no HTTP is no target"


def test_filters_leave_out(shop: Api) -> None:
    assert addresses(asked(shop, "?status=DOWN")) == ["10.0.0.3:8080"]
    assert addresses(asked(shop, "?serviceName=till")) == ["10.0.0.5:8443"]
    assert addresses(asked(shop, "?env=production")) == ["cart.example:80"]
    assert "cart.example:80" not in addresses(asked(shop, "?env="))
    assert asked(shop, "?appId=other") == []
    assert addresses(asked(shop, "?protocol=grpc")) == ["10.0.0.6:9090"]
    assert addresses(asked(shop, "?protocol=highway")) == ["10.0.0.1:7070"]


def test_properties_that_are_asked_for_are_labels_and_tell_instances_apart(shop: Api) -> None:
    groups = asked(shop, "?properties=zone,metrics-path&serviceName=cart&status=UP")
    labels = {tuple(sorted(group["targets"])): group["labels"] for group in groups}
    assert labels["10.0.0.1:8080", "[2001:db8::1]:8080"][f"{META}property_zone"] == "z1"
    assert labels[("cart.example:80",)][f"{META}property_metrics_path"] == '/m"\\'
    assert labels[("cart.example:80",)][f"{META}property_zone"] == ""
    headers = {"X-Domain-Name": shop.domain}
    names = ",".join(f"p{number}" for number in range(21))
    assert_refused(
        shop.connection.request("GET", f"/v1/default/sd/prometheus?properties={names}", None, headers), 400001
    )


def test_registry_itself_is_told_only_when_it_is_asked_for(default_api: Api) -> None:
    assert all(group["labels"][f"{META}service"] != "SERVICECENTER" for group in asked(default_api))
    told = [group["labels"][f"{META}service"] for group in asked(default_api, "?withShared=1")]
    assert "SERVICECENTER" in told


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_discovers_them(default_api: Api, tmp_path: Path) -> None:
    """As it would be configured; the registry is the target that is always there."""
    host, port = default_api.connection.address
    configuration = {
        "scrape_configs": [
            {
                "job_name": "registered",
                "http_sd_configs": [{"url": f"http://{host}:{port}/v1/default/sd/prometheus?withShared=1"}],
            }
        ]
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
    command = [
        "promtool",
        "check",
        "service-discovery",
        "--timeout=20s",
        str(tmp_path / "prometheus.yml"),
        "registered",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    discovered = [found["discoveredLabels"] for found in json.loads(done.stdout)]
    own = [labels for labels in discovered if labels.get(f"{META}service") == "SERVICECENTER"]
    assert [labels["__address__"] for labels in own] == [f"{host}:{port}"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_finds_nothing_to_complain_of_in_the_metrics(default_api: Api) -> None:
    text = ok(default_api.connection.request("GET", "/metrics")).body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60)
    complaints = [line for line in done.stderr.decode().splitlines() if "registry_" in line]
    # Names that are older than this rule, and kept.
    assert [line for line in complaints if "registry_expiry_latest_ms" not in line] == []
