"""JSON bodies: strict where a client is wrong, lenient where clients differ.

api-rules.md 1.2, clients.md 0.10.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.api import Api, assert_refused, ids, ok

UNDECODABLE: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n",
    "byte order mark": b'\xef\xbb\xbf{"instance":{"hostName":"h"}}',
    "UTF-16": '{"instance":{"hostName":"h"}}'.encode("utf-16"),
    "trailing garbage": b'{"instance":{"hostName":"h"}}x',
    "two values": b'{"instance":{"hostName":"h"}}{}',
    "cut off": b'{"instance":{"hostName":"h"}',
    "single quotes": b"{'instance':{'hostName':'h'}}",
    "trailing comma": b'{"instance":{"hostName":"h",}}',
    "comment": b'{"instance":{"hostName":"h"}/**/}',
    "a list": b'[{"instance":{"hostName":"h"}}]',
    "a text": b'"instance"',
    "a number": b"5",
    "NaN": b'{"instance":{"hostName":"h","healthCheck":{"mode":"push","interval":NaN,"times":3}}}',
    "not UTF-8": b'{"instance":{"hostName":"\xff"}}',
    "not UTF-8 in an unknown member": b'{"instance":{"hostName":"h"},"stage":"\xff"}',
    "control character": b'{"instance":{"hostName":"a\nb"}}',
    "deeply nested list": b'{"instance":{"hostName":"h"},"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "deeply nested object": b'{"instance":{"hostName":"h"},"x":' + b'{"x":' * 500 + b"1" + b"}" * 500 + b"}",
    "member twice": b'{"instance":{"hostName":"a","hostName":"b"}}',
    "member twice in two cases": b'{"instance":{"hostName":"a","HOSTNAME":"b"}}',
    "unknown member twice": b'{"instance":{"hostName":"a"},"x":1,"x":2}',
    "property twice": b'{"instance":{"hostName":"a","properties":{"k":"1","k":"2"}}}',
    "lone surrogate": b'{"instance":{"hostName":"\\ud800"}}',
    "lone surrogate in a property": b'{"instance":{"hostName":"h","properties":{"k":"\\udc00"}}}',
    "lone surrogate as a property's name": b'{"instance":{"hostName":"h","properties":{"\\udc00":"v"}}}',
    "lone surrogate in a member of another case": b'{"INSTANCE":{"hostName":"\\ud800"}}',
    "lone surrogate in a property, members of another case": (
        b'{"INSTANCE":{"hostName":"h","properties":{"k":"\\ud800"}}}'
    ),
    "encoded surrogate in a property, members of another case": (
        b'{"INSTANCE":{"hostName":"h","properties":{"k":"\xed\xa0\x80"}}}'
    ),
    "encoded surrogate": b'{"instance":{"hostName":"\xed\xa0\x80"}}',
    "encoded surrogate in a member of another case": b'{"INSTANCE":{"hostName":"\xed\xa0\x80"}}',
    "number of 5000 digits": b'{"instance":{"hostName":"h"},"x":' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", UNDECODABLE.values(), ids=UNDECODABLE.keys())
def test_undecodable_body_is_refused(api: Api, service_id: str, body: bytes) -> None:
    """Nothing is guessed: 400001 in the error's shape, nothing is registered, and the connection goes on."""
    connections = api.connection.opened
    assert_refused(api.post(f"/microservices/{service_id}/instances", body), 400001, "$")
    assert ids(api.find()) == []
    assert api.connection.opened <= max(connections, 1)


def test_member_names_match_in_any_case(api: Api, service_id: str) -> None:
    """Go's decoder does not mind the letter case, so there are clients that do not either (api-rules.md 1.2)."""
    body = {"INSTANCE": {"hostname": "h", "Endpoints": ["rest://a:1"], "HealthCheck": {"MODE": "pull", "Port": 8}}}
    instance_id = ok(api.post(f"/microservices/{service_id}/instances", body)).json()["instanceId"]
    instance = api.read_instance(service_id, instance_id)
    assert (instance["hostName"], instance["endpoints"]) == ("h", ["rest://a:1"])
    assert instance["healthCheck"] == {"mode": "pull", "port": 8, "interval": 30, "times": 3}


