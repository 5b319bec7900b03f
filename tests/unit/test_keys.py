"""Keys: names that lead back to exactly what they were made of."""

from __future__ import annotations

import pytest

from registry.domain.tenant import Tenant
from registry.store.keys import Keys, decode_name, encode_name, lease_name
from registry.store.lease import LeaseName

TENANTS = [Tenant("default", "default"), Tenant("a}{b", "c/d"), Tenant("ü 空", "%2F"), Tenant("", "")]


@pytest.mark.parametrize("tenant", TENANTS, ids=str)
@pytest.mark.parametrize("name", [LeaseName("s", "i"), LeaseName("a/b", "i.1"), LeaseName("}:lease:x/", "i")])
@pytest.mark.parametrize("prefix", ["registry:", "", "a:b:"])
def test_a_lease_key_is_read_back(tenant: Tenant, name: LeaseName, prefix: str) -> None:
    """A notification names nothing but the key: it must lead to the right instance of the right tenant."""
    keys = Keys(prefix)
    key = keys.lease_prefix(tenant) + lease_name(*name)
    assert keys.parse_lease(key) == (tenant, name)


@pytest.mark.parametrize(
    "key",
    ["", "x", "registry:{a/b}:events", "registry:{a/b}:lapse:s/i", "other:{a/b}:lease:s/i", "registry:{a/b}:lease:s"],
)
def test_any_other_key_is_no_lease(key: str) -> None:
    """Others use the same Redis, and their keys expire too."""
    assert Keys("registry:").parse_lease(key) is None


def test_the_default_tenants_keys_are_as_documented() -> None:
    """design.md 4: who looks into Redis finds what the table says; renaming a key loses every log."""
    keys, tenant = Keys("registry:"), Tenant("default", "default")
    assert keys.events(tenant) == "registry:{default/default}:events"
    assert keys.head(tenant) == "registry:{default/default}:head"
    assert keys.beats(tenant) == "registry:{default/default}:beats"
    assert keys.pulse(tenant) == "registry:{default/default}:pulse"
    assert keys.lease_prefix(tenant) == "registry:{default/default}:lease:"


@pytest.mark.parametrize("name", ["", "default", "a/b", "{}", "%7B", "ü", "空 ", "\0", "+"])
def test_a_name_is_encoded_without_braces_and_slashes_and_read_back(name: str) -> None:
    """One brace of a client's in a key would send it to another slot - or into another tenant."""
    encoded = encode_name(name)
    assert decode_name(encoded) == name
    assert not set(encoded) & set("{}/")
