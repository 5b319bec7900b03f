"""`registry dump` and `registry restore`, typed as an operator types them, between two real servers of Redis."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import redis

from registry.domain.backup import End, encode_line
from tests.access.people import ROOT_PASSWORD, Office
from tests.support.redis_server import RedisServer, redis_server
from tests.support.replica import REPOSITORY, Replica, replica
from tests.support.sample import answers, fill
from tests.support.sessions import play
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

GUARDED = {"REGISTRY_RBAC": "observe", "SC_INIT_ROOT_PASSWORD": ROOT_PASSWORD}


def type_in(
    folder: Path, verb: str, server: RedisServer, *arguments: str, stdout: int | IO[bytes] = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "registry", verb, "--redis-url", server.url, *arguments]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, cwd=folder, env=environment()
    )


def environment() -> dict[str, str]:
    """That of an operator who has set nothing, but for which Redis the tests run on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    program = {name: value for name, value in os.environ.items() if name == "REGISTRY_REDIS_SERVER"}
    return kept | program | {"PYTHONPATH": str(REPOSITORY)}


def restore(folder: Path, server: RedisServer, *arguments: str, code: int = 0) -> str:
    done = type_in(folder, "restore", server, *arguments)
    assert (done.returncode, done.stderr) == (code, ""), done
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backup")


@pytest.fixture(scope="module")
def source() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def target() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="module")
def running(source: RedisServer) -> Iterator[Replica]:
    """The registry that is backed up, while it runs."""
    with replica("--redis-url", source.url, environment=GUARDED) as process:
        fill(process.connect())
        office = Office(process)
        office.done(
            "POST", "/v4/roles", {"name": "reader", "perms": [{"resources": [{"type": "service"}], "verbs": ["get"]}]}
        )
        office.done("POST", "/v4/accounts", {"name": "ann", "password": "Sufficient_password1", "roles": ["reader"]})
        yield process


@pytest.fixture(scope="module")
def dumped(folder: Path, source: RedisServer, running: Replica) -> str:
    done = type_in(folder, "dump", source, "all.ndjson")
    assert done.returncode == 0, done
    assert done.stderr.startswith("written to all.ndjson: service 6, instance 6, ")
    return "all.ndjson"


def unordered(found: Any) -> Any:
    """Lists as sets: the order of consumers is that in which they came, which a dump does not keep."""
    if isinstance(found, dict):
        return {name: unordered(value) for name, value in found.items()}
    if isinstance(found, list):
        return sorted((unordered(value) for value in found), key=lambda value: json.dumps(value, sort_keys=True))
    return found


def test_every_answer_and_rev_is_that_of_before(
    folder: Path, dumped: str, running: Replica, target: RedisServer
) -> None:
    """A store that was lost whole; accounts can log in with their passwords."""
    restore(folder, target, dumped)
    with replica("--redis-url", target.url, environment=GUARDED) as process:
        assert unordered(answers(process.connect())) == unordered(answers(running.connect()))
        assert Office(process).log_in("ann").status == 200


def test_no_moment_before_the_restore_is_made_up(folder: Path, dumped: str, target: RedisServer) -> None:
    """The services are older than this log, of which nothing is known: 410001, and no answer from half of it."""
    restore(folder, target, dumped)
    with replica("--redis-url", target.url) as process:
        api = process.api("default")
        registered = int(api.get("/microservices/cart-1").json()["service"]["timestamp"])
        answer = api.get(f"/microservices/cart-1?asOf={registered * 1000}")
        assert (answer.status, answer.json()["errorCode"]) == (410, "410001")
        path = "/v1/default/history?order=oldest&limit=1"
        (first,) = process.connect().request("GET", path).json()["events"]
        assert first["actor"] == {"address": "registry restore"}