def test_members_in_another_case_have_the_same_limits(api: Api, service_id: str) -> None:
    """Another letter case is no way around a rule."""
    body = {"Instance": {"HostName": "h" * 65}}
    assert_refused(api.post(f"/microservices/{service_id}/instances", body), 400001, "hostName")


def test_property_names_keep_their_case(api: Api, service_id: str) -> None:
    """Properties are the user's: `Version` and `HOSTNAME` among them are no members of the API."""
    properties = {"Version": "1", "version": "2", "HOSTNAME": "x"}
    instance_id = api.instance(service_id, properties=properties)
    assert api.read_instance(service_id, instance_id)["properties"] == properties


@pytest.mark.parametrize("value", [1, "x", None, [], {}, {"hostName": 5}, [[{}]], 1.5e300], ids=str)
def test_unknown_members_are_ignored(api: Api, service_id: str, value: Any) -> None:
    """sc-client sends whole objects, java 3.x its framework: what is not known must not refuse (clients.md 0.10)."""
    instance_id = api.instance(service_id, stage=value)
    assert "stage" not in api.read_instance(service_id, instance_id)
    body = {"instance": {"hostName": "h"}, "more": value}
    ok(api.post(f"/microservices/{service_id}/instances", body))


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml; charset=latin-1"])
def test_content_type_does_not_matter(api: Api, service_id: str, content_type: str) -> None:
    """The integration suite sends none; the body is JSON whatever the header says (clients.md 0.21)."""
    headers = {"Content-Type": content_type} if content_type else {}
    body = json.dumps({"instance": {"hostName": "ü"}}, ensure_ascii=False).encode()
    ok(api.post(f"/microservices/{service_id}/instances", body, headers))


def padded(size: int, member: str = "instance") -> bytes:
    """A valid body of exactly `size` bytes."""
    body = json.dumps({member: {"hostName": "h"}, "pad": ""}).encode()
    return body[:-2] + b"x" * (size - len(body)) + body[-2:]


@pytest.mark.parametrize(
    ("method", "path", "member"), [("POST", "instances", "instance"), ("PUT", "properties", "properties")]
)
def test_body_has_at_most_2_mib(api: Api, service_id: str, method: str, path: str, member: str) -> None:
    """What is larger is refused, not read for ever. Members that mean nothing may fill it."""
    path = f"/microservices/{service_id}/{path}"
    assert len(padded(2_097_152, member)) == 2_097_152
    ok(api.call(method, path, padded(2_097_152, member)))
    assert_refused(api.call(method, path, padded(2_097_153, member)), 400001, "2097152 bytes (REGISTRY_BODY_MAX_BYTES)")


def test_instance_with_the_urls_of_dozens_of_dubbo_interfaces_is_taken(api: Api, service_id: str) -> None:
    """The reference's 5,120 bytes are too few for them."""
    url = "dubbo://10.0.0.1:20880/com.example.orders.api.OrderQueryFacade?anyhost=true&application=orders&" + "x" * 400
    properties = {f"com.example.Interface{number}": url for number in range(60)}
    instance_id = api.instance(service_id, properties=properties)
    assert ok(api.put(f"/microservices/{service_id}/properties", {"properties": properties})).body == b""
    path = f"/microservices/{service_id}/instances/{instance_id}/properties"
    ok(api.put(path, {"properties": {**properties, "more": "x"}}))
    assert api.read_instance(service_id, instance_id)["properties"] == {**properties, "more": "x"}


def test_body_in_chunks_is_read(api: Api, service_id: str) -> None:
    """Go and java clients stream bodies of unknown length (`Transfer-Encoding: chunked`)."""
    head = f"POST /v4/default/registry/microservices/{service_id}/instances HTTP/1.1\r\nHost: h\r\n"
    head += f"X-Domain-Name: {api.domain}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [b'{"instance":', b'{"hostName":"h"}}']
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    ok(api.connection.exchange(head.encode() + body))
    assert len(ids(api.find())) == 1
