"""Flags: every yes-or-no parameter of the API is read alike."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.api import Api, assert_refused
from tests.support.http import Response

#: flag -> a request that takes it, and whose answer it changes.
FLAGS: Final = {
    "force": "DELETE /microservices/{service_id}",
    "withSchema": "GET /microservices/{service_id}/schemas",
    "noSelf": "GET /microservices/{service_id}/providers",
    "countOnly": "GET /govern/microservices?options=instances",
    "noCache": "GET /instances?appId=shop&serviceName=cart&rev={rev}",
    "withShared": "GET /microservices",
}
NO: Final = ["0", "false", "False", "", "%20"]
YES: Final = ["1", "true", "TRUE", "True", "%20true"]


@pytest.fixture
def furnished(api: Api, service_id: str) -> str:
    """A service that has one instance and one schema, and has found itself; its id."""
    api.instance(service_id)
    api.put(f"/microservices/{service_id}/schemas/s", {"schema": "x"})
    api.find(consumer=service_id)
    return service_id


def ask(api: Api, service_id: str, flag: str, value: str | None) -> Response:
    method, path = FLAGS[flag].split(" ")
    path = path.replace("{service_id}", service_id).replace("{rev}", api.find().rev)
    target = ("/v4/default" if path.startswith("/govern") else "/v4/default/registry") + path
    if value is not None:
        target += f"{'&' if '?' in target else '?'}{flag}={value}"
    # What is shared stands in the default tenant.
    domain = "default" if flag == "withShared" else api.domain
    return api.connection.request(method, target, None, {"X-Domain-Name": domain})


@pytest.mark.parametrize("flag", FLAGS)
def test_flag_may_be_said_in_several_ways(api: Api, furnished: str, flag: str) -> None:
    """`1`, `true`, `0`, `false` in any letter case; blank and absent are no."""
    no = ask(api, furnished, flag, None)
    assert [(answer.status, answer.body) for answer in (ask(api, furnished, flag, value) for value in NO)] == [
        (no.status, no.body)
    ] * len(NO)
    for value in YES:
        yes = ask(api, furnished, flag, value)
        assert yes.status == 200
        assert yes.body != no.body
        if flag == "force":
            api.service()


@pytest.mark.parametrize("value", ["2", "yes", "on", "tru", "1,0"])
@pytest.mark.parametrize("flag", FLAGS)
def test_anything_else_is_refused_by_name(api: Api, furnished: str, flag: str, value: str) -> None:
    """And not taken for either."""
    answer = ask(api, furnished, flag, value)
    assert_refused(answer, 400001, f"{flag}: 1, true, 0 or false, not '{value}' - at query parameter `{flag}`")
