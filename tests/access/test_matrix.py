"""Every operation, asked for by everybody: nobody gets more than the access table says.

The table stands here a second time, as the documents have it (api-rules.md 3.16): by the patterns of the routes.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from registry.access.tokens import Key, generate_key, read_key
from registry.http_api.operation import Kind, Operation
from registry.http_api.operations import ACCOUNT_OPERATIONS, OPERATIONS
from tests.access.conftest import RBAC
from tests.access.people import Guest, Office, bearer, code, encoded, permission
from tests.support.api import wanted
from tests.support.http import Connection
from tests.support.replica import Replica, replica
from tests.support.websocket import WebSocket
from tests.unit.test_tokens import hmac_signed_by

EVERYTHING = (*OPERATIONS, *ACCOUNT_OPERATIONS)
OURS, FOREIGN = (read_key(generate_key().pem.text.encode()) for _ in range(2))
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}
#: What a role of each kind allows, as (resource, verb); `*` is any verb.
ROLES: dict[str, list[tuple[str, str]]] = {
    "reader": [("service", "get")],
    "writer": [("service", "create"), ("service", "update"), ("service", "delete")],
    "stranger": [("config", "*")],
    "clerk": [("account", "*"), ("role", "*")],
    "developer": [(resource, "*") for resource in ("config", "service", "governance", "ops", "service/schema")],
}


def needed(operation: Operation) -> str | tuple[str, str]:
    """`open`, `token`, `admin`, or the resource and the verb, by the route alone."""
    path, method = operation.path, operation.method
    if path == "/v4/token" or re.search(r"/version$|/health$|/health/readiness$", path) or path == "/openapi.json":
        return "open"
    if path == "/v4/self-perms" or path.endswith("/password"):
        return "token"
    if path.startswith("/v4/machine-tokens"):
        return "admin"
    verb = VERBS[method]
    if path.startswith(("/v4/accounts", "/v4/account-locks")):
        return "account", verb
    if path.startswith("/v4/roles"):
        return "role", verb
    if path.startswith("/v1/{project}/gov/"):
        return "governance", verb
    if "/schemas" in path:
        return "service/schema", verb
    if path.startswith("/v4/{project}/admin") or path == "/metrics":
        return "ops", verb
    if path.endswith("/instances/action"):
        return "service", "get"
    if operation.kind is Kind.SOCKET and path.endswith("/heartbeat"):
        return "service", "update"  # unlike the reference: it renews a lease
    return "service", verb


def allowed(operation: Operation, roles: list[tuple[str, str]]) -> bool:
    what = needed(operation)
    if isinstance(what, str):
        return what != "admin"
    return what in roles or (what[0], "*") in roles


@pytest.fixture(scope="module", params=["on", "off"], ids=["lane", "parser"])
def place(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Replica, dict[str, str]]]:
    """A registry that answers by one way, and a token of each role there."""
    file = tmp_path_factory.mktemp("keys") / "key.pem"
    file.write_bytes(pem(OURS))
    file.chmod(0o600)
    settings = {**RBAC, "REGISTRY_FAST_LANE": request.param, "REGISTRY_RBAC_PRIVATE_KEY_FILE": str(file)}
    prefix = f"matrix-{uuid.uuid4().hex[:8]}:"
    with replica("--redis-url", redis_url, "--redis-prefix", prefix, environment=settings) as process:
        office = Office(process)
        tokens = {"admin": office.token, "developer": office.person("developer")}
        for name, rights in ROLES.items():
            if name != "developer":
                tokens[name] = office.person(office.role(*(permission(*right) for right in rights)))
        yield process, tokens


def pem(key: Key) -> bytes:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ask(connection: Connection, operation: Operation, credentials: dict[str, str], v3: bool = False) -> int:
    """The code of the answer: 0, or that of the refusal; where none has it, the status."""
    path = re.sub(r"{(\w+)}", "nothing-there", operation.path.replace("{project}", "default"))
    if v3:
        path = path.replace("/v4/default/registry", "/registry/v3")
    if operation.name == "batch-find-instances":
        path += "?type=query"
    if operation.name == "find-instances":
        path += "?appId=a&serviceName=b"
    if operation.kind is Kind.FEED:
        path += "?wait=0s"
    body = b"{}" if operation.method in ("POST", "PUT", "DELETE") else None
    response = connection.request(operation.method, path, body, credentials)
    return code(response) if response.body.startswith(b'{"errorCode"') else 0


@pytest.mark.parametrize("role", ["admin", *ROLES])
def test_a_role_allows_what_its_permissions_say_and_nothing_else(
    place: tuple[Replica, dict[str, str]], role: str
) -> None:
    process, tokens = place
    connection = process.connect()
    for operation in EVERYTHING:
        for v3 in (False, True) if operation.in_v3 else (False,):
            for again in (False, True):  # what was allowed once is remembered
                told = ask(connection, operation, bearer(tokens[role]), v3)
                expected = role == "admin" or allowed(operation, ROLES[role])
                assert (told != 403205) == expected, (operation.name, told, v3, again)
                assert told // 1000 != 401 or operation.name == "log-in", (operation.name, told)


def forged(token: str) -> dict[str, tuple[str, int]]:
    """Tokens that are none, and the code of each; made of a good one of root's."""
    good: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    head = jwt.get_unverified_header(token)
    public = OURS.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def signed(claims: dict[str, Any], key: Key = OURS, algorithm: str = "RS512", kid: str = OURS.kid) -> str:
        return jwt.encode(claims, key.private, algorithm=algorithm, headers={"kid": kid})

    assert head["kid"] == OURS.kid
    first, payload, signature = token.split(".")
    other_payload = signed({**good, "exp": good["exp"] + 1}).split(".")[1]
    return {
        "expired": (signed({**good, "exp": int(time.time()) - 1}), 401205),
        "foreign": (signed(good, FOREIGN, kid=FOREIGN.kid), 401201),
        "swapped key": (signed(good, FOREIGN), 401201),
        "truncated": (token[:-4], 401201),
        "no signature": (f"{first}.{payload}.", 401201),
        "changed": (f"{first}.{other_payload}.{signature}", 401201),
        "alg none": (jwt.encode(good, "", algorithm="none", headers={"kid": OURS.kid}), 401201),
        "HS256 with the public key": (hmac_signed_by(public, good, OURS.kid), 401201),
        "RS256": (signed(good, algorithm="RS256"), 401201),
        "of another era": (signed({**good, "era": "x-1"}), 401205),
        "without an era": (signed({name: good[name] for name in good if name != "era"}), 401201),
        "of nobody": (signed({**good, "account": "nobody"}), 401206),
        "of no machine": (signed({"machine": "nobody", "era": "x", "exp": good["exp"]}), 401206),
        "of a replica": (signed({**good, "account": "registry"}), 401206),
    }


