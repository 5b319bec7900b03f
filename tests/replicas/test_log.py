"""What a whole registry says: at its start and its end, in which form, and of a request that is followed."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import uuid

import pytest

from tests.support.api import ok
from tests.support.figures import scraped
from tests.support.replica import REPOSITORY, Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow


def fresh() -> str:
    return f"log-{uuid.uuid4().hex[:8]}:"


def test_start_says_what_is_served_from_where_and_stop_for_how_long(redis_url: str) -> None:
    prefix = fresh()
    with replica("--redis-url", redis_url, "--redis-prefix", prefix) as one:
        one.api("team").instance(one.api("team").service())
    with replica("--redis-url", redis_url, "--redis-prefix", prefix) as one:
        started = one.tells("started")
        assert (started["tenants"], started["services"]) == (2, 2)
        assert started["instances"] >= 1
        assert 0 < started["seconds"] < 30
        assert re.search(r"(Redis|Valkey) \d+\.\d+\.\d+ \(server\)", started["message"])
        assert started["message"].endswith(f"the console is at http://127.0.0.1:{one.port}/console/")
        ok(one.connect().request("GET", "/version"))
        assert one.stop() == 0
        (stopped,) = one.said("stopped")
        assert stopped["requests"] >= 1
        assert stopped["lasted_s"] > 0
        assert one.log()[-1]["action"] == "stopped"


def test_private_store_is_said_with_its_folder(tmp_path: object) -> None:
    with replica("--data-dir", str(tmp_path)) as one:
        one.tells("started", f"which keeps its data in {tmp_path}")


def test_replica_has_one_name_everywhere(redis_url: str) -> None:
    """Who has a name from an event, a figure, the list of replicas or a line finds the others."""
    with replica("--redis-url", redis_url, "--redis-prefix", fresh()) as one:
        api = one.api("team")
        api.service()
        names = {line["replica"] for line in one.log()}
        events = ok(api.connection.request("GET", "/v1/default/history", None, {"X-Domain-Name": "team"})).json()[
            "events"
        ]
        names |= {event["replica"] for event in events}
        labels = [
            dict(labels)
            for name, labels in scraped(api.connection.request("GET", "/metrics").body)
            if name == "registry_build_info"
        ]
        names |= {label["replica"] for label in labels}
        listed = ok(api.connection.request("GET", "/v4/default/admin/replicas")).json()["replicas"]
        names |= {replica["name"] for replica in listed}
        assert len(names) == 1


def test_request_is_followed_from_the_replica_that_took_it_to_the_others(redis_url: str) -> None:
    """At level debug one id leads to the request, to the event in the log, and to each replica that applied it."""
    options = ("--redis-url", redis_url, "--redis-prefix", fresh(), "--log-level", "debug")
    with replica(*options) as one, replica(*options) as other:
        api = one.api("team")
        answer = ok(api.post("/microservices", {"service": {"serviceName": "cart", "appId": "shop"}}))
        made = answer.header("X-Request-Id")
        assert made.startswith(one.log()[0]["replica"])

        def lines(of: Replica) -> list[str]:
            return [line["action"] for line in of.log() if line.get("request_id") == made]

        until_sync(lambda: "event_applied" in lines(other), "the other one to apply it")
        expected = ["event_appended", "event_applied", "request"]
        until_sync(lambda: sorted(lines(one)) == expected, "all to be written")
        assert lines(other) == ["event_applied"]
        (event,) = ok(api.connection.request("GET", "/v1/default/history", None, {"X-Domain-Name": "team"})).json()[
            "events"
        ]
        assert event["actor"]["requestId"] == made


def test_access_log_says_each_request_however_many_there_are(redis_url: str) -> None:
    """Of other lines that come many at once the first are said, and of the rest the number."""
    options = ("--redis-url", redis_url, "--redis-prefix", fresh(), "--access-log", "all")
    with replica(*options) as one:
        connection = one.connect()
        for _ in range(100):
            ok(connection.request("GET", "/version"))
        until_sync(lambda: len([r for r in one.said("request") if r["operation"] == "get-version-short"]) == 100, "all")


@pytest.mark.parametrize("fast_lane", ["on", "off"])
def test_client_behind_a_trusted_proxy_is_said_by_both_ways(redis_url: str, fast_lane: str) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", fresh(), "--access-log", "all", "--fast-lane", fast_lane)
    with replica(*options, "--trusted-proxies", "127.0.0.0/8") as one:
        api = one.api("team")
        api.service()
        ok(api.get("/instances?appId=shop&serviceName=cart", {"X-Forwarded-For": "10.9.9.9"}))
        until_sync(lambda: any(line["operation"] == "find-instances" for line in one.said("request")), "it to be said")
        (find,) = [line for line in one.said("request") if line["operation"] == "find-instances"]
        assert find["client"] == "10.9.9.9"


def test_a_terminal_is_shown_text_and_everything_else_json(redis_url: str) -> None:
    """Unless the setting says which."""
    for form, starts in (("", "text"), ("json", "json"), ("text", "text")):
        shown = _on_a_terminal(redis_url, form)
        line = next(line for line in shown.splitlines() if "listens on" in line)
        if starts == "json":
            assert json.loads(line)["action"] == "listening"
        else:
            assert re.match(
                r"\d\d:\d\d:\d\d\.\d{3} registry [\d.]+ listens on http://[\d.:]+ · action=listening$", line
            )


def _on_a_terminal(redis_url: str, form: str) -> str:
    """What a registry says to a terminal until it listens."""
    ours, its = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    command = [sys.executable, "-m", "registry", "serve", "--port", "0"]
    command += ["--redis-url", redis_url, "--redis-prefix", fresh()]
    if form:
        environment["REGISTRY_LOG_FORMAT"] = form
    with subprocess.Popen(command, stderr=its, stdin=its, stdout=its, cwd=REPOSITORY, env=environment) as process:
        os.close(its)
        shown = b""
        try:
            while b"listens on" not in shown or not shown.endswith(b"\n"):
                shown += os.read(ours, 4096)
        finally:
            process.terminate()
            process.wait(20)
            os.close(ours)
    return shown.decode()
