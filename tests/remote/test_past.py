"""The verbs about the past, typed against a real registry."""

from __future__ import annotations

import json
import os
import signal

import pytest

from registry.client.past import FieldChange
from registry.remote.asked import when
from registry.remote.history import changes_text
from tests.remote.conftest import Shell
from tests.support.api import Api, ok
from tests.support.replica import Replica, replica

pytestmark = pytest.mark.slow


@pytest.fixture
def cart(api: Api) -> str:
    """shop/cart 1.0.0, which had two instances; abc1 is there, and down, and abd2 has left."""
    service_id = api.service(version="1.0.0")
    for instance_id in ("abc1", "abd2"):
        api.instance(service_id, instanceId=instance_id, endpoints=[f"rest://{instance_id}:80"])
    ok(api.put(f"/microservices/{service_id}/instances/abc1/status?value=DOWN"))
    ok(api.delete(f"/microservices/{service_id}/instances/abd2"))
    return service_id


def test_history_lists_what_happened(shell: Shell, api: Api, cart: str) -> None:
    api.service("stock")
    lines = shell.run("history", "-o", "ndjson").out.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == [
        "service-registered",
        "instance-unregistered",
        "instance-status-set",
        "instance-registered",
        "instance-registered",
        "service-registered",
    ]
    out = shell.run("history", "shop/cart:1.0.0", "abc").out
    assert "status: UP -> DOWN" in out
    assert "abd2" not in out
    for named in ("cart", cart, "shop/cart"):
        assert len(shell.run("history", named, "--oldest", "--json").json) == 5
    (only,) = shell.run("history", "--kind", "instance-unregistered", "--json").json
    assert only["instanceId"] == "abd2"
    assert shell.run("history", "--by", "10.1.1.1", "--json").json == []
    assert shell.run("history", "--from", "1s", "--to", "0s", "--kind", "tag-set", "--json").json == []


def test_history_is_read_page_by_page(shell: Shell, api: Api, cart: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.remote.history.PAGE_MAX", 2)
    for order in ((), ("--oldest",)):
        places = [event["position"] for event in shell.run("history", *order, "--json").json]
        assert len(places) == len(set(places)) == 5
        assert [event["position"] for event in shell.run("history", *order, "--limit", "3", "--json").json] == places[
            :3
        ]


def test_what_is_gone_can_be_named(shell: Shell, api: Api, cart: str) -> None:
    ok(api.delete(f"/microservices/{cart}?force=true"))
    assert "gone" in shell.run("history", "cart", "abd").out
    assert shell.run("history", cart, "--json").json
    assert shell.run("history", "cart", "--json").json


def test_explain_an_instance(shell: Shell, cart: str) -> None:
    left = shell.run("explain", "cart", "abd")
    assert left.code == 0
    assert left.out.startswith("Instance abd2 of shop/cart 1.0.0 left at ")
    assert shell.run("explain", "cart", "abc1", "--json").json["state"] == "present"
    several = shell.run("explain", "cart", "ab")
    # What is there is meant rather than what is gone.
    assert several.out.startswith("Instance abc1")
    unknown = shell.run("explain", "cart", "zzz")
    assert (unknown.code, unknown.out) == (1, "")
    assert "cart has no instance zzz" in unknown.err


def test_explain_a_find(shell: Shell, cart: str) -> None:
    """Without the application, which is unambiguous."""
    out = shell.run("explain", "cart:1.0.0+").out
    assert "has 1 instance of 1 of 1 version; 1 left in the hour before" in out
    assert "DOWN, registered at position" in out
    assert "Instance abd2 left at" in out


def test_diff_says_what_is_different_and_ends_with_1(shell: Shell, api: Api, cart: str) -> None:
    first = shell.run("history", "--json").json[0]["position"]
    same = shell.run("diff", "--from", first)
    assert (same.code, same.out) == (0, "nothing is different\n")
    api.instance(cart, instanceId="new1", endpoints=["rest://new:80"])
    ok(api.put(f"/microservices/{cart}/instances/abc1/status?value=UP"))
    done = shell.run("diff", "cart", "--from", first)
    assert done.code == 1
    assert [line.split() for line in done.out.splitlines()[1:]] == [
        ["added", "shop/cart:1.0.0", "new1"],
        ["changed", "shop/cart:1.0.0", "abc1", "status:", "DOWN", "->", "UP"],
    ]
    assert shell.run("diff", "--from", first, "--json").json["instances"]["changed"][0]["instanceId"] == "abc1"


def test_events_are_the_newest_in_order(shell: Shell, cart: str) -> None:
    out = shell.run("events", "-n", "2").out.splitlines()
    assert ["abc1" in out[0], "abd2" in out[1], len(out)] == [True, True, 2]
    first = shell.run("history", "--oldest", "--json").json[0]["position"]
    assert len(shell.run("events", "--after", first).out.splitlines()) == 4
    assert shell.run("events", "-n", "0").out == ""


def test_followed_events_have_no_gap_and_no_double_when_the_registry_is_killed(shell: Shell, redis_url: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", f"events-{os.getpid()}:")
    first = Replica(*options).start()
    shell.environment["REGISTRY_SERVER"] = f"127.0.0.1:{first.port}"
    api = first.api(shell.environment["REGISTRY_TENANT"])
    service_id = api.service()
    try:
        with shell.start("events", "cart", "-f", "-n", "1", "-o", "ndjson") as process:
            assert process.stdout is not None
            seen = [json.loads(process.stdout.readline())["kind"]]
            api.instance(service_id, instanceId="i0")
            seen.append(json.loads(process.stdout.readline())["instanceId"])
            first.kill()
            with replica(*options, port=first.port) as second:
                api = second.api(shell.environment["REGISTRY_TENANT"])
                for number in range(1, 4):
                    api.instance(service_id, instanceId=f"i{number}")
                seen += [json.loads(process.stdout.readline())["instanceId"] for _ in range(3)]
                process.send_signal(signal.SIGINT)
                assert process.wait(20) == 0
                assert process.stdout.read() == ""
    finally:
        first.clean_up()
    assert seen == ["service-registered", "i0", "i1", "i2", "i3"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["history", "cart:1.0+"], 2, "give one version, or none"),
        (["history", "--from", "yesterday"], 4, "refuses this with 400001"),
        (["diff", "--from", "x"], 4, "is no time"),
        (["diff"], 2, "Missing option '--from'"),
        (["explain", "cart", "nobody"], 1, "cart has no instance nobody"),
    ],
)
def test_failures(shell: Shell, cart: str, arguments: list[str], code: int, said: str) -> None:
    done = shell.run(*arguments)
    assert done.code == code, done
    assert said in done.err


def test_a_time_is_told_as_it_was_written_unless_it_is_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    assert when("10m") == "400000"
    assert when("2s") == "998000"
    for text in ("", "5-17", "2026-11-29T14:03:07Z", "10 m"):
        assert when(text) == text


def test_changes_in_words() -> None:
    changes = [
        FieldChange("status", "UP", "DOWN"),
        FieldChange("properties.a", None, "b"),
        FieldChange("endpoints", ["x"], ["y", "z"]),
    ]
    assert changes_text(changes) == "status: UP -> DOWN; properties.a: b; endpoints: x -> y z"
    assert changes_text([FieldChange("instance", None, "i")]) == "new"
    assert changes_text([FieldChange("service", "s", None)]) == "gone"
