"""The remote verbs, typed against a real registry: what they write, and their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.remote.conftest import Done, Shell
from tests.support.api import Api, ids
from tests.support.redis_server import redis_server
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

ENDPOINT = "rest://10.0.0.1:8080"


@pytest.fixture
def cart(api: Api) -> str:
    """shop/cart 1.0.0 with one instance that is up, `abc1`, and one that is down, `abd2`."""
    service_id = api.service(version="1.0.0", properties={"team": "a"})
    api.instance(service_id, instanceId="abc1", endpoints=[ENDPOINT], properties={"colour": "blue"})
    api.instance(service_id, instanceId="abd2", endpoints=["rest://10.0.0.2:8080"], status="DOWN")
    return service_id


def rows(done: Done) -> list[list[str]]:
    """The cells of a table, without its head; cells are two blanks apart."""
    assert (done.code, done.err) == (0, ""), done.err
    return [line.split() for line in done.out.splitlines()[1:]]


# -- reading -----------------------------------------------------------------------------------------------------------


def test_services(shell: Shell, api: Api, cart: str) -> None:
    stock = api.service("stock", version="2.0.0", environment="testing")
    assert rows(shell.run("services")) == [
        ["shop/cart:1.0.0", "2", "1", cart],
        ["testing", "shop/stock:2.0.0", "0", "0", stock],
    ]
    assert [row[0] for row in rows(shell.run("services", "--env", "testing"))] == ["testing"]
    assert [row[0] for row in rows(shell.run("services", "cart"))] == ["shop/cart:1.0.0"]
    assert "team=a" in shell.run("services", "--output", "wide").out
    (row,) = shell.run("services", "shop/cart", "--json").json
    assert (row["service"]["serviceId"], row["instances"]) == (cart, {"DOWN": 1, "UP": 1})
    assert "SERVICECENTER" in shell.run("services", "--shared", REGISTRY_TENANT="default").out


def test_instances(shell: Shell, api: Api, cart: str) -> None:
    api.instance(api.service("stock"), instanceId="s1")
    assert [row[:3] for row in rows(shell.run("instances"))] == [
        ["shop/cart:1.0.0", "abc1", "UP"],
        ["shop/cart:1.0.0", "abd2", "DOWN"],
        ["shop/stock:0.0.1", "s1", "UP"],
    ]
    for named in ("cart", "shop/cart", "shop/cart:1.0.0", "cart:latest", "cart:0.5+", cart):
        assert [row[1] for row in rows(shell.run("instances", named))] == ["abc1", "abd2"], named
    lines = shell.run("instances", "cart", "-o", "ndjson").out.splitlines()
    assert [json.loads(line)["instanceId"] for line in lines] == ["abc1", "abd2"]
    assert "colour=blue" in shell.run("instances", "cart", "-o", "wide").out


def test_find_is_what_a_consumer_sees(shell: Shell, api: Api, cart: str) -> None:
    assert [row[1] for row in rows(shell.run("find", "shop/cart:1.0.0+"))] == ["abc1", "abd2"]
    api.post("/microservices", {"service": {"serviceName": "front", "appId": "web", "version": "1.0.0"}})
    hidden = shell.run("find", "shop/cart", "--consumer", "web/front")
    assert (hidden.code, hidden.err) == (1, "registry: shop/cart has no instance that web/front may see\n")
    # Without the application, as long as one has such a service.
    assert [row[1] for row in rows(shell.run("find", "cart:1.0.0+"))] == ["abc1", "abd2"]
    api.post("/microservices", {"service": {"serviceName": "cart", "appId": "web", "version": "1.0.0"}})
    several = shell.run("find", "cart")
    assert (several.code, "cart may be shop/cart:1.0.0, web/cart:1.0.0" in several.err) == (2, True)
    unknown = shell.run("find", "shop/nothing")
    assert unknown.code == 1
    assert "shop/nothing" in unknown.err


def test_show(shell: Shell, api: Api, cart: str) -> None:
    api.put(f"/microservices/{cart}/schemas/hello", {"schema": "text"})
    api.find(consumer=cart)
    out = shell.run("show", "cart").out
    for line in ("service:     shop/cart:1.0.0", f"id:          {cart}", "properties:  team=a", "schemas:     hello"):
        assert line in out
    assert "abc1" in out
    assert shell.run("show", cart, "--json").json["microService"]["serviceName"] == "cart"


def test_names_that_mean_several_are_refused_with_what_they_may_mean(shell: Shell, api: Api, cart: str) -> None:
    api.service(version="2.0.0")
    done = shell.run("show", "cart")
    assert (done.code, done.out) == (2, "")
    assert done.err == "registry: cart may be shop/cart:1.0.0, shop/cart:2.0.0; write one of them, or its id\n"


# -- changing ----------------------------------------------------------------------------------------------------------


def test_register_beats_until_ctrl_c(shell: Shell, api: Api) -> None:
    with shell.start("register", "shop/cart:1.2.0", ENDPOINT, "-p", "a=b", "--status", "TESTING") as process:
        assert process.stdout is not None
        name, instance_id = process.stdout.readline().split()
        assert name == "shop/cart:1.2.0"
        (found,) = api.find().json()["instances"]
        assert (found["instanceId"], found["properties"], found["status"]) == (instance_id, {"a": "b"}, "TESTING")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert ids(api.find()) == []


def test_register_once_and_unregister(shell: Shell, api: Api, tmp_path: Path) -> None:
    document = tmp_path / "openapi.json"
    document.write_text('{"openapi":"3.1.0"}')
    done = shell.run("register", "shop/cart", ENDPOINT, "--id", "abc", "--once", "--openapi", str(document))
    assert (done.code, done.out) == (0, "shop/cart:0.0.1 abc\n")
    assert ids(api.find()) == ["abc"]
    assert "schemas:     cart" in shell.run("show", "cart").out
    refused = shell.run("unregister", "cart")
    assert refused.code == 4
    assert "400013" in refused.err
    assert shell.run("unregister", "cart", "ab").out == "abc of shop/cart:0.0.1 is unregistered\n"
    assert shell.run("unregister", "cart", "abc").code == 1
    assert shell.run("unregister", "cart").out == "shop/cart:0.0.1 is unregistered\n"
    assert shell.run("unregister", "cart").code == 1


def test_an_instance_that_is_named_by_its_beginning_must_be_one(shell: Shell, api: Api, cart: str) -> None:
    done = shell.run("unregister", "cart", "ab")
    assert (done.code, done.err) == (
        2,
        "registry: 2 instances of cart begin so; `registry instances cart` lists them\n",
    )
    assert shell.run("unregister", "cart", "--force").code == 0


# -- watching ----------------------------------------------------------------------------------------------------------


def test_watch_writes_a_line_for_every_change(shell: Shell, api: Api, cart: str) -> None:
    """Of all services, those that come later too; until Ctrl-C."""
    with shell.start("watch", "--every", "0.2") as process:
        assert process.stdout is not None
        first = [process.stdout.readline().split()[1:4] for _ in range(2)]
        assert first == [["added", "shop/cart:1.0.0", "abc1"], ["added", "shop/cart:1.0.0", "abd2"]]
        api.put(f"/microservices/{cart}/instances/abc1/status?value=DOWN")
        assert process.stdout.readline().split()[1:5] == ["changed", "shop/cart:1.0.0", "abc1", "DOWN"]
        api.instance(api.service("stock"), instanceId="s")
        assert process.stdout.readline().split()[1:4] == ["added", "shop/stock:0.0.1", "s"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == "watching 1 service(s); Ctrl-C ends it\n"


def test_watch_of_a_registry_without_services_says_so_once(shell: Shell, api: Api) -> None:
    """What comes later is new also since now, with all its instances."""
    with shell.start("watch", "--since-now", "--every", "0.2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "watching 0 service(s); Ctrl-C ends it\n"
        api.instance(api.service("stock"), instanceId="s")
        assert process.stdout.readline().split()[1:4] == ["added", "shop/stock:0.0.1", "s"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_watch_since_now_as_lines_of_json(shell: Shell, api: Api, cart: str) -> None:
    """Also of a service that nobody has registered yet."""
    with shell.start("watch", "cart", "shop/new", "--since-now", "-o", "ndjson", "--every", "0.2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stderr.readline() == "watching 2 service(s); Ctrl-C ends it\n"
        api.instance(api.service("new"), instanceId="n")
        line = json.loads(process.stdout.readline())
        assert (line["service"], line["change"]["kind"]) == ("shop/new:0.0.1", "added")
        assert line["change"]["instance"]["instanceId"] == "n"
        process.terminate()


def test_a_reader_that_has_read_enough_ends_the_verb(shell: Shell, cart: str) -> None:
    """`registry watch | head -1` ends with the next line, without a complaint."""
    command = " ".join(shell.command("instances", "-o", "ndjson"))
    done = subprocess.run(
        ["sh", "-c", f"{command} | head -1 | wc -l"], capture_output=True, text=True, env=shell.environment, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("1", "")


def test_top_and_status(shell: Shell, registry: Replica, cart: str) -> None:
    top = shell.run("top", "--once")
    assert top.code == 0
    for said in ("1 services  2 instances  1 DOWN  1 UP", f"http://127.0.0.1:{registry.port}", "shop/cart:1.0.0"):
        assert said in top.out
    status = shell.run("status")
    assert status.code == 0
    assert "1 services, 2 instances of tenant-" in status.out
    told = shell.run("status", "--json").json
    assert [replica["problem"] for replica in told["replicas"]] == [""]
    assert told["replicas"][0]["figures"]["registry_instances"] >= 2
    assert told["replicas"][0]["figures"]["registry_log_lag_events"] == 0
    assert " LAG" in top.out


def test_top_writes_one_look_after_the_other_where_nobody_looks(shell: Shell, cart: str) -> None:
    """In a pipe or a file; the reader that has read enough ends it."""
    command = " ".join(shell.command("top", "--every", "0.5"))
    done = subprocess.run(
        ["sh", "-c", f"{command} | grep -m 2 -o '2 instances'"],
        capture_output=True,
        text=True,
        env=shell.environment,
        timeout=60,
    )
    assert (done.stdout.split("\n"), done.stderr) == (["2 instances", "2 instances", ""], "")


def test_top_that_reaches_no_registry_at_first_says_so_and_ends(shell: Shell) -> None:
    done = shell.run("top", "--server", "127.0.0.1:1")
    assert (done.code, done.out) == (3, "")


def test_status_says_why_a_registry_is_not_well(shell: Shell) -> None:
    """It is what an operator types first when the store is away; `health` is refused then."""
    with redis_server() as server, replica("--redis-url", server.url, "--redis-timeout-s", "0.5") as one:
        api = one.api("default")
        api.service("cart")
        server.pause()
        try:
            until_sync(lambda: api.get("/health/readiness").status == 503, "the outage to be noticed")
            assert api.get("/health").status == 400
            done = shell.run("status", REGISTRY_SERVER=f"127.0.0.1:{one.port}", REGISTRY_TENANT="default")
        finally:
            server.resume()
    assert (done.code, done.err) == (1, ""), done.out
    assert "registry 0.1.0: 1 services" in done.out
    assert "the store has not answered" in done.out


# -- where, who, and what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show", "nothing"], 1, "there is no service nothing; `registry services` lists what there is"),
        (["frob"], 2, "No such command 'frob'; registry --help lists what may be given"),
        (["find"], 2, "Missing argument 'NAME'; registry find --help lists what may be given"),
        (["show", "a b"], 2, "'a b' is no name of a microservice"),
        (["register", "cart", "-p", "x"], 2, "'x' is no property; write KEY=VALUE"),
        (["register", "cart:1.0+"], 2, "what is registered has one version"),
        (["services", "--server", "127.0.0.1:1"], 3, "no registry answers: http://127.0.0.1:1 cannot be connected"),
        (["services", "--server", "ftp://x"], 2, "is no address of a registry"),
        (["services", "--profile", "nowhere"], 2, "there is no profile nowhere"),
        (["services", "--ca", "/nowhere"], 2, "the certificates cannot be used"),
        (["services", "--user", "ann"], 2, "the password of ann is missing; set REGISTRY_PASSWORD"),
        (["register", "cart", "--server", "127.0.0.1:1", "--timeout", "0.3"], 3, "no registry answers"),
        (["register", "cart", "--interval", "5", "--id", "a/b"], 4, "the registry refuses this with 400001"),
    ],
)
def test_failures_are_one_sentence_with_a_code(shell: Shell, arguments: list[str], code: int, said: str) -> None:
    done = shell.run(*arguments)
    assert (done.code, done.out) == (code, "")
    lines = [line for line in done.err.splitlines() if line.startswith("registry: ")]
    assert len(lines) == 1, done.err
    assert said in lines[0]
    assert "Traceback" not in done.err


def test_flags_win_over_variables_and_these_over_profiles(
    shell: Shell, registry: Replica, tenant: str, tmp_path: Path, cart: str
) -> None:
    profiles = tmp_path / "registry" / "profiles.toml"
    profiles.parent.mkdir()
    profiles.write_text(
        f'[default]\noutput = "json"\n[far]\nserver = "127.0.0.1:{registry.port}"\ntenant = "{tenant}"\n'
        '[wrong]\ncolour = "blue"\n'
    )
    assert shell.run("services").json
    assert rows(shell.run("services", "-o", "table"))
    alone = {"REGISTRY_SERVER": "", "REGISTRY_TENANT": ""}
    assert rows(shell.run("services", "--profile", "far", **alone))
    assert rows(shell.run("services", REGISTRY_PROFILE="far", **alone))
    assert rows(shell.run("services", "--profile", "far", REGISTRY_TENANT="other")) == []
    assert shell.run("services", "--profile", "wrong").err == (
        "registry: a profile has no colour; it may have server, tenant, project, user, ca, cert, key, timeout, output\n"
    )


def test_accounts(shell: Shell, redis_url: str) -> None:
    password = "Root_password_1"
    options = ["--redis-url", redis_url, "--redis-prefix", f"remote-accounts-{os.getpid()}:"]
    with replica(*options, environment={"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": password}) as guarded:
        server = {"REGISTRY_SERVER": f"127.0.0.1:{guarded.port}"}
        refused = shell.run("services", **server)
        assert refused.code == 4
        assert "log in with `registry login --user NAME`" in refused.err
        assert rows(shell.run("services", "--user", "root", REGISTRY_PASSWORD=password, **server)) == []


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion(shell: Shell, kind: str) -> None:
    done = shell.run("completion", kind)
    assert done.code == 0
    assert "_REGISTRY_COMPLETE" in done.out
    asked = {"_REGISTRY_COMPLETE": "bash_complete", "COMP_WORDS": "registry un", "COMP_CWORD": "1"}
    assert shell.run_process(**asked).out == "plain,unregister\n"


def test_variables_of_the_verbs_do_not_stop_a_registry(redis_url: str) -> None:
    """Both run on an operator's machine."""
    variables = {f"REGISTRY_{name}": "x" for name in ("SERVER", "TENANT", "PROJECT", "USER", "PASSWORD", "PROFILE")}
    with replica("--redis-url", redis_url, "--redis-prefix", f"verbs-{os.getpid()}:", environment=variables) as one:
        assert one.api("default").service("cart")