def test_what_is_no_token_opens_nothing(place: tuple[Replica, dict[str, str]]) -> None:
    process, tokens = place
    connection = process.connect()
    shown: dict[str, tuple[dict[str, str], int]] = {
        "none": ({}, 401204),
        "blank": ({"Authorization": ""}, 401204),
        "no scheme": ({"Authorization": tokens["admin"]}, 401201),
        "three parts": ({"Authorization": f"Bearer {tokens['admin']} x"}, 401201),
        "basic": ({"Authorization": "Basic cm9vdDpyb290"}, 401201),
    }
    for name, (token, expected) in forged(tokens["admin"]).items():
        shown[name] = (bearer(token), expected)
        shown[f"{name}, in the other header"] = ({"X-Auth-Token": token}, expected)
    for operation in EVERYTHING:
        for name, (credentials, expected) in shown.items():
            for v3 in (False, True) if operation.in_v3 else (False,):
                told = ask(connection, operation, credentials, v3)
                if needed(operation) == "open":
                    assert told != expected, (operation.name, name)
                else:
                    assert told == expected, (operation.name, name, told, v3)


def test_head_is_refused_as_get_is(place: tuple[Replica, dict[str, str]]) -> None:
    """The length of an answer tells something, too."""
    process, tokens = place
    connection = process.connect()
    for operation in (one for one in EVERYTHING if one.method == "GET"):
        path = re.sub(r"{(\w+)}", "nothing-there", operation.path.replace("{project}", "default"))
        query = "?appId=a&serviceName=b" if operation.name == "find-instances" else ""
        nobody, stranger = (
            connection.request("HEAD", path + query, None, credentials).status
            for credentials in ({}, bearer(tokens["stranger"]))
        )
        what = needed(operation)
        assert (nobody == 401) == (what != "open"), operation.name
        assert (stranger == 403) == (what not in ("open", "token")), operation.name


