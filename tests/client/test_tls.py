"""A registry that speaks TLS and asks its clients for certificates."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client import AsyncRegistry, Instance, Unreachable
from tests.client.conftest import Connect
from tests.support.redis_modes import Certificates, make_certificates
from tests.support.replica import replica
from tests.support.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), rsa=True)


@pytest.fixture(scope="module")
def secure(redis_url: str, files: Certificates) -> Iterator[str]:
    """The address of a registry that wants to see a certificate."""
    options = ["--redis-url", redis_url, "--redis-prefix", f"client-tls-{os.getpid()}:", "--tls-port", "0"]
    options += ["--tls-cert-file", str(files.server), "--tls-key-file", str(files.server_key)]
    options += ["--tls-client-certs", "required", "--tls-ca-file", str(files.ca)]
    with replica(*options) as one:
        message: str = one.said("listening")[0]["message"]
        yield next(part for part in message.partition(" listens on ")[2].split(", ") if part.startswith("https"))


def context(files: Certificates, *, shown: bool = True) -> ssl.SSLContext:
    found = ssl.create_default_context(cafile=files.ca)
    # From 3.13 on Python asks more of certificates than those of these tests have.
    found.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if shown:
        found.load_cert_chain(files.client, files.client_key)
    return found


async def test_service_registers_finds_and_watches_over_tls(connect: Connect, secure: str, files: Certificates) -> None:
    """Replicas that are learned are reached by TLS, too."""
    async with connect(secure, tls=context(files), poll_s=600.0, learn=True) as client:
        one = await client.register("shop/cart:1.0.0", ["rest://10.0.0.1:1"])
        provider = client.provider("shop/cart")
        await until(lambda: watching(client), "the watch")
        await one.set_status("DOWN")
        await until(lambda: down(provider.instances), "the change")
        assert all(address.url.startswith("https:") for address in client.api.calls.book.addresses)


async def watching(client: AsyncRegistry) -> bool:
    return client.is_watching


async def down(instances: tuple[Instance, ...]) -> bool:
    return [instance.status for instance in instances] == ["DOWN"]


async def test_without_a_certificate_or_its_authority_nothing_is_reached(
    connect: Connect, secure: str, files: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "another").mkdir()
    another = make_certificates(tmp_path / "another")
    for tls in (context(files, shown=False), context(another), None):
        async with connect(secure, tls=tls) as client:
            with pytest.raises(Unreachable):
                await client.find("shop/cart")


@pytest.mark.parametrize("server", ["http://127.0.0.1:1", "https://127.0.0.1:1"])
def test_clients_of_a_process_share_what_they_trust(server: str) -> None:
    """A context of its own costs each 12 KiB, and by TLS nearly a megabyte and 20 ms."""
    first = AsyncRegistry(server)
    before = number_of_contexts()
    more = [AsyncRegistry(server) for _ in range(5)]
    assert number_of_contexts() == before
    assert {one.api.calls.tls for one in more} == {first.api.calls.tls}


def number_of_contexts() -> int:
    gc.collect()
    return sum(type(one) is ssl.SSLContext for one in gc.get_objects())
