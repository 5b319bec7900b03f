"""rev, frozen: clients hold revs across our upgrades, and replicas of two versions serve side by side."""

from __future__ import annotations

from hashlib import sha1

from registry.domain.find import FindQuery, find
from registry.domain.instance_reads import InstanceQuery, get_instance, list_instances
from registry.domain.rev import content_digest, rev
from tests.support.builders import instance, instance_registered, microservice, service_registered, view_of

AT_MS = 1_650_545_035_000


def test_rev_is_the_sha1_of_the_lengths_and_parts_of_the_identity_and_the_sorted_digests() -> None:
    """design.md 5: written out once more by hand."""
    digests = [b"\x02" * 20, b"\x01" * 20]
    expected = sha1(b"4:find15:default/default4:cart|" + b"\x01" * 20 + b"\x02" * 20).hexdigest()
    assert rev(("find", "default/default", "cart"), digests) == expected
    assert rev(("find", "default/default", "cart"), reversed(digests)) == expected
    assert rev((), ()) == sha1(b"|").hexdigest() == "3eb416223e9e69e6bb8ee19793911ad1ad2027d8"


def test_a_part_counts_in_bytes() -> None:
    """A name of one umlaut and one of two letters are not the same length."""
    assert rev(("ü",), ()) == sha1(b"2:\xc3\xbc|").hexdigest()


def test_the_content_digest_is_the_sha1_of_the_instance_as_written() -> None:
    """design.md 5: equal content, equal digest."""
    assert content_digest(b"{}") == sha1(b"{}").digest()


def test_the_revs_of_a_small_registry_are_what_they_always_were() -> None:
    """api-rules.md 5: if one of these changes, every consumer is sent every list again during an upgrade.

    A changed value is no mistake in itself: then say so in CHANGELOG.md.
    """
    view = view_of(service_registered(microservice("s1", "cart", properties={"k": "v"}), at_ms=AT_MS))
    empty = find(view, FindQuery("shop", "cart")), list_instances(view, InstanceQuery("s1"))
    full = view_of(
        service_registered(microservice("s1", "cart"), at_ms=AT_MS),
        instance_registered(instance("s1", "i1", endpoints=["rest://1:1"], properties={"a": "b"}), at_ms=AT_MS),
        instance_registered(instance("s1", "i2", status="DOWN"), at_ms=AT_MS + 1000),
    )
    answers = (
        *empty,
        find(full, FindQuery("shop", "cart")),
        list_instances(full, InstanceQuery("s1")),
        get_instance(full, InstanceQuery("s1", "i1")),
        find(full, FindQuery("", "*")),
    )
    assert [answer.rev for answer in answers] == [
        "0f62842378e75d2aefefefdbdf10bb89e0c0dcb8",
        "cb533fc1e8251ebbda46a32cf1686572484202c0",
        "a12cc77995fb03db8a43deb0972f0d758e1a88d5",
        "ac973ffa349c8c90cae1c90f268658d7cad7a172",
        "44069c103b6898840ac10c19473adeedb14db8ad",
        "a653ce26d3e8737eea3a0d7b0b1756de530fade7",
    ]
