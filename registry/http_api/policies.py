"""Endpoints of traffic governance: policies, kept as events of the tenant (api-rules.md 3.14)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from registry.domain.errors import InvalidParams
from registry.domain.model import Policy
from registry.domain.policies import MATCH_GROUP, POLICY_KINDS, list_policies, policy_or_refuse
from registry.domain.request_bodies import PolicyBody
from registry.domain.steps import Steps
from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.reply import Reply

#: The largest policy that is written for people to read.
PRETTY_MAX_BYTES: Final = 16 * 1024


async def create(api: Api, call: Call) -> Reply:
    """`POST /v1/{project}/gov/{kind}`."""
    body = await call.decode(PolicyBody)
    policy_id = await api.metadata.save_policy(call.tenant, call.path["kind"], "", body, call.actor)
    return reply.json(msgspec.json.encode({"id": policy_id}), api.position(call.tenant))


async def change(api: Api, call: Call) -> Reply:
    """`PUT /v1/{project}/gov/{kind}/{id}`."""
    body = await call.decode(PolicyBody)
    await api.metadata.save_policy(call.tenant, call.path["kind"], call.path["id"], body, call.actor)
    return reply.empty(api.position(call.tenant))


async def get(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/gov/{kind}/{id}`."""
    kind, policy_id = call.path["kind"], call.path["id"]
    policy = await api.discovery.read(call.tenant, lambda view: policy_or_refuse(view, kind, policy_id))
    return _pretty(api, call, policy)


async def list_all(api: Api, call: Call) -> Reply:
    """`GET /v1/{project}/gov/{kind}`; `display` groups all policies by the match group whose name they bear."""
    kind = call.path["kind"]
    app, environment = call.query("app"), call.query("environment") or call.query("env")
    if kind not in (*POLICY_KINDS, "display"):
        raise InvalidParams(f"kind {kind[:64]!r}: one of {', '.join(POLICY_KINDS)} or display - at the path")
    wanted = "" if kind == "display" else kind
    async with api.big_reads.turn:
        policies = await api.discovery.read(call.tenant, lambda view: list_policies(view, wanted, app, environment))
        position = api.position(call.tenant)
        body = await api.big_reads.make(_pretty_list(policies if wanted else _display(policies)))
        return reply.json(b"".join(body), position)


def _display(policies: list[Policy]) -> Iterator[dict[str, Any]]:
    named: defaultdict[str, list[Policy]] = defaultdict(list)
    for policy in policies:
        if policy.kind != MATCH_GROUP:
            named[policy.name].append(policy)
    for group in policies:
        if group.kind == MATCH_GROUP:
            yield {"policies": named.get(group.name, []), "matchGroup": group}


def _pretty_list(elements: Iterable[Any]) -> Steps:
    """The list as `_pretty` would have it. It may be much larger than what there is: groups may share policies."""
    parts: list[bytes] = []
    for element in elements:
        # In JSON a line ends between elements only.
        parts.append((b",\n  " if parts else b"[\n  ") + _pretty_json(element).replace(b"\n", b"\n  "))
        yield len(parts[-1])
    return [*parts, b"\n]"] if parts else [b"[]"]


async def delete(api: Api, call: Call) -> Reply:
    """`DELETE /v1/{project}/gov/{kind}/{id}`; with a match group go the policies of its name."""
    await api.metadata.delete_policy(call.tenant, call.path["kind"], call.path["id"], call.actor)
    return reply.empty(api.position(call.tenant))


def _pretty(api: Api, call: Call, value: Any) -> Reply:
    return reply.json(_pretty_json(value), api.position(call.tenant))


def _pretty_json(value: Any) -> bytes:
    """Indented, where it is small: what is nested deeply grows thirtyfold."""
    plain = msgspec.json.encode(value)
    return msgspec.json.format(plain, indent=2) if len(plain) <= PRETTY_MAX_BYTES else plain
