"""backup_plan: what putting one line of a dump back takes, where a view holds what it holds now.

What is missing is added. What is there is not touched, unless it differs and is to be overwritten; nothing is ever
removed. So a second time there is nothing to do. Pure, as `domain.decide`: but no quota refuses what is restored.

Events tell the moment of what they put back, so that timestamps, and with them revs, are the ones of before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, assert_never

from msgspec import Struct, structs

from registry.domain.access_events import (
    AccountChanged,
    AccountCreated,
    MachineTokenGiven,
    PasswordSet,
    RoleChanged,
    RoleCreated,
    SigningKeyAdded,
)
from registry.domain.accounts import KEYS_MAX, AccessView, Account, SigningKey
from registry.domain.backup import (
    AccountLine,
    DependenciesLine,
    Held,
    InstanceLine,
    KeysLine,
    MachineLine,
    PolicyLine,
    RoleLine,
    ServiceLine,
)
from registry.domain.decide import Stamp
from registry.domain.events import (
    DependenciesAdded,
    Event,
    InstanceRegistered,
    InstanceStatusSet,
    PolicySaved,
    SchemaPut,
    ServicePropertiesSet,
    ServiceRegistered,
    TagsReplaced,
)
from registry.domain.fold import apply
from registry.domain.model import Instance, Microservice, decode_instance
from registry.domain.view import RegistryView, ServiceRow

#: `kept`: it is there and differs, and was left as it is. `refused`: it cannot be there beside what is.
State = Literal["same", "added", "overwritten", "kept", "refused"]
#: Kinds of parts, in the order in which they are told.
KINDS: Final = (
    *("service", "properties", "tags", "schema", "instance", "dependencies", "policy"),
    *("role", "account", "machine token", "signing key"),
)
#: The stamp of the next event: of a moment (Unix seconds, as text), or of now for "".
Stamps = Callable[[str], Stamp]


class Part(Struct, frozen=True):
    """One part of a dump, and the events that put it back. `note` says why it is not as in the dump."""

    kind: str
    name: str
    state: State
    events: Sequence[Event] = ()
    note: str = ""


def put_back(view: RegistryView, line: Held, overwrite: bool, stamps: Stamps) -> Iterator[Part]:
    """As `plan`, and apply it to the view: what follows stands on it. What the fold refuses is not to be appended."""
    for part in plan(view, line, overwrite, stamps):
        error = None
        for event in part.events:
            error = error or apply(view, view.position.next(), event).error
        yield part if error is None else Part(part.kind, part.name, "refused", note=f"{error.message}: {error.detail}")


def plan(view: RegistryView, line: Held, overwrite: bool, stamps: Stamps) -> list[Part]:
    """What the line takes, part by part."""
    access = view.access or AccessView()
    match line:
        case ServiceLine():
            return _service(view, line, overwrite, stamps)
        case InstanceLine():
            return [_instance(view, line.instance, overwrite, stamps)]
        case DependenciesLine():
            return [_dependencies(view, line, stamps)]
        case PolicyLine(policy):
            held = view.policies.get(policy.id)
            return [
                _whole("policy", policy.name, held, policy, overwrite, [PolicySaved(policy=policy, **_now(stamps))])
            ]
        case RoleLine():
            return [_role(access, line, overwrite, stamps)]
        case AccountLine(account):
            return [_account(access, account, overwrite, stamps)]
        case MachineLine(machine):
            given = MachineTokenGiven(
                name=machine.name,
                id=machine.id,
                roles=machine.roles,
                expires_s=machine.expires_s,
                **_at(stamps, machine.create_time),
            )
            # A token that was given anew since is the valid one; the old one must not come back.
            before = access.machines.get(machine.name)
            if before is None:
                return [Part("machine token", machine.name, "added", [given])]
            note = "another one was given since"
            return [Part("machine token", machine.name, "same" if before.id == machine.id else "kept", note=note)]
        case KeysLine(keys):
            return _keys(access, keys, stamps)
    assert_never(line)


def _at(stamps: Stamps, moment: str) -> dict[str, Any]:
    return stamps(moment)._asdict()


def _now(stamps: Stamps) -> dict[str, Any]:
    return _at(stamps, "")


def _whole(kind: str, name: str, held: object, wanted: object, overwrite: bool, events: Sequence[Event]) -> Part:
    """A part that one event sets as a whole. `held`: None, or what is empty, is missing."""
    if held == wanted:
        return Part(kind, name, "same")
    if not held:
        return Part(kind, name, "added", events)
    return Part(kind, name, "overwritten", events) if overwrite else Part(kind, name, "kept", note="it differs")


# -- services ----------------------------------------------------------------------------------------------------------


def named(service: Microservice) -> str:
    """A service version as people write it."""
    environment = f" ({service.environment})" if service.environment else ""
    return f"{service.app_id}/{service.service_name}:{service.version}{environment}"


def _service(view: RegistryView, line: ServiceLine, overwrite: bool, stamps: Stamps) -> list[Part]:
    service, name = line.service, named(line.service)
    row, holder = view.services.get(service.service_id), view.holder(service)
    if holder is not None and holder != service.service_id:
        return [Part("service", name, "refused", note=f"it is registered as {holder}, not as {service.service_id}")]
    if row is None:
        return [Part("service", name, "added", _registration(service, stamps)), *_beside(None, line, overwrite, stamps)]
    if holder is None:
        return [Part("service", name, "refused", note=f"its id {service.service_id} is that of {named(row.service)}")]
    is_same = _fixed(row.service) == _fixed(service)
    note = "it differs in what is fixed at its registration"
    properties = [ServicePropertiesSet(service_id=service.service_id, properties=service.properties, **_now(stamps))]
    return [
        Part("service", name, "same" if is_same else "kept", note="" if is_same else note),
        _whole("properties", name, row.service.properties, service.properties, overwrite, properties),
        *_beside(row, line, overwrite, stamps),
    ]


def _registration(service: Microservice, stamps: Stamps) -> list[Event]:
    created, changed = service.timestamp, service.mod_timestamp
    events: list[Event] = [ServiceRegistered(service=service, chosen=True, **_at(stamps, created))]
    if changed != created:
        # Nothing but the moment of the last change.
        same = service.properties
        events.append(ServicePropertiesSet(service_id=service.service_id, properties=same, **_at(stamps, changed)))
    return events


def _fixed(service: Microservice) -> Microservice:
    """What a registration says for good."""
    return structs.replace(service, properties={}, schemas=[], timestamp="", mod_timestamp="")


def _beside(row: ServiceRow | None, line: ServiceLine, overwrite: bool, stamps: Stamps) -> list[Part]:
    id, name = line.service.service_id, named(line.service)
    tags, schemas = (row.tags, row.schemas) if row is not None else ({}, {})
    replaced = TagsReplaced(service_id=id, tags=line.tags, **_now(stamps))
    parts = [_whole("tags", name, tags, line.tags, overwrite, [replaced])]
    for schema in line.schemas:
        put = SchemaPut(
            service_id=id, schema_id=schema.schema_id, schema=schema.schema, summary=schema.summary, **_now(stamps)
        )
        held = schemas.get(schema.schema_id)
        parts.append(_whole("schema", f"{name} {schema.schema_id}", held, schema, overwrite, [put]))
    return parts


# -- instances and dependencies ----------------------------------------------------------------------------------------


def _instance(view: RegistryView, instance: Instance, overwrite: bool, stamps: Stamps) -> Part:
    row = view.services.get(instance.service_id)
    name = f"{instance.instance_id} of {named(row.service) if row else instance.service_id}"
    if row is None:
        return Part("instance", name, "refused", note="its service is not there")
    held = row.instances.get(instance.instance_id)
    content = _content(instance)
    moment = instance.timestamp if held is None else ""
    registered = InstanceRegistered(instance=content, chosen=True, **_at(stamps, moment))
    events: list[Event] = [registered]
    if held is None and instance.mod_timestamp != instance.timestamp:
        changed = _at(stamps, instance.mod_timestamp)
        id, status = instance.instance_id, instance.status
        events.append(InstanceStatusSet(service_id=row.service_id, instance_id=id, status=status, **changed))
    before = _content(decode_instance(held.body)) if held is not None else None
    return _whole("instance", name, before, content, overwrite, events)


def _content(instance: Instance) -> Instance:
    """What a registration says; the rest is the fold's to set."""
    return structs.replace(instance, version="", timestamp="", mod_timestamp="")


