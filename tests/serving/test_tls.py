"""TLS: who is let in, what is shown, and what an unfinished, broken or idle handshake costs."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from registry.serving import certificates as module
from registry.serving.certificates import BadCertificates, Certificates
from registry.serving.shared import Limits
from tests.serving import apps
from tests.serving.conftest import LIMIT_S, Running, read_all, running
from tests.support.redis_modes import Certificates as Files
from tests.support.redis_modes import make_certificates
from tests.support.waiting import until_sync

ASK = b"GET /echo?a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /echo?last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#: The begin of a ClientHello, which says that 508 bytes more follow.
HALF_HELLO = b"\x16\x03\x01\x01\xfc\x01\x00\x01\xf8\x03\x03"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_certificates(tmp_path_factory.mktemp("tls"), rsa=True)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Of another authority."""
    return make_certificates(tmp_path_factory.mktemp("others"))


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Running]:
    with running(apps.app, certificates=Certificates(str(files.server), str(files.server_key))) as server:
        yield server


def trusting(files: Files) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files.ca))


def ask(server: Running, context: ssl.SSLContext, request: bytes = LAST) -> bytes:
    with server.connect_tls(context) as connection:
        connection.sendall(request)
        return read_all(connection)


def is_let_in(server: Running, context: ssl.SSLContext) -> bool:
    try:
        return ask(server, context).endswith(b"GET /echo last 0 ")
    except (ssl.SSLError, ConnectionError):
        return False  # by TLS 1.3 a client learns it when it reads


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_request_is_answered_by_both_versions(server: Running, files: Files, version: ssl.TLSVersion) -> None:
    context = trusting(files)
    context.minimum_version = context.maximum_version = version
    assert ask(server, context).endswith(b"GET /echo last 0 ")


def test_default_of_java_clients_connects(server: Running, files: Files) -> None:
    """TLS 1.2 and ECDHE-RSA with AES-GCM is all that they offer, and they check no host name (clients.md 0.20)."""
    context = trusting(files)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")
    assert ask(server, context).endswith(b"GET /echo last 0 ")


def test_older_versions_are_refused(server: Running, files: Files) -> None:
    context = trusting(files)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert not is_let_in(server, context)


def test_go_clients_that_would_like_http2_speak_http1(server: Running, files: Files) -> None:
    context = trusting(files)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with server.connect_tls(context) as connection:
        assert connection.selected_alpn_protocol() == "http/1.1"


def test_requests_follow_each_other_and_large_answers_come_whole(server: Running, files: Files) -> None:
    """Twice ten megabytes to a client that reads late: nothing is lost between the layers."""
    with server.connect_tls(trusting(files)) as connection:
        connection.sendall(ASK * 3 + b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        until_sync(lambda: server.call(lambda: bool(server.shared.unsent)), "the answer to wait")
        connection.sendall(LAST)
        answers = read_all(connection)
        assert answers.count(b"HTTP/1.1 200 OK") == 6
        assert answers.count(apps.BIG) == 2
        assert answers.endswith(b"GET /echo last 0 ")


def test_client_that_does_not_read_is_let_go(files: Files) -> None:
    """At once: one that reads nothing does not read a farewell either."""
    certificates = Certificates(str(files.server), str(files.server_key))
    with running(apps.app, Limits(send_timeout_s=0.2), certificates=certificates) as server:
        with server.connect_tls(trusting(files)) as slow:
            slow.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n" * 50)
            until_sync(lambda: server.call(lambda: bool(server.shared.unsent)), "the answer to wait")
            (connection,) = server.call(lambda: list(server.shared.unsent))
            assert server.call(lambda: sum(server.shared.unsent.values())) < 1.1 * len(apps.BIG)
            server.call(lambda: setattr(connection, "deadline", 0.0))
            until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 0, "it to be let go")
            assert server.call(lambda: server.shared.unsent) == {}
        assert ask(server, trusting(files)).endswith(b"GET /echo last 0 ")


def test_websocket_is_spoken(server: Running, files: Files) -> None:
    context = trusting(files)
    with connect(
        f"wss://127.0.0.1:{server.port}/socket", ssl=context, compression=None, open_timeout=LIMIT_S
    ) as client:
        client.send("täxt")
        assert client.recv(LIMIT_S) == "täxt"


