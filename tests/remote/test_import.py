"""`registry import` between two real registries."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.remote.conftest import Shell
from tests.support.api import Api, ids, ok
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow


@pytest.fixture
def typed(shell: Shell, registry: Replica, other: Replica) -> list[str]:
    """The verb, with where it takes from; it brings to the other registry."""
    shell.environment["REGISTRY_SERVER"] = f"127.0.0.1:{other.port}"
    return ["import", "--from", f"127.0.0.1:{registry.port}"]


def stock_and_cart(api: Api) -> tuple[str, str]:
    """shop/stock with two instances, a schema and tags; shop/cart, which finds it."""
    stock = api.service("stock", version="1.0.0", serviceId="stock-1", alias="st", properties={"team": "a"})
    cart = api.service("cart", version="2.0.0", environment="testing")
    ok(api.put(f"/microservices/{stock}/schemas/hello", {"schema": "text", "summary": "abc"}))
    ok(api.post(f"/microservices/{stock}/tags", {"tags": {"colour": "blue"}}))
    consumer = api.service("front", version="1.0.0")
    ok(api.find("stock", consumer=consumer))
    api.instance(stock, instanceId="i1", endpoints=["rest://b:1", "rest://a:1"], properties={"p": "q"})
    api.instance(stock, instanceId="i2", endpoints=["rest://c:1"], status="TESTING")
    api.instance(cart, instanceId="i3", healthCheck={"mode": "push", "interval": 5, "times": 3})
    return stock, consumer


def test_import_brings_everything_and_says_so_first(
    shell: Shell, typed: list[str], api: Api, new: Api, registry: Replica
) -> None:
    stock, consumer = stock_and_cart(api)
    first = shell.run(*typed)
    assert first.code == 1
    assert ["shop/stock:1.0.0", "i2", "the instance is missing"] in [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in first.out.splitlines()
    ]
    assert ok(new.get("/microservices")).json() == {}
    done = shell.run(*typed, "--apply")
    assert done.code == 0, done
    brought = "3 services, 1 tags, 1 schemas, 1 dependencies, 3 instances"
    assert done.out == f"brought: {brought}\nnothing is different\n"

    service = new.read_service(stock)
    assert {name: service[name] for name in ("serviceId", "alias", "properties", "schemas")} == {
        "serviceId": "stock-1",
        "alias": "st",
        "properties": {"team": "a"},
        "schemas": ["hello"],
    }
    assert ok(new.get(f"/microservices/{stock}/schemas/hello")).json() == {"schema": "text"}
    assert ok(new.get(f"/microservices/{stock}/schemas/hello")).header("X-Schema-Summary") == "abc"
    assert ok(new.get(f"/microservices/{stock}/tags")).json() == {"tags": {"colour": "blue"}}
    (consuming,) = ok(new.get(f"/microservices/{stock}/consumers")).json()["consumers"]
    assert consuming["serviceId"] == consumer
    instance = new.read_instance(stock, "i1")
    assert instance["endpoints"] == ["rest://b:1", "rest://a:1"]
    assert instance["properties"] == {"p": "q", "mirroredFrom": f"http://127.0.0.1:{registry.port}"}
    assert new.read_instance(stock, "i2")["status"] == "TESTING"
    assert [i["instanceId"] for i in new.find("cart", env="testing").json()["instances"]] == ["i3"]
    # A second import finds nothing to do.
    again = shell.run(*typed, "--apply")
    assert (again.code, again.out) == (0, "brought: nothing\nnothing is different\n")
    assert shell.run(*typed).out == "nothing is different\n"


def test_an_imported_instance_lives_for_one_lease(
    shell: Shell, typed: list[str], api: Api, new: Api, registry: Replica
) -> None:
    service_id = api.service()
    api.instance(service_id, instanceId="i", healthCheck={"mode": "push", "interval": 5, "times": 0})
    assert shell.run(*typed, "--apply").code == 0
    assert ids(new.find()) == ["i"]
    until_sync(lambda: ids(new.find()) == [], "the lease to end", 20)


def test_what_has_moved_already_is_left_alone(
    shell: Shell, typed: list[str], api: Api, new: Api, registry: Replica
) -> None:
    """Its client beats at the new registry, and may have another status there."""
    for one, status in ((api, "UP"), (new, "DOWN")):
        one.instance(one.service(), instanceId="i", endpoints=["rest://a:1"], status=status)
    before = new.read_instance(new.service(), "i")
    done = shell.run(*typed, "--apply", "--json")
    assert done.code == 1
    assert [left["what"] for left in done.json["left"]] == ["differs in status"]
    assert new.read_instance(new.service(), "i") == before


def test_a_service_that_has_another_name_there_is_reported(
    shell: Shell, typed: list[str], api: Api, new: Api, registry: Replica
) -> None:
    api.instance(api.service("cart", serviceId="taken"), instanceId="i")
    new.service("stock", serviceId="taken")
    done = shell.run(*typed, "--apply")
    assert done.code == 1
    assert "brought: nothing\nrefused for shop/cart:0.0.1, services: Micro-service already exists" in done.out
    assert "the service is missing" in done.out


def test_an_import_whose_target_is_killed_is_begun_again(
    shell: Shell, api: Api, redis_url: str, typed: list[str], tenant: str
) -> None:
    for number in range(60):
        api.instance(api.service(f"s{number}"), instanceId=f"i{number}")
    options = ("--redis-url", redis_url, "--redis-prefix", f"killed-{os.getpid()}:")
    first = Replica(*options).start()
    try:
        command = shell.command(*typed, "--apply", "--server", f"127.0.0.1:{first.port}")
        with subprocess.Popen(command, env=shell.environment, stderr=subprocess.PIPE, text=True) as process:
            target = first.api(tenant)
            until_sync(lambda: len(_services(target)) > 5, "some services to be there", 30)
            first.kill()
            assert process.wait(60) == 3
            assert process.stderr is not None
            assert process.stderr.read().startswith("registry: no registry answers")
        with replica(*options) as second:
            target = second.api(tenant)
            assert 5 < len(_services(target)) < 60
            done = shell.run(*typed, "--apply", "--server", f"127.0.0.1:{second.port}")
            assert done.out.endswith("nothing is different\n"), done
            assert len(_services(target)) == 60
            assert all(ids(target.find(f"s{number}")) == [f"i{number}"] for number in range(60))
    finally:
        first.clean_up()


def _services(api: Api) -> list[str]:
    return [service["serviceName"] for service in ok(api.get("/microservices")).json().get("services", [])]


def test_a_source_that_is_away_is_said(shell: Shell, typed: list[str]) -> None:
    done = shell.run("import", "--from", "127.0.0.1:1")
    assert (done.code, "no registry answers" in done.err) == (3, True)
    assert shell.run("import").code == 2


def test_the_own_service_of_a_registry_is_not_brought(shell: Shell, typed: list[str]) -> None:
    """Each registry registers itself, in the default tenant."""
    done = shell.run(*typed, REGISTRY_TENANT="default")
    assert "SERVICECENTER" not in done.out
