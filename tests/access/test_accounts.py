"""The routes of accounts, roles and tokens, with the codes of api-rules.md 3.16."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest

from tests.access.people import PASSWORD, ROOT_PASSWORD, Guest, Office, bearer, call, code, permission
from tests.support.api import ok
from tests.support.replica import Replica

GET_SERVICES = permission("service", "get")


def account(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "password": PASSWORD, "roles": ["developer"], **members}


# -- log-in ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seconds"), [("", 43_200), ("15m", 900), ("24h", 86_400), ("1h30m", 5_400)])
def test_a_token_lasts_as_long_as_is_asked(office: Office, name: str, text: str, seconds: int) -> None:
    office.done("POST", "/v4/accounts", account(name))
    response = office.log_in(name, tokenExpirationTime=text) if text else office.log_in(name)
    claims = jwt.decode(response.json()["token"], options={"verify_signature": False})
    assert (claims["account"], claims["roles"]) == (name, ["developer"])
    left = claims["exp"] - int(time.time())
    assert seconds - 30 <= left <= seconds
    assert response.header("Cache-Control") == "no-store"


@pytest.mark.parametrize("text", ["14m", "25h", "x", "-1h", "0"])
def test_a_token_that_would_last_too_long_or_too_short_is_refused(office: Office, text: str) -> None:
    assert code(office.log_in("root", ROOT_PASSWORD, tokenExpirationTime=text)) == 400001


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"name":"root"}', b'{"name":"root","password":""}', b"[]"])
def test_a_log_in_without_name_and_password_is_refused(office: Office, body: bytes) -> None:
    assert code(call(office.connection, "POST", "/v4/token", body)) == 400001


@pytest.mark.parametrize("name", ["nobody", "no body", "x" * 900, "", "root\x00", "ж"])
def test_unknown_accounts_are_told_as_wrong_passwords(office: Office, name: str) -> None:
    assert code(office.log_in(name or " ", "Some_password1")) == 401202


# -- accounts ----------------------------------------------------------------------------------------------------------


def test_an_account_is_shown_without_its_password(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    shown = office.done("GET", f"/v4/accounts/{name}").json()
    assert set(shown) == {"id", "name", "roles", "status", "createTime", "updateTime"}
    assert (shown["name"], shown["roles"], shown["status"]) == (name, ["developer"], "active")
    listed = office.done("GET", "/v4/accounts").json()
    assert listed["total"] == len(listed["data"])
    assert shown in listed["data"]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"roles": []}, 400001),
        ({"roles": ["a", "b", "c", "d", "e", "f"]}, 400001),
        ({"roles": None}, 400001),
        ({"password": "weak"}, 400001),
        ({"password": None}, 400001),
        ({"status": "asleep"}, 400001),
        ({"name": ""}, 400001),
        ({"name": "-x"}, 400001),
        ({"name": "x" * 65}, 400001),
        ({"roles": ["no-such-role"]}, 400202),
        ({"name": "root"}, 409200),
    ],
)
def test_an_account_that_cannot_be_is_refused(
    office: Office, name: str, members: dict[str, Any], expected: int
) -> None:
    response = office.call("POST", "/v4/accounts", account(name) | members)
    assert code(response) == expected
    assert "weak" not in response.json()["detail"]


def test_the_older_form_of_roles_is_understood(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", {"name": name, "password": PASSWORD, "role": "developer"})
    assert office.done("GET", f"/v4/accounts/{name}").json()["roles"] == ["developer"]


def test_many_accounts_are_created_at_once_each_with_its_own_result(office: Office, name: str) -> None:
    bodies = [account(name), account(f"{name}2", password=""), account("root"), account(f"{name}3", roles=["no-such"])]
    bodies += [account(f"{name}4", password="weak"), {}]
    results = office.done("POST", "/v4/accounts/batch-create", {"accounts": bodies}).json()["accounts"]
    assert [(r["name"], r.get("errorCode", "")) for r in results] == [
        *((name, ""), (f"{name}2", ""), ("root", "409200"), (f"{name}3", "400202"), (f"{name}4", "400001")),
        ("", "400001"),
    ]
    assert code(office.log_in(name)) == 0
    assert code(office.log_in(f"{name}2", "")) == 400001
    for wrong in ([], [account(f"{name}{n}") for n in range(21)]):
        assert code(office.call("POST", "/v4/accounts/batch-create", {"accounts": wrong})) == 400001


def test_what_is_not_there_and_what_is_built_in_is_told(office: Office, name: str) -> None:
    for method, body in (("GET", None), ("PUT", {"roles": ["developer"]}), ("DELETE", None)):
        assert code(office.call(method, f"/v4/accounts/{name}", body)) == 400200
    assert code(office.call("POST", f"/v4/accounts/{name}/password", {"password": PASSWORD})) == 400200
    assert code(office.call("PUT", "/v4/accounts/root", {"roles": ["developer"]})) == 403202
    assert code(office.call("DELETE", "/v4/accounts/root")) == 403202


def test_nobody_changes_the_own_account(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name, roles=["admin"]))
    token = office.log_in(name).json()["token"]
    for method, body in (("PUT", {"roles": ["developer"]}), ("DELETE", None)):
        assert code(call(office.connection, method, f"/v4/accounts/{name}", body, token)) == 403204


def test_status_alone_may_be_changed(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    office.done("PUT", f"/v4/accounts/{name}", {"status": "inactive"})
    assert office.done("GET", f"/v4/accounts/{name}").json()["roles"] == ["developer"]
    assert code(office.log_in(name)) == 403201
    office.done("PUT", f"/v4/accounts/{name}", {"status": "active"})
    assert code(office.log_in(name)) == 0


def test_tokens_from_before_a_deletion_are_those_of_nobody_also_when_the_name_comes_back(
    office: Office, name: str
) -> None:
    office.done("POST", "/v4/accounts", account(name))
    token = office.log_in(name).json()["token"]
    assert code(call(office.connection, "GET", "/v4/self-perms", None, token)) == 0
    office.done("DELETE", f"/v4/accounts/{name}")
    assert code(call(office.connection, "GET", "/v4/self-perms", None, token)) == 401206
    office.done("POST", "/v4/accounts", account(name))
    assert code(call(office.connection, "GET", "/v4/self-perms", None, token)) == 401205


# -- passwords ---------------------------------------------------------------------------------------------------------

OTHER = "Another_password1"


def test_the_own_password_is_changed_with_the_current_one(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    token = office.log_in(name).json()["token"]

    def change(**body: str) -> int:
        return code(call(office.connection, "POST", f"/v4/accounts/{name}/password", body, token))

    assert change(password=OTHER) == 400001
    assert change(password="weak", currentPassword=PASSWORD) == 400001
    assert change(password=PASSWORD, currentPassword=PASSWORD) == 400206
    assert change(password=OTHER, currentPassword="Wrong_password1") == 401207
    assert change(password=OTHER, currentPassword=PASSWORD) == 0
    assert code(office.log_in(name)) == 401202
    assert code(office.log_in(name, OTHER)) == 0
    assert change(password=PASSWORD, currentPassword=OTHER) == 401205, "the token is from before"


def test_only_an_admin_changes_the_password_of_another(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    clerk = office.person(office.role(permission("account", "*")))
    path = f"/v4/accounts/{name}/password"
    assert code(call(office.connection, "POST", path, {"password": OTHER}, clerk)) == 403001
    office.done("POST", path, {"password": OTHER})
    assert code(office.log_in(name, OTHER)) == 0


# -- lock-out ----------------------------------------------------------------------------------------------------------


def test_the_third_wrong_password_locks_for_every_replica(office: Office, other: Replica, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    there = other.connect()
    wrong = {"name": name, "password": "Wrong_password1"}
    assert code(office.log_in(name, wrong["password"])) == 401202
    assert code(call(there, "POST", "/v4/token", wrong)) == 401202
    assert _lock(office, name) == "attempted"
    assert code(call(there, "POST", "/v4/token", wrong)) == 401202
    assert _lock(office, name) == "banned"
    for connection in (office.connection, there):
        assert code(call(connection, "POST", "/v4/token", {"name": name, "password": PASSWORD})) == 403201


def _lock(office: Office, name: str) -> str:
    found = office.done("GET", "/v4/account-locks").json()
    assert found["total"] == len(found["data"])
    (lock,) = [lock for lock in found["data"] if lock["key"] == f"{name}::127.0.0.1"]
    assert isinstance(lock["releaseAt"], int)
    return str(lock["status"])


def test_a_right_password_starts_the_count_anew(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    for _ in range(3):
        for _ in range(2):
            assert code(office.log_in(name, "Wrong_password1")) == 401202
        assert code(office.log_in(name)) == 0


def test_unverified_headers_do_not_unlock(office: Office, name: str) -> None:
    """In the reference a lock is evaded by another X-Forwarded-For each time (9.3-18)."""
    office.done("POST", "/v4/accounts", account(name))
    for number in range(4):
        body = f'{{"name":"{name}","password":"Wrong_password1"}}'.encode()
        headers = {"X-Forwarded-For": f"8.8.8.{number}", "X-Real-IP": f"8.8.4.{number}"}
        response = office.connection.request("POST", "/v4/token", body, headers)
        assert code(response) == (403201 if number == 3 else 401202)


def test_wrong_current_passwords_count_too(office: Office, name: str) -> None:
    office.done("POST", "/v4/accounts", account(name))
    token = office.log_in(name).json()["token"]
    body = {"password": OTHER, "currentPassword": "Wrong_password1"}
    path = f"/v4/accounts/{name}/password"
    assert [code(call(office.connection, "POST", path, body, token)) for _ in range(4)] == [401207] * 3 + [403201]


# -- roles -------------------------------------------------------------------------------------------------------------


def test_a_role_lives_as_the_documents_say(office: Office, name: str) -> None:
    office.done("POST", "/v4/roles", {"name": name, "perms": [GET_SERVICES]})
    assert code(office.call("POST", "/v4/roles", {"name": name, "perms": [GET_SERVICES]})) == 409201
    role = office.done("GET", f"/v4/roles/{name}").json()
    assert role["perms"] == [GET_SERVICES]
    assert role in office.done("GET", "/v4/roles").json()["data"]
    labelled = permission("service", "*", appId="shop", serviceName="c*")
    office.done("PUT", f"/v4/roles/{name}", {"perms": [labelled]})
    assert office.done("GET", f"/v4/roles/{name}").json()["perms"] == [labelled]
    holder = office.account(name)
    assert code(office.call("DELETE", f"/v4/roles/{name}")) == 400205
    office.done("DELETE", f"/v4/accounts/{holder}")
    office.done("DELETE", f"/v4/roles/{name}")
    for method, body in (("GET", None), ("PUT", {"perms": [labelled]}), ("DELETE", None)):
        assert code(office.call(method, f"/v4/roles/{name}", body)) == 400201


def test_the_built_in_roles_stay_as_they_are(office: Office) -> None:
    listed = {role["name"] for role in office.done("GET", "/v4/roles").json()["data"]}
    assert {"admin", "developer"} <= listed
    for name in ("admin", "developer"):
        assert code(office.call("PUT", f"/v4/roles/{name}", {"perms": [GET_SERVICES]})) == 403203
        assert code(office.call("DELETE", f"/v4/roles/{name}")) == 403203
        assert code(office.call("POST", "/v4/roles", {"name": name, "perms": [GET_SERVICES]})) == 409201


@pytest.mark.parametrize(
    "perms",
    [
        *([], None, [{}], [{"resources": [], "verbs": ["get"]}], [permission("service")], [permission("magic", "get")]),
        *([permission("service", "look")], [permission("ops", "get", appId="a")]),
        [permission("service", "get", colour="red")],
    ],
)
def test_permissions_that_mean_nothing_are_refused(office: Office, name: str, perms: Any) -> None:
    """A right that is written wrongly would silently be none, or a wider one."""
    assert code(office.call("POST", "/v4/roles", {"name": name, "perms": perms})) == 400001


def test_own_permissions_are_those_of_all_roles(office: Office) -> None:
    labelled = permission("service", "get", appId="shop")
    token = office.person(office.role(labelled), office.role(permission("ops", "get")))
    found = call(office.connection, "GET", "/v4/self-perms", None, token).json()["perms"]
    assert found == [labelled, permission("ops", "get")]


# -- tokens of machines ------------------------------------------------------------------------------------------------


def test_a_machine_token_counts_until_it_is_revoked(office: Office, other: Replica, name: str) -> None:
    role = office.role(permission("ops", "get"))
    body = {"name": name, "roles": [role], "tokenExpirationTime": "8760h"}
    token = office.done("POST", "/v4/machine-tokens", body).json()["token"]
    there = other.connect()
    assert call(there, "GET", "/metrics", None, token).status == 200
    assert code(call(there, "GET", "/v4/default/registry/microservices", None, token)) == 403205
    assert code(office.call("POST", "/v4/machine-tokens", body)) == 409200
    assert code(office.call("DELETE", f"/v4/roles/{role}")) == 400205
    (shown,) = [one for one in office.done("GET", "/v4/machine-tokens").json()["data"] if one["name"] == name]
    assert shown["roles"] == [role]
    assert shown["createdBy"] == "root@127.0.0.1"
    assert token not in str(shown)
    office.done("DELETE", f"/v4/machine-tokens/{name}")
    assert code(call(there, "GET", "/metrics", None, token)) == 401206
    assert code(office.call("DELETE", f"/v4/machine-tokens/{name}")) == 400001
    again = office.done("POST", "/v4/machine-tokens", body).json()["token"]
    assert call(there, "GET", "/metrics", None, again).status == 200
    assert code(call(there, "GET", "/metrics", None, token)) == 401205, "it is not the one of the same name"


@pytest.mark.parametrize("text", ["8785h", "1m", "x"])
def test_a_machine_token_lasts_a_year_at_most(office: Office, name: str, text: str) -> None:
    body = {"name": name, "roles": ["developer"], "tokenExpirationTime": text}
    assert code(office.call("POST", "/v4/machine-tokens", body)) == 400001


# -- for the record ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["guarded", "other"], ids=["lane", "parser"])
def test_what_is_written_names_the_account_beside_the_address(
    request: pytest.FixtureRequest, office: Office, name: str, which: str
) -> None:
    """Behind one balancer all clients have one address; who it was is told by the token."""
    process: Replica = request.getfixturevalue(which)
    office.done("POST", "/v4/accounts", account(name))
    guest = Guest(process.connect(), office.log_in(name).json()["token"], f"tenant-{name}")
    guest.instance(guest.service(serviceId="s"), instanceId="i")
    ok(guest.delete("/microservices/s/instances/i"))
    headers = {"X-Domain-Name": guest.domain, **bearer(office.token)}
    events = ok(guest.connection.request("GET", "/v1/default/history", None, headers)).json()["events"]
    assert [(event["actor"]["account"], event["actor"]["address"]) for event in events] == [(name, "127.0.0.1")] * 3
    line = process.tells("instance_unregistered", f"{guest.domain}/default")
    assert line["actor"] == f"{name}@127.0.0.1"