def _dependencies(view: RegistryView, line: DependenciesLine, stamps: Stamps) -> Part:
    row = view.services.get(line.consumer_id)
    name = named(row.service) if row else line.consumer_id
    if row is None:
        return Part("dependencies", name, "refused", note="the consumer is not there")
    new = [key for key in line.providers if key not in view.providers.get(line.consumer_id, {})]
    if not new:
        return Part("dependencies", name, "same")
    added = DependenciesAdded(consumer_id=line.consumer_id, providers=new, **_now(stamps))
    return Part("dependencies", name, "added", [added])


# -- accounts ----------------------------------------------------------------------------------------------------------


def _role(access: AccessView, line: RoleLine, overwrite: bool, stamps: Stamps) -> Part:
    role = line.role
    held = access.role(role.name)
    if held is None:
        events: list[Event] = [
            RoleCreated(name=role.name, id=role.id, perms=role.perms, **_at(stamps, role.create_time))
        ]
        if role.update_time != role.create_time:
            events.append(RoleChanged(name=role.name, perms=role.perms, **_at(stamps, role.update_time)))
        return Part("role", role.name, "added", events)
    changed = RoleChanged(name=role.name, perms=role.perms, **_now(stamps))
    return _whole("role", role.name, held.perms or None, role.perms, overwrite, [changed])