def test_dry_run_changes_nothing_and_says_what_would_be_done(folder: Path, dumped: str, target: RedisServer) -> None:
    said = restore(folder, target, dumped, "--dry-run")
    assert "acme/p1\n  service: 3 added\n" in said
    assert said.endswith("Nothing was changed. Without --dry-run it is done as it is said here.\n")
    assert restore(folder, target, dumped, "--dry-run") == said
    assert restore(folder, target, dumped) == said.rpartition("Nothing was changed")[0]


def test_second_time_there_is_nothing_to_do(
    folder: Path, dumped: str, source: RedisServer, target: RedisServer
) -> None:
    """Also into the registry that it was taken from, while it runs."""
    restore(folder, target, dumped)
    for server in (target, source):
        said = restore(folder, server, dumped)
        assert " same" in said
        assert "added" not in said
        assert "overwritten" not in said


def test_what_was_lost_comes_back_to_a_running_registry(folder: Path, dumped: str, target: RedisServer) -> None:
    """What came since stays; what is there and differs is left, and named, until it is to be overwritten."""
    restore(folder, target, dumped)
    with replica("--redis-url", target.url) as process:
        api = process.api("default")
        assert api.delete("/microservices/cart-2?force=true").status == 200
        assert api.post("/microservices/cart-1/tags", {"tags": {"zone": "other"}}).status == 200
        api.post("/microservices", {"service": {"serviceId": "new", "appId": "shop", "serviceName": "new"}})
        said = restore(folder, target, dumped, "--no-accounts", code=1)
        assert "  kept: tags shop/cart:1.0.0: it differs\n" in said
        until_sync(lambda: api.get("/microservices/cart-2/instances/c").status == 200, "the instance to be back")
        assert api.get("/microservices/cart-1/tags").json() == {"tags": {"zone": "other"}}
        restore(folder, target, dumped, "--no-accounts", "--overwrite")
        wanted = {"tags": {"zone": "a", "lane": "green"}}
        until_sync(lambda: api.get("/microservices/cart-1/tags").json() == wanted, "the tags to be overwritten")
        assert api.get("/microservices/new").status == 200


def test_instances_get_one_lease(folder: Path, dumped: str, target: RedisServer, tmp_path: Path) -> None:
    """A client that lives sends its next heartbeat in time; one that does not is gone after its interval and times."""
    lines = (folder / dumped).read_bytes().replace(b'"interval":30,"times":200', b'"interval":5,"times":0')
    resealed(tmp_path / "short.ndjson", lines)
    restore(tmp_path, target, "short.ndjson", "--no-accounts")
    with redis.Redis.from_url(target.url) as client:
        assert 0 < client.pttl("registry:{acme/p1}:lease:cart-1/a") <= 5_000
    with replica("--redis-url", target.url) as process:
        api = process.api("acme", "p1")
        until_sync(lambda: not api.get("/microservices/cart-1/instances").json().get("instances"), "them to expire", 30)
        assert api.get("/microservices/cart-1").status == 200


def test_without_instances_and_of_one_tenant(
    folder: Path, source: RedisServer, running: Replica, target: RedisServer
) -> None:
    assert type_in(folder, "dump", source, "one.ndjson.gz", "--tenant", "acme/p1").returncode == 0
    lines = gzip.decompress((folder / "one.ndjson.gz").read_bytes()).splitlines()
    assert not any(b'"account"' in line or b'"domain":"default"' in line for line in lines)
    said = restore(folder, target, "one.ndjson.gz", "--no-instances")
    assert said.startswith("acme/p1\n  service: 3 added\n")
    assert "instance" not in said


def test_a_private_redis_is_dumped_while_the_registry_is_stopped(tmp_path: Path) -> None:
    """While it runs, one sentence says that the folder is in use."""
    data = str(tmp_path / "data")
    command = [sys.executable, "-m", "registry", "dump", "--data-dir", data, "all.ndjson"]
    with replica("--data-dir", data) as process:
        process.api("default").service("cart")
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment())
        assert refused.returncode == 2
        assert "is in use by another registry" in refused.stderr
        assert process.stop() == 0
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done
    assert b'"serviceName":"cart"' in (tmp_path / "all.ndjson").read_bytes()


