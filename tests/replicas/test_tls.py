"""TLS of a whole registry: its ports, its workers, what it says of itself, and starts that cannot work."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import threading
import urllib.error
import urllib.request
from dataclasses import astuple
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.support.failed_start import FailedStart
from tests.support.redis_modes import Certificates, make_certificates
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

R = "/v4/default/registry"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"), rsa=True)


def pair(files: Certificates) -> tuple[str, ...]:
    return ("--tls-cert-file", str(files.server), "--tls-key-file", str(files.server_key))


def get(url: str, files: Certificates | None = None, client: bool = False) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=files.ca) if files is not None else None
    if context is not None and files is not None and client:
        context.load_cert_chain(files.client, files.client_key)
    try:
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def copy(files: Certificates, folder: Path) -> Certificates:
    """The same in files of their own."""
    shutil.copytree(files.ca.parent, folder / "own")
    return Certificates(*(folder / "own" / file.name for file in astuple(files)))


def another(folder: Path) -> Certificates:
    """Of another authority."""
    (folder / "another").mkdir()
    return make_certificates(folder / "another")


def put(new: Certificates, old: Certificates) -> None:
    """Replace files as those do who renew certificates: whole, one after the other."""
    for source, place in ((new.server, old.server), (new.server_key, old.server_key)):
        shutil.copy(source, f"{place}.new")
        os.replace(f"{place}.new", place)


def begin_post(url: str, files: Certificates) -> ssl.SSLSocket:
    """A connection on which all of a request has been sent but its last byte."""
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.client, files.client_key)
    host, _, port = url.removeprefix("https://").rpartition(":")
    connection = context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=host)
    connection.sendall(b"POST %b/microservices HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{" % R.encode())
    return connection


def place(one: Replica, speech: str) -> str:
    """Where it said that it speaks so."""
    message: str = one.said("listening")[0]["message"]
    return next(part for part in message.partition(" listens on ")[2].split(", ") if part.startswith(speech))


def test_tls_is_spoken_beside_plain_http_and_clients_are_told_of_it(redis_url: str, files: Certificates) -> None:
    options = ("--redis-url", redis_url, "--redis-prefix", "tls-beside:", "--tls-port", "0")
    with replica(*options, *pair(files)) as one:
        secure = place(one, "https://")
        assert secure != f"https://127.0.0.1:{one.port}"
        for url in (f"http://127.0.0.1:{one.port}", secure):
            status, body = get(f"{url}/health", files)
            (instance,) = json.loads(body)["instances"]
            assert (status, instance["endpoints"]) == (200, [f"rest{secure.removeprefix('https')}/?sslEnabled=true"])
        with connect(
            f"wss{secure.removeprefix('https')}{R}/microservices/none/watcher",
            ssl=ssl.create_default_context(cafile=files.ca),
            compression=None,
        ) as watch:
            assert "service does not exist" in str(watch.recv(10))


def test_one_port_of_several_workers_speaks_tls_and_asks_for_certificates(
    redis_url: str, files: Certificates, tmp_path: Path
) -> None:
    """Probes have a port of their own, which answers nothing else. Each worker shows a renewed certificate."""
    own = copy(files, tmp_path)
    options = ("--redis-url", redis_url, "--redis-prefix", "tls-workers:", "--workers", "2", "--probe-port", "0")
    asking = ("--tls-ca-file", str(own.ca), "--tls-client-certs", "required")
    one = Replica(*options, *asking, *pair(own))
    try:
        one.launch()
        until_sync(lambda: len(one.worker_pids()) == 2, "both workers to listen", 30)
        secure, probes = place(one, "https://"), place(one, "http://").removesuffix(" (probes)")
        assert len(one.said("listening")[0]["message"].split(", ")) == 2, "no plain HTTP"
        for path in ("/health", "/version", f"{R}/health", f"{R}/health/readiness", f"{R}/version"):
            assert get(probes + path)[0] == 200
            asked = urllib.request.Request(probes + path, method="HEAD")
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert (answer.status, answer.read()) == (200, b"")
        for path in ("/metrics", f"{R}/microservices", "/openapi.json", "/registry/v3/microservices"):
            assert get(probes + path)[0] == 404
        for _ in range(6):  # the kernel chooses the worker
            assert get(f"{secure}{R}/microservices", files, client=True)[0] == 200
            with pytest.raises(OSError):  # the connection ends
                get(f"{secure}{R}/microservices", files)
        under_way = [begin_post(secure, files) for _ in range(6)]
        renewed = another(tmp_path)
        put(renewed, own)
        until_sync(lambda: len(one.said("certificate_renewed")) == 2, "both workers to have read it", 20)
        for connection in under_way:
            with connection:
                connection.sendall(b"}")
                assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")  # an answer to all of it
        trusting = Certificates(renewed.ca, own.server, own.server_key, files.client, files.client_key)
        for _ in range(6):
            assert get(f"{secure}/health", trusting, client=True)[0] == 200
    finally:
        one.clean_up()


def test_certificate_renewed_under_load_costs_no_request(redis_url: str, files: Certificates, tmp_path: Path) -> None:
    """Connections come all the time while the files are replaced, again and again."""
    own = copy(files, tmp_path)
    options = ("--redis-url", redis_url, "--redis-prefix", "tls-load:", *pair(own))
    other = another(tmp_path)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    one = Replica(*options)
    stop = threading.Event()
    answers: list[bytes] = []
    shown: set[bytes | None] = set()

    def ask(host: str, port: int) -> None:
        while not stop.is_set():
            try:
                with context.wrap_socket(socket.create_connection((host, port), 10)) as connection:
                    shown.add(connection.getpeercert(binary_form=True))
                    connection.sendall(b"GET /version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                    answers.append(connection.recv(100)[:15])
            except OSError as exc:
                answers.append(repr(exc).encode())

    try:
        one.launch()
        until_sync(lambda: bool(one.said("listening")), "it to listen", 30)
        host, _, port = place(one, "https://").removeprefix("https://").rpartition(":")
        thread = threading.Thread(target=ask, args=(host, int(port)))
        thread.start()
        for count, source in enumerate((other, files), 1):
            put(source, own)
            until_sync(lambda: len(one.said("certificate_renewed")) == count, "it to be read", 20)  # noqa: B023
        stop.set()
        thread.join()
        assert len(answers) > 20
        assert set(answers) == {b"HTTP/1.1 200 OK"}
        assert len(shown) == 2
        assert not one.said("certificate_refused")
    finally:
        stop.set()
        one.clean_up()


@pytest.mark.parametrize(
    ("said", "options"),
    [
        (
            "--none.crt and --none.key cannot be used as certificate and key: No such file or directory",
            ("--tls-cert-file=--none.crt", "--tls-key-file=--none.key"),
        ),
        (
            "REGISTRY_TLS_KEY_FILE is set, but there is no TLS without REGISTRY_TLS_CERT_FILE",
            ("--tls-key-file", "x"),
        ),
        (
            "REGISTRY_TLS_CLIENT_CERTS is required, which needs REGISTRY_TLS_CA_FILE",
            ("--tls-client-certs", "required"),
        ),
    ],
)
def test_start_that_cannot_work_is_one_sentence(said: str, options: tuple[str, ...]) -> None:
    FailedStart(said, (*options, "--redis-url", "redis://127.0.0.1:1")).run({}).check()
