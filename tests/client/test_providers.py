"""What a consumer does, against a real registry: it finds, keeps what it has found, and hears of changes."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from registry.client import Change, Closed, NoInstance, Provider, Refused, Unreachable
from registry.domain.position import parse_position
from tests.client.conftest import Connect
from tests.client.gate import BROKEN, HTML, Answer, Gate, Reply, Request
from tests.support.api import Api, ids, ok
from tests.support.replica import Replica, replica
from tests.support.waiting import until

ENDPOINT = "rest://10.0.0.1:8080"
NOBODY = "http://127.0.0.1:9"
#: Too late for any test to wait for a poll that comes by itself.
NEVER_S = 600.0


@pytest.fixture
def service_id(api: Api) -> str:
    """shop/cart 0.0.1, without an instance."""
    return api.service()


def named(instances: object) -> list[str]:
    return sorted(instance.instance_id for instance in instances)  # type: ignore[attr-defined]


# -- one find ----------------------------------------------------------------------------------------------------------


async def test_find_asks_with_the_rev_of_what_it_has(connect: Connect, api: Api, gate: Gate, service_id: str) -> None:
    api.instance(service_id, instanceId="a")
    async with connect(gate.url) as client:
        assert named(await client.find("shop/cart")) == ["a"]
        assert named(await client.find("shop/cart")) == ["a"]
        assert [reply.status for reply in gate.replies] == [200, 304]
        api.instance(service_id, instanceId="b")
        assert named(await client.find("shop/cart")) == ["a", "b"]
        assert named(await client.find("shop/cart:9.0+")) == []


async def test_what_is_not_known_and_what_is_not_reached_are_told_apart(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(Refused) as refused:
            await client.find("shop/nothing")
        assert refused.value.code == 400012
    async with connect(NOBODY) as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9 cannot be connected"):
            await client.find("shop/cart")
    with pytest.raises(Closed):
        await client.find("shop/cart")


@pytest.mark.parametrize("fault", [BROKEN, HTML, "hang"])
async def test_find_answers_what_was_known_while_no_registry_does(
    connect: Connect, api: Api, gate: Gate, service_id: str, fault: Reply | str
) -> None:
    api.instance(service_id, instanceId="a")
    async with connect(gate.url, timeout_s=1.0) as client:
        await client.find("shop/cart")
        gate.answer = lambda request: fault
        assert named(await client.find("shop/cart")) == ["a"]


# -- polling -----------------------------------------------------------------------------------------------------------


async def test_one_request_asks_for_all_providers(connect: Connect, api: Api, gate: Gate) -> None:
    """However many there are; subscribing to many at once costs one request, too."""
    names = [f"provider-{n}" for n in range(10)]
    for name in names:
        api.instance(api.service(name), instanceId=f"{name}-a")
    async with connect(gate.url, poll_s=0.1) as client:
        providers = [client.provider(f"shop/{name}") for name in names]
        assert all([await provider.ready() for provider in providers])
        assert [named(p.instances) for p in providers] == [[f"{name}-a"] for name in names]
        await until(lambda: said(len(gate.requests) >= 4), "three more polls")
        assert {request.target for request in gate.requests} == {"/v4/default/registry/instances/action?type=query"}
        assert all(len(json.loads(request.body)["services"]) == 10 for request in gate.requests)
        assert b"updated" not in gate.replies[1].body


async def test_changes_are_seen_by_callback_iterator_and_attribute(connect: Connect, api: Api, service_id: str) -> None:
    async with connect(poll_s=0.05) as client:
        provider = client.provider("shop/cart")
        told: list[Change] = []
        stop = provider.on_change(told.extend)
        provider.on_change(fail)
        changes = provider.changes()
        api.instance(service_id, instanceId="a")
        assert kinds([await anext(changes)]) == [("added", "a")]
        api.put(f"/microservices/{service_id}/instances/a/status?value=DOWN")
        assert kinds([await anext(changes)]) == [("changed", "a")]
        api.instance(service_id, instanceId="b")
        assert kinds([await anext(changes)]) == [("added", "b")]
        api.delete(f"/microservices/{service_id}/instances/a")
        assert kinds([await anext(changes)]) == [("removed", "a")]
        assert kinds(told) == [("added", "a"), ("changed", "a"), ("added", "b"), ("removed", "a")]
        stop()
        assert kinds([await anext(provider.changes())]) == [("added", "b")]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await anext(provider.changes(since_now=True))
    assert [change async for change in changes] == []
    assert len(told) == 4


def fail(changes: list[Change]) -> None:
    """Is logged, and hurts nobody."""
    raise ValueError("a bug of the program")


def kinds(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.kind, change.instance.instance_id) for change in changes]


async def test_an_empty_list_after_instances_is_believed_only_when_it_is_confirmed(
    connect: Connect, api: Api, gate: Gate, service_id: str
) -> None:
    """A registry that lost its data answers so; so does one whose instances really went, and it says so again."""
    api.instance(service_id, instanceId="a")
    empty = Reply(200, b'{"services":{"updated":[{"index":0,"rev":"empty"}]}}')
    async with connect(gate.url, poll_s=0.05) as client:
        provider = client.provider("shop/cart")
        await provider.ready()
        answers = iter([empty, empty])
        gate.answer = lambda request: next(answers, None)
        asked = len(gate.requests)
        await until(lambda: said(len(gate.replies) >= asked + 4), "two empty answers, and two that are not")
        assert named(provider.instances) == ["a"]
        gate.answer = lambda request: empty
        asked = len(gate.requests)
        await until(lambda: said(not provider.instances), "the empty list to be believed")
        assert len(gate.requests) - asked >= 3


async def test_what_may_not_be_seen_any_more_is_not_taken_for_gone(
    connect: Connect, api: Api, gate: Gate, service_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A role that was changed by mistake would empty the lists of everybody."""
    api.instance(service_id, instanceId="a")
    error = b'{"errorCode":"403205","errorMessage":"No permission","detail":"service"}'
    refused = Reply(200, b'{"services":{"failed":[{"indexes":[0],"error":' + error + b"}]}}")
    async with connect(gate.url, poll_s=0.05) as client:
        provider = client.provider("shop/cart")
        await provider.ready()
        gate.answer = lambda request: refused
        asked = len(gate.replies)
        await until(lambda: said(len(gate.replies) > asked + 5), "more refusals than empty answers are believed")
        assert named(provider.instances) == ["a"]
        assert caplog.text.count("shop/cart is refused, what is known stands") == 1