def test_nobody_gets_a_hot_answer_that_the_table_does_not_give(place: tuple[Replica, dict[str, str]]) -> None:
    """What is there is answered from its bytes, and what was answered once is known by all of them."""
    process, tokens = place
    connection = process.connect()
    admin = Guest(connection, tokens["admin"], "default")
    service_id = admin.service()
    admin.instance(service_id, instanceId="i")
    rev = admin.find().rev
    target = f"/microservices/{service_id}/instances"
    asked: list[tuple[tuple[str, str], str, str, bytes | None]] = [
        (("service", "get"), "GET", "/instances?appId=shop&serviceName=cart", None),
        (("service", "get"), "GET", f"/instances?appId=shop&serviceName=cart&rev={rev}", None),
        (("service", "get"), "POST", "/instances/action?type=query", encoded({"services": [wanted("cart")]})),
        (("service", "get"), "POST", "/instances/action?type=query", encoded({"services": [wanted("cart", rev=rev)]})),
        (("service", "update"), "PUT", f"{target}/i/heartbeat", None),
        (("service", "create"), "POST", target, encoded({"instance": {"hostName": "host", "instanceId": "i"}})),
    ]
    forgeries = {name: (bearer(token), expected) for name, (token, expected) in forged(tokens["admin"]).items()}
    for _ in range(3):
        for right, method, path, body in asked:
            for role in ("admin", *ROLES):
                allowed_ = role == "admin" or right in ROLES[role] or (right[0], "*") in ROLES[role]
                response = connection.request(method, f"/v4/default/registry{path}", body, bearer(tokens[role]))
                assert (response.status in (200, 304)) == allowed_, (role, method, path, response)
                assert allowed_ or code(response) == 403205
            for name, (credentials, expected) in {**forgeries, "none": ({}, 401204)}.items():
                response = connection.request(method, f"/v4/default/registry{path}", body, credentials)
                assert code(response) == expected, (name, method, path)


def test_a_good_token_counts_in_the_other_header(place: tuple[Replica, dict[str, str]]) -> None:
    process, tokens = place
    with process.connect() as connection:
        for operation in EVERYTHING:
            told = ask(connection, operation, {"X-Auth-Token": tokens["admin"]})
            assert told // 1000 not in (401, 403), (operation.name, told)


def test_two_different_tokens_in_one_request_are_none(place: tuple[Replica, dict[str, str]]) -> None:
    """A proxy that adds its own must not lend it to a client that sends another."""
    process, tokens = place
    lines = b"Authorization: Bearer %b\r\nAuthorization: Bearer %b\r\n"
    with process.connect() as connection:
        for one, two in (("reader", "admin"), ("admin", "reader"), ("admin", "admin")):
            both = lines % (tokens[one].encode(), tokens[two].encode())
            target = b"/v4/default/registry/instances?appId=a&serviceName=b"
            response = connection.exchange(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, both))
            assert code(response) == 401201


@pytest.mark.parametrize("operation", [one for one in EVERYTHING if one.socket], ids=lambda one: one.name)
def test_a_websocket_is_refused_as_any_request(place: tuple[Replica, dict[str, str]], operation: Operation) -> None:
    """The reference answers 200 with nothing in it (9.3-9)."""
    process, tokens = place
    path = re.sub(r"{(\w+)}", "nothing-there", operation.path.replace("{project}", "default"))
    address = (process.host, process.port)
    with WebSocket(address, path) as socket:
        assert socket.status == 401
    with WebSocket(address, path, bearer(tokens["stranger"])) as socket:
        assert socket.status == 403
    with WebSocket(address, path, bearer(tokens["developer"])) as socket:
        assert socket.status == 101


def test_a_websocket_ends_when_its_token_does(place: tuple[Replica, dict[str, str]]) -> None:
    process, tokens = place
    Guest(process.connect(), tokens["admin"], "default").service("watched", serviceId="watched")
    claims: dict[str, Any] = jwt.decode(tokens["admin"], options={"verify_signature": False})
    ends = int(time.time()) + 4
    token = jwt.encode({**claims, "exp": ends}, OURS.private, algorithm="RS512", headers={"kid": OURS.kid})
    path = "/v4/default/registry/microservices/watched/watcher"
    with WebSocket((process.host, process.port), path, bearer(token)) as socket:
        assert socket.status == 101
        socket.until_end()
        assert ends <= time.time() < ends + 4