def test_another_store_under_another_prefix_takes_it(
    folder: Path, dumped: str, cluster_url: str, key_prefix: str
) -> None:
    """A Redis Cluster: what is dumped knows nothing of where it was."""
    options = ("--redis-url", cluster_url, "--redis-prefix", key_prefix)
    command = [sys.executable, "-m", "registry", "restore", *options, dumped, "--no-accounts"]
    for what in ("added", "same"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=environment())
        assert (done.returncode, done.stderr) == (0, "")
        assert f"acme/p1\n  service: 3 {what}\n" in done.stdout


def test_what_the_page_says_is_what_is_said(target: RedisServer, tmp_path: Path) -> None:
    """Its session, typed."""
    with redis_server() as server, replica("--redis-url", server.url) as process:
        fill(process.connect())
        play("backup.md", process.port, tmp_path, {"REDIS": server.url, "OTHER": target.url})


def test_standard_output_is_a_file_as_well(folder: Path, source: RedisServer, running: Replica) -> None:
    """Whole, or told not to be."""
    done = type_in(folder, "dump", source, "-")
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "end"
    with open_for_nobody() as nobody:
        closed = type_in(folder, "dump", source, "-", stdout=nobody)
    assert closed.returncode == 2
    assert closed.stderr == "registry: standard output was closed before all was written\n"


def open_for_nobody() -> IO[bytes]:
    """The end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "wb")


def test_only_its_owner_reads_a_dump(folder: Path, dumped: str) -> None:
    """It holds the hashes of passwords and the keys that sign tokens."""
    assert (folder / dumped).stat().st_mode & 0o777 == 0o600


def resealed(path: Path, lines: bytes) -> None:
    """The lines of a dump, with the end that they need now."""
    body = b"".join(line for line in lines.splitlines(keepends=True)[:-1])
    path.write_bytes(body + encode_line(End(body.count(b"\n"), hashlib.sha256(body).hexdigest())) + b"\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: lines[:-1], "a whole dump ends with a line of the type 'end'"),
        (lambda lines: [*lines[:2], *lines[3:]], "lines before are not those that were written"),
        (lambda lines: [lines[0].replace(b'"format":1', b'"format":2'), *lines[1:]], "it has format 2"),
        (lambda lines: lines[1:], "a dump begins with one line of the type 'dump'"),
        (lambda lines: [lines[0], b"{}\n"], "line 2: "),
        (lambda lines: [], "it ends after line 0"),
    ],
)
def test_half_a_dump_is_none(
    folder: Path, dumped: str, target: RedisServer, tmp_path: Path, spoil: Any, said: str
) -> None:
    lines = (folder / dumped).read_bytes().splitlines(keepends=True)
    (tmp_path / "bad.ndjson").write_bytes(b"".join(spoil(lines)))
    done = type_in(tmp_path, "restore", target, "bad.ndjson")
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_packed_dump_that_was_spoiled_is_none(folder: Path, dumped: str, target: RedisServer, tmp_path: Path) -> None:
    packed = bytearray(gzip.compress((folder / dumped).read_bytes()))
    for spoiled in (packed[:-20], packed[:200] + b"\xff" * 50 + packed[250:], b"none of it"):
        (tmp_path / "bad.gz").write_bytes(spoiled)
        done = type_in(tmp_path, "restore", target, "bad.gz")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith("registry: bad.gz ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("restore", "none.ndjson"), "none.ndjson cannot be read: No such file"),
        (("restore", "all.ndjson", "--tenant", "no/one"), "all.ndjson has no tenant no/one"),
        (("dump", "none/all.ndjson"), "none/all.ndjson cannot be written: No such file"),
        (("dump", "x.ndjson", "--tenant", "no/one"), "the store has no tenant no/one"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    folder: Path, dumped: str, source: RedisServer, arguments: tuple[str, ...], said: str
) -> None:
    done = type_in(folder, arguments[0], source, *arguments[1:])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"registry: {said}")
    assert not (folder / "x.ndjson").exists()