async def test_another_replica_confirms_an_empty_list_at_once(
    connect: Connect, api: Api, gate: Gate, registry: Replica, service_id: str
) -> None:
    api.instance(service_id, instanceId="a")
    async with Gate(registry.port) as other, connect(f"{gate.url},{other.url}", poll_s=NEVER_S) as client:
        provider = client.provider("shop/cart")
        await provider.ready()
        api.delete(f"/microservices/{service_id}/instances/a")
        await client.poll()
        assert named(provider.instances) == ["a"]
        await client.poll()
        assert provider.instances == ()
        assert {len(gate.requests), len(other.requests)} == {1, 2}


async def test_a_provider_that_is_not_known_yet_appears_later(connect: Connect, api: Api) -> None:
    async with connect(poll_s=0.05) as client:
        provider = client.provider("shop/cart")
        await provider.ready()
        with pytest.raises(NoInstance, match="shop/cart"):
            provider.pick()
        api.instance(api.service(), instanceId="a")
        await until(lambda: said(bool(provider.instances)), "the instance")
        assert provider.pick().instance_id == "a"


async def test_outage_keeps_everything_and_is_said_once(
    connect: Connect, api: Api, gate: Gate, service_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.instance(service_id, instanceId="a")
    async with connect(gate.url, poll_s=0.02) as client:
        provider = client.provider("shop/cart")
        await provider.ready()
        gate.answer = lambda request: BROKEN
        asked = len(gate.requests)
        await until(lambda: said(len(gate.requests) > asked + 4), "polls that fail")
        assert provider.pick().instance_id == "a"
        assert caplog.text.count("providers cannot be asked for") == 1
        gate.answer = lambda request: None
        await until(lambda: said("providers can be asked for again" in caplog.text), "the recovery")


async def test_listings_outlive_a_restart_without_a_registry(
    connect: Connect, api: Api, service_id: str, tmp_path: Path
) -> None:
    """When a file is asked for; of another tenant, or damaged, it is not used."""
    api.instance(service_id, instanceId="a")
    file = tmp_path / "cache" / "listings.json"
    async with connect(file=file) as client:
        await client.provider("shop/cart").ready()
    async with connect(NOBODY, file=file) as client:
        provider = client.provider("shop/cart")
        assert provider.pick().instance_id == "a"
        assert named(await client.find("shop/cart")) == ["a"]
    async with connect(NOBODY, file=file, tenant="other") as client:
        assert client.provider("shop/cart").instances == ()
    file.write_bytes(b"{")
    async with connect(NOBODY, file=file) as client:
        assert client.provider("shop/cart").instances == ()


async def test_providers_of_one_client_are_limited(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.client.providers.PROVIDERS_MAX", 1)
    async with connect() as client:
        client.provider("shop/cart")
        with pytest.raises(ValueError, match="at most 1 provider"):
            client.provider("shop/other")
        with pytest.raises(ValueError, match="at most 1 provider"):
            await client.find("shop/other")
        client.provider("shop/cart")


# -- watching ----------------------------------------------------------------------------------------------------------


async def test_changes_are_watched_where_that_is_allowed(connect: Connect, api: Api, service_id: str) -> None:
    """Long before the next poll. The consumer is the service that this client has registered."""
    async with connect(poll_s=NEVER_S) as client:
        await client.register("shop/front:1.0.0", [ENDPOINT])
        provider = client.provider("shop/cart")
        await until(lambda: said(client.is_watching), "the watch")
        changes = provider.changes()
        api.instance(service_id, instanceId="a")
        async with asyncio.timeout(5):
            assert kinds([await anext(changes)]) == [("added", "a")]
        api.delete(f"/microservices/{service_id}/instances/a")
        api.instance(service_id, instanceId="b")
        async with asyncio.timeout(5):
            assert kinds([await anext(changes), await anext(changes)]) == [("removed", "a"), ("added", "b")]


async def test_a_watch_that_is_refused_leaves_the_polls(
    connect: Connect, api: Api, gate: Gate, service_id: str
) -> None:
    """The gate passes no websockets, as many a proxy."""
    async with connect(gate.url, poll_s=0.05) as client:
        await client.register("shop/front:1.0.0", [ENDPOINT])
        provider = client.provider("shop/cart")
        await until(lambda: said(bool(gate.seen("GET", "/watcher"))), "the attempt to watch")
        api.instance(service_id, instanceId="a")
        await until(lambda: said(bool(provider.instances)), "the instance")
        assert not client.is_watching


async def test_a_registry_that_has_nothing_of_ours_is_enough(
    connect: Connect, api: Api, gate: Gate, service_id: str
) -> None:
    """The reference knows neither positions nor our routes; its answers have two headers of their own."""
    gate.shows = lambda name: name in ("x-resource-revision", "x-schema-summary")
    gate.answer = lambda request: Reply(404, b"404 page not found\n") if request.path.startswith("/v1/") else None
    async with connect(gate.url, poll_s=0.05, learn=True) as client:
        me = await client.register("shop/front:1.0.0", [ENDPOINT], schemas={"a": "text"})
        await me.set_status("DOWN")
        await me.set_properties({"p": "q"})
        provider = client.provider("shop/cart")
        api.instance(service_id, instanceId="a")
        await until(lambda: said(named(provider.instances) == ["a"]), "the instance")
        assert named(await client.find("shop/cart")) == ["a"]
        await until(lambda: said(gate.replies[-1].body == b'{"services":{"notModified":[0]}}'), "a poll without news")
        stored = api.read_instance(me.service_id, me.instance_id)
        assert (stored["status"], stored["properties"]) == ("DOWN", {"p": "q"})
    assert ids(api.find("front")) == []
    assert not [name for request in gate.requests for name in request.headers if name.startswith("x-registry")]
    assert not [request for request in gate.requests if not request.path.startswith("/v4/")]


# -- several addresses -------------------------------------------------------------------------------------------------


async def test_fail_over_and_positions(connect: Connect, registry: Replica, gate: Gate, api: Api) -> None:
    """What one replica has confirmed, the next one asked must have applied: every request says what was seen last."""
    async with Gate(registry.port) as other, connect(f"{gate.url},{other.url}", poll_s=NEVER_S) as client:
        one = await client.register("shop/cart:1.0.0", [ENDPOINT])
        gate.answer = lambda request: BROKEN
        assert named(await client.find("shop/cart")) == [one.instance_id]
        assert named(await client.find("shop/cart")) == [one.instance_id]
        assert sum(reply == BROKEN for reply in gate.replies) <= 1, "the broken one was asked again and again"
        sent = [r.headers.get("x-registry-position", "") for r in gate.requests + other.requests]
        replies = [{name.lower(): value for name, value in reply.headers} for reply in gate.replies + other.replies]
        heard = [h["x-registry-position"] for h in replies if "x-registry-position" in h]
        assert sent[0] == ""
        assert all(sent[1:])
        assert [parse_position(text) for text in sent[1:]] == sorted(parse_position(text) for text in sent[1:])
        assert parse_position(sent[-1]) == max(map(parse_position, heard))


async def test_a_position_of_a_registry_that_is_no_more_is_given_up(connect: Connect, gate: Gate, api: Api) -> None:
    """No replica could ever reach it, and each would be waited for in vain."""
    api.service()
    api.instance(api.service(), instanceId="a")
    behind = Reply(500, b'{"errorCode":"500011","errorMessage":"The store is unavailable","detail":"not reached"}')

    def answer(request: Request) -> Reply | None:
        return behind if request.headers.get("x-registry-position", "").startswith("9999999999999") else None

    async with connect(gate.url) as client:
        gate.answer = lambda request: Reply(200, b"{}", (("X-Registry-Position", "9999999999999-7"),))
        await client.find("shop/other")
        gate.answer = answer
        for _ in range(3):
            with pytest.raises(Unreachable):
                await client.find("shop/cart")
        assert named(await client.find("shop/cart")) == ["a"]


async def test_replicas_are_learned(connect: Connect, registry: Replica) -> None:
    async with connect(f"http://localhost:{registry.port}", learn=True) as client:
        await until(lambda: said(len(client.api.calls.book.addresses) == 2), "the replica that health names")
        given, learned = client.api.calls.book.addresses
        assert (given.learned, learned.learned) == (False, True)
        assert learned.url == f"http://127.0.0.1:{registry.port}"


async def test_no_more_than_four_addresses_are_asked_by_one_call(connect: Connect) -> None:
    async with connect([f"http://127.0.0.1:{port}" for port in range(2, 9)]) as client:
        with pytest.raises(Unreachable) as unreachable:
            await client.find("shop/cart")
        assert str(unreachable.value).count("cannot be connected") == 4


# -- accounts ----------------------------------------------------------------------------------------------------------


class Accounts:
    """What a registry with accounts answers (api-rules.md 3.16), in front of a real one."""

    def __init__(self, life_s: float = 3600.0) -> None:
        self.life_s = life_s
        self.numbers = itertools.count(1)
        #: Each with its end.
        self.taken: dict[str, float] = {}
        self.logins = 0

    def answer(self, request: Request) -> Reply | None:
        if request.path == "/v4/token":
            return self._log_in(json.loads(request.body))
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.taken.get(token, 0.0) > time.time():
            return None
        return Reply(401, b'{"errorCode":"401205","errorMessage":"Token expired","detail":""}')

    def _log_in(self, credentials: dict[str, str]) -> Reply:
        self.logins += 1
        if credentials != {"name": "root", "password": "Secret_1"}:
            return Reply(401, b'{"errorCode":"401202","errorMessage":"User name or password is wrong"}')
        claims: dict[str, Any] = {"account": "root", "exp": time.time() + self.life_s, "jti": next(self.numbers)}
        token = f"h.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.s"
        self.taken[token] = claims["exp"]
        return Reply(200, json.dumps({"token": token}).encode())


async def test_log_in_once_and_again_when_the_token_is_not_taken(
    connect: Connect, gate: Gate, api: Api, service_id: str
) -> None:
    accounts = Accounts()
    gate.answer = accounts.answer
    async with connect(gate.url, login=("root", "Secret_1")) as client:
        await asyncio.gather(*(client.find("shop/cart") for _ in range(5)))
        assert accounts.logins == 1
        accounts.taken.clear()
        await asyncio.gather(*(client.find("shop/cart") for _ in range(5)))
        assert accounts.logins == 2


async def test_tokens_are_renewed_before_they_end(connect: Connect, gate: Gate, service_id: str) -> None:
    accounts = Accounts(life_s=2.0)
    gate.answer = accounts.answer
    async with connect(gate.url, login=("root", "Secret_1")) as client:
        await client.find("shop/cart")
        await until(lambda: found_again(client, accounts), "the second log-in")
    assert all(reply.status != 401 for reply in gate.replies)


async def found_again(client: object, accounts: Accounts) -> bool:
    await client.find("shop/cart")  # type: ignore[attr-defined]
    return accounts.logins == 2


async def test_a_wrong_password_is_tried_once(connect: Connect, gate: Gate, service_id: str) -> None:
    """The third one in 15 minutes would block the account for everyone behind this address."""
    accounts = Accounts()
    gate.answer = accounts.answer
    async with connect(gate.url, login=("root", "wrong")) as client:
        for _ in range(5):
            with pytest.raises(Refused) as refused:
                await client.find("shop/cart")
            assert refused.value.code == 401202
        assert accounts.logins == 1


async def test_a_registry_without_accounts_is_spoken_to_without_a_token(
    connect: Connect, gate: Gate, service_id: str
) -> None:
    gate.answer = lambda request: Reply(404, b"404 page not found\n") if request.path == "/v4/token" else None
    async with connect(gate.url, login=("root", "Secret_1")) as client:
        await client.find("shop/cart")
        await client.find("shop/cart")
        assert len(gate.seen("POST", "/v4/token")) == 1
        assert all("authorization" not in request.headers for request in gate.requests)


async def test_accounts_of_a_real_registry(connect: Connect, redis_url: str) -> None:
    """Everything that a service does, the websocket included; and what a wrong password is told."""
    password = "Root_password_1"
    options = ["--redis-url", redis_url, "--redis-prefix", f"accounts-{uuid.uuid4().hex[:8]}:"]
    with replica(*options, environment={"REGISTRY_RBAC": "on", "SC_INIT_ROOT_PASSWORD": password}) as guarded:
        url = f"http://127.0.0.1:{guarded.port}"
        async with connect(url, login=("root", password), poll_s=NEVER_S) as client:
            one = await client.register("shop/cart:1.0.0", [ENDPOINT])
            provider = client.provider("shop/cart")
            await until(lambda: said(client.is_watching), "the watch")
            await one.set_status("DOWN")
            await until(lambda: said([i.status for i in provider.instances] == ["DOWN"]), "the change")
        async with connect(url, login=("root", "Wrong_password_1")) as client:
            with pytest.raises(Refused) as refused:
                await client.find("shop/cart")
            assert refused.value.code == 401202
        async with connect(url) as client:
            with pytest.raises(Refused) as refused:
                await client.find("shop/cart")
            assert refused.value.status == 401


def test_no_password_is_shown() -> None:
    from registry.client import Options

    assert "Secret_1" not in repr(Options(login=("root", "Secret_1")))


async def said(condition: bool) -> bool:
    return condition


async def test_an_alias_is_resolved_where_a_batch_find_does_not(
    connect: Connect, api: Api, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the reference does: an alias is known to a find, and not to a batch find."""
    monkeypatch.setattr("registry.client.aliases.AGAIN_S", 0.1)

    def answer(request: Request) -> Answer:
        if request.path.endswith("/action") and b'"ca"' in request.body:
            error = b'{"errorCode":"400012","errorMessage":"Micro-service does not exist"}'
            return Reply(200, b'{"services":{"failed":[{"indexes":[0],"error":%b}]}}' % error)
        return None

    gate.answer = answer
    cart = api.service(version="1.0.0", alias="ca")
    api.instance(cart, instanceId="a")
    async with connect(gate.url, poll_s=0.05, watch=False) as client:
        provider = client.provider("shop/ca")
        assert await provider.ready()
        await until(lambda: has(provider, "a"), "the alias to be resolved")
        asked = len(gate.seen("GET", "/instances"))
        api.instance(cart, instanceId="b", endpoints=["rest://b:1"])
        await until(lambda: has(provider, "a", "b"), "a change to be seen")
        # From then on the polls ask for the name.
        assert len(gate.seen("GET", "/instances")) == asked == 1
        # The service behind it goes, and another one takes its alias.
        ok(api.delete(f"/microservices/{cart}?force=true"))
        api.instance(api.service("basket", version="1.0.0", alias="ca"), instanceId="c")
        await until(lambda: has(provider, "c"), "the other service behind it")


async def test_what_is_no_alias_costs_one_request_a_minute(connect: Connect, gate: Gate) -> None:
    async with connect(gate.url, poll_s=0.02, watch=False) as client:
        provider = client.provider("shop/nothing")
        assert await provider.ready()
        polls = len(gate.seen("POST", "/action"))
        await until(lambda: more(polls + 5, gate), "more polls")
        assert len(gate.seen("GET", "/instances")) == 1


async def has(provider: Provider, *instance_ids: str) -> bool:
    return sorted(instance.instance_id for instance in provider.instances) == sorted(instance_ids)


async def more(polls: int, gate: Gate) -> bool:
    return len(gate.seen("POST", "/action")) >= polls