def _account(access: AccessView, account: Account, overwrite: bool, stamps: Stamps) -> Part:
    name, held = account.name, access.accounts.get(account.name)
    if held is None:
        created = AccountCreated(
            name=name,
            id=account.id,
            password=account.password,
            roles=account.roles,
            status=account.status,
            **_at(stamps, account.create_time),
        )
        events: list[Event] = [created]
        if account.update_time != account.create_time:
            moment = _at(stamps, account.update_time)
            events.append(AccountChanged(name=name, roles=account.roles, status=account.status, **moment))
        return Part("account", name, "added", events)
    changed: list[Event] = [
        AccountChanged(name=name, roles=account.roles, status=account.status, **_now(stamps)),
        PasswordSet(name=name, password=account.password, **_now(stamps)),
    ]
    return _whole("account", name, _says(held), _says(account), overwrite, changed)


def _says(account: Account) -> Account:
    return structs.replace(account, id="", era="", create_time="", update_time="")


def _keys(access: AccessView, keys: Sequence[SigningKey], stamps: Stamps) -> list[Part]:
    """Keys of before are valid again, as far as there is room for them; the one that signs now goes on to sign."""
    held = {key.kid for key in access.keys}
    missing = [key for key in keys if key.kid not in held]
    room = KEYS_MAX - len(held)
    back = missing[len(missing) - room :] if room < len(missing) else missing
    parts = [Part("signing key", key.kid, "same") for key in keys if key.kid in held]
    parts += [
        Part("signing key", key.kid, "kept", note=f"there are {KEYS_MAX} already") for key in missing if key not in back
    ]
    for key in back:
        # Those that are there follow again, so that their order stays.
        added = [SigningKeyAdded(kid=one.kid, pem=one.pem, **_now(stamps)) for one in (key, *access.keys)]
        parts.append(Part("signing key", key.kid, "added", added))
    return parts