def test_plain_http_is_told_to_speak_tls(server: Running) -> None:
    answer = server.exchange(LAST)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"this port speaks TLS: use https://" in answer


@pytest.mark.parametrize("sent", [b"\x16" + b"x" * 1000, HALF_HELLO], ids=["junk", "half"])
def test_what_only_begins_as_a_handshake_ends_the_connection(
    server: Running, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that knocks wrongly writes nothing into the log."""
    until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 0, "those before it to leave")
    failed = server.shared.tallies.handshakes_failed
    assert not server.exchange(sent, half_close=True).startswith(b"HTTP")
    until_sync(lambda: server.call(lambda: server.shared.tallies.handshakes_failed) == failed + 1, "it to be counted")
    until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 0, "it to leave")
    assert not caplog.records


@pytest.mark.parametrize("sent", [b"", HALF_HELLO, b"\x16"], ids=["silent", "half", "one byte"])
def test_handshake_that_does_not_end_is_let_go(files: Files, sent: bytes) -> None:
    """Each byte does not buy more time, and a stop need not wait for it."""
    limits = Limits(handshake_timeout_s=0.3)
    with (
        running(apps.app, limits, certificates=Certificates(str(files.server), str(files.server_key))) as server,
        server.connect() as connection,
    ):
        if sent:
            connection.sendall(sent)
        read_all(connection)
        until_sync(lambda: server.call(lambda: server.shared.crowd.count) == 0, "nobody to be counted")
        assert server.shared.tallies.handshakes_failed == 1


def test_stop_does_not_wait_for_handshakes(files: Files) -> None:
    pair = Certificates(str(files.server), str(files.server_key))
    with socket.socket() as silent, socket.socket() as half:
        with running(apps.app, certificates=pair) as server:
            for connection, sent in ((silent, b""), (half, HALF_HELLO)):
                connection.connect(("127.0.0.1", server.port))
                connection.sendall(sent)
            until_sync(lambda: server.call(lambda: len(server.shared.tasks)) == 1, "a handshake to be under way")
        # `running` has waited for less than the time that a handshake may take.
        assert not server.shared.connections


# -- certificates of clients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_certs", "shown", "let_in"),
    [
        ("off", "none", True),
        ("optional", "none", True),
        ("optional", "ours", True),
        ("optional", "foreign", False),
        ("required", "none", False),
        ("required", "ours", True),
        ("required", "foreign", False),
    ],
)
def test_clients_show_a_certificate_of_our_authority(
    files: Files, others: Files, client_certs: module.ClientCerts, shown: str, let_in: bool
) -> None:
    pair = Certificates(str(files.server), str(files.server_key), str(files.ca), client_certs)
    context = trusting(files)
    if shown != "none":
        theirs = files if shown == "ours" else others
        context.load_cert_chain(theirs.client, theirs.client_key)
    with running(apps.app, certificates=pair) as server:
        assert is_let_in(server, context) is let_in
        assert server.call(lambda: server.shared.tallies.handshakes) == let_in


# -- new certificates --------------------------------------------------------------------------------------------------


@pytest.fixture
def renewed(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, Files]]:
    """A server that looks at its files all the time, and those files."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.02)
    own = Files(*(tmp_path / name for name in ("ca.crt", "server.crt", "server.key", "client.crt", "client.key")))
    put(files, own)
    pair = Certificates(str(own.server), str(own.server_key))
    with running(apps.app, certificates=pair) as server:

        def follow() -> None:
            server.shared.tasks.add(server.loop.create_task(pair.follow()))

        server.call(follow)
        yield server, own
        server.call(lambda: [task.cancel() for task in server.shared.tasks])
        server.shared.tasks.clear()


def put(what: Files, where: Files) -> None:
    """Replace files as those do who renew certificates: whole, one after the other."""
    for new, old in ((what.server, where.server), (what.server_key, where.server_key)):
        shutil.copy(new, f"{old}.new")
        os.replace(f"{old}.new", old)


def is_shown(server: Running, files: Files) -> bool:
    try:
        with server.connect_tls(trusting(files)):
            return True
    except ssl.SSLCertVerificationError:
        return False


def test_new_certificate_is_shown_without_a_restart(
    renewed: tuple[Running, Files], files: Files, others: Files
) -> None:
    """The connections that are open go on."""
    server, own = renewed
    with server.connect_tls(trusting(files)) as old:
        put(others, own)
        until_sync(lambda: is_shown(server, others), "the new certificate")
        assert not is_shown(server, files)
        old.sendall(LAST)
        assert read_all(old).endswith(b"GET /echo last 0 ")


def test_renewal_ends_no_request_and_no_handshake_under_way(
    renewed: tuple[Running, Files], files: Files, others: Files
) -> None:
    """What has begun with the old certificate ends with it."""
    server, own = renewed
    body = b"x" * 100
    head = b"POST /chunks HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server.connect_tls(trusting(files)) as asking, server.connect() as shaking:
        asking.sendall(head + body[:50])
        hands = Handshake(shaking, trusting(files))
        hello = hands.said()
        shaking.sendall(hello[:50])
        # The follower, the request, and the handshake.
        until_sync(lambda: server.call(lambda: len(server.shared.tasks)) == 3, "both to be under way")
        put(others, own)
        until_sync(lambda: is_shown(server, others), "the new certificate")
        asking.sendall(body[50:])
        assert read_all(asking).endswith(b"\r\n\r\n100")
        shaking.sendall(hello[50:])
        hands.end()
        assert hands.peer == ssl.PEM_cert_to_DER_cert(files.server.read_text())


class Handshake:
    """A client's side of a handshake, bit by bit."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self._connection = connection
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_hostname="127.0.0.1")

    def said(self) -> bytes:
        """What the client has to say next."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._going.read()

    def end(self) -> None:
        """Go on to the end. Raises ssl.SSLError when the other side is not to be trusted."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._connection.sendall(self._going.read())
                came = self._connection.recv(1 << 16)
                assert came, "the server has ended the connection"
                self._coming.write(came)
            else:
                self._connection.sendall(self._going.read())
                return

    @property
    def peer(self) -> bytes | None:
        """The certificate that was shown."""
        return self._tls.getpeercert(binary_form=True)


@pytest.mark.parametrize("broken", ["empty", "gone", "foreign key"])
def test_broken_pair_is_refused_with_one_line_and_the_old_one_stays(
    renewed: tuple[Running, Files], files: Files, others: Files, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    server, own = renewed
    caplog.set_level(logging.INFO)
    match broken:
        case "empty":
            own.server.write_bytes(b"")
        case "gone":
            own.server_key.unlink()
        case _:
            shutil.copy(others.server_key, own.server_key)

    def said(action: str) -> list[str]:
        return [record.getMessage() for record in caplog.records if getattr(record, "action", "") == action]

    until_sync(lambda: bool(said("certificate_refused")), "the refusal")
    assert is_shown(server, files)
    put(others, own)
    until_sync(lambda: is_shown(server, others), "the next one")
    (line,) = said("certificate_refused")
    assert f"{own.server} and {own.server_key} cannot be used as certificate and key: " in line
    assert line.endswith("; the old certificate stays")
    assert len(said("certificate_renewed")) == 1


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("server", "absent.key"), "cannot be used as certificate and key: No such file or directory"),
        (("server", "client_key"), "cannot be used as certificate and key: key values mismatch"),
        (
            ("server_key", "server_key"),
            "cannot be used as certificate and key: one of them is no PEM of what it should be$",
        ),
        (("junk", "server_key"), "cannot be used as certificate and key: one of them is no PEM of what it should be$"),
        (("server", "encrypted"), "the key is encrypted; give one without a passphrase"),
    ],
)
def test_pair_that_cannot_be_used_is_explained(files: Files, tmp_path: Path, pair: tuple[str, str], said: str) -> None:
    if pair[1] == "encrypted":
        key = tmp_path / "encrypted.key"
        os.system(f"openssl pkcs8 -topk8 -in {files.server_key} -out {key} -passout pass:secret 2>/dev/null")
    else:
        key = getattr(files, pair[1], tmp_path / pair[1])
    junk = tmp_path / "junk"
    junk.write_text("no certificate")
    with pytest.raises(BadCertificates, match=said):
        Certificates(str(getattr(files, pair[0], junk)), str(key))


def test_authorities_that_are_none_are_explained(files: Files) -> None:
    with pytest.raises(BadCertificates, match=r"server\.key holds no authorities: "):
        Certificates(str(files.server), str(files.server_key), str(files.server_key), "required")
