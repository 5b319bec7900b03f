"""People: accounts with their tokens, as tests need them."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from tests.support.api import Api
from tests.support.http import Connection, Response
from tests.support.replica import Replica

ROOT_PASSWORD = "Complicated_password1"
PASSWORD = "Sufficient_password1"
#: Seconds; the registry itself waits for 90.
IDLE_MAX_S = 30.0


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


class Office:
    """An admin at one replica."""

    def __init__(self, replica: Replica) -> None:
        self._connection = replica.connect()
        self._asked_s = time.monotonic()
        self.token = self.log_in("root", ROOT_PASSWORD).json()["token"]

    @property
    def connection(self) -> Connection:
        """The one that it keeps; opened anew when the registry may have closed it as idle."""
        now_s = time.monotonic()
        if now_s - self._asked_s > IDLE_MAX_S:
            self._connection.close()
        self._asked_s = now_s
        return self._connection

    def log_in(self, name: str, password: str = PASSWORD, **more: str) -> Response:
        return call(self.connection, "POST", "/v4/token", {"name": name, "password": password, **more})

    def call(self, method: str, path: str, body: Any = None) -> Response:
        """As root."""
        return call(self.connection, method, path, body, self.token)

    def done(self, method: str, path: str, body: Any = None) -> Response:
        """As root; it must succeed, everywhere."""
        response = self.call(method, path, body)
        assert response.status == 200, response
        assert response.header("X-Registry-Late-Replicas") == ""
        return response

    def role(self, *permissions: dict[str, Any]) -> str:
        """A new role of these permissions; its name."""
        name = f"r{uuid.uuid4().hex[:12]}"
        self.done("POST", "/v4/roles", {"name": name, "perms": list(permissions)})
        return name

    def account(self, *roles: str) -> str:
        """A new account with these roles; its name. Its password is `PASSWORD`."""
        name = f"a{uuid.uuid4().hex[:12]}"
        self.done("POST", "/v4/accounts", {"name": name, "password": PASSWORD, "roles": list(roles)})
        return name

    def person(self, *roles: str) -> str:
        """The token of a new account with these roles."""
        return str(self.log_in(self.account(*roles)).json()["token"])

    def reader(self) -> str:
        """The token of somebody who may see services, and nothing else."""
        return self.person(self.role(permission("service", "get")))


def permission(resource: str, *verbs: str, **labels: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": resource}
    return {"resources": [found | ({"labels": labels} if labels else {})], "verbs": list(verbs)}


def call(connection: Connection, method: str, path: str, body: Any = None, token: str = "") -> Response:
    """Any request, with a token or without one."""
    return connection.request(method, path, encoded(body), bearer(token) if token else {})


def encoded(body: Any) -> bytes | None:
    return body if body is None or isinstance(body, bytes) else json.dumps(body).encode()


def code(response: Response) -> int:
    """The error's code, 0 when there is none."""
    return int(response.json()["errorCode"]) if response.status >= 400 else 0


class Guest(Api):
    """A tenant's client that shows a token with everything it asks."""

    def __init__(self, connection: Connection, token: str, domain: str) -> None:
        super().__init__(connection, domain)
        self.token = token

    def call(self, method: str, path: str, body: Any = None, headers: Any = None) -> Response:
        return super().call(method, path, body, {**bearer(self.token), **(headers or {})})
