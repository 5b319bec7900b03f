"""Every block of registry/docs/client.md, as it stands there, against a real registry; and its table of options."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import httpx
import pytest

from registry.client import Instance, Options, Registry
from registry.client.transport import ATTEMPTS_MAX, AsyncRegistryTransport, RegistryTransport, url_of
from tests.client.conftest import Connect
from tests.support.api import Api, ids
from tests.support.replica import Replica, replica
from tests.support.waiting import until_sync

pytestmark = pytest.mark.slow

PAGE: Final = (Path(__file__).resolve().parents[2] / "registry" / "docs" / "client.md").read_text()
BLOCKS: Final = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Replica]:
    """One whose default tenant is these tests' own."""
    with replica("--redis-url", redis_url, "--redis-prefix", f"docs-{os.getpid()}:") as process:
        yield process


@pytest.fixture
def default_api(registry: Replica) -> Api:
    return registry.api("default")


class Said:
    """The lines that a program writes."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line)

    def line(self) -> str:
        return self._lines.get(timeout=30)

    def until(self, text: str) -> str:
        """The next line with this text."""
        while text not in (line := self.line()):
            pass
        return line


class Programs:
    """Runs blocks of the page, with a free port where the page has 8080."""

    def __init__(self, folder: Path, registry: Replica) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {**os.environ, "REGISTRY_SERVER": f"http://127.0.0.1:{registry.port}"}
        self._stack = contextlib.ExitStack()

    def write(self, name: str) -> Path:
        path = self.folder / name
        path.write_text(BLOCKS[name].replace("8080", str(self.port)))
        return path

    def run(self, name: str) -> str:
        done = subprocess.run(
            [sys.executable, self.write(name)], capture_output=True, text=True, env=self.environment, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.folder, env=self.environment, stderr=subprocess.DEVNULL
        )
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.terminate)
        return process

    def read(self, *command: str) -> Said:
        """Start a program whose lines are looked at."""
        process = subprocess.Popen(
            [sys.executable, *command], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self._stack.callback(process.wait, 20)
        self._stack.callback(process.kill)
        assert process.stdout is not None
        return Said(process.stdout)

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def programs(tmp_path: Path, registry: Replica) -> Iterator[Programs]:
    programs = Programs(tmp_path, registry)
    yield programs
    programs.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def found(api: Api, name: str = "cart") -> list[str]:
    answer = api.find(name)
    return ids(answer) if answer.status == 200 else []


def test_every_block_is_run_here() -> None:
    assert set(BLOCKS) == {"service.py", "caller.py", "provider.py", "consumer.py", "gunicorn.conf.py"}
    assert PAGE.count("```python") == len(BLOCKS)


def test_service_is_found_and_called_and_leaves(programs: Programs, default_api: Api) -> None:
    service = programs.start(str(programs.write("service.py")))
    until_sync(lambda: bool(found(default_api)), "the service to be found", 30.0)
    assert programs.run("caller.py") == "['apple', 'pear']\n"
    consumer = programs.run("consumer.py").splitlines()
    assert consumer[:3] == [
        f"[['rest://127.0.0.1:{programs.port}']]",
        f"calling rest://127.0.0.1:{programs.port}",
        "no instance of shop/cart:1.0+ is up",
    ]
    assert consumer[3] == f"added {found(default_api)[0]}"
    assert "'cart'" in consumer[4]
    (service_id,) = {i["serviceId"] for i in default_api.find().json()["instances"]}
    assert "/items" in default_api.get(f"/microservices/{service_id}/schemas/cart").json()["schema"]
    service.terminate()
    service.wait(20)
    assert found(default_api) == []


CALLS: Final = """
import time
import httpx
from registry.client import Registry
from registry.client.transport import RegistryTransport

with Registry(poll_s=0.5) as registry, httpx.Client(transport=RegistryTransport(registry, app="shop")) as http:
    while True:
        print(http.get("cse://cart/items").json(), flush=True)
        time.sleep(0.05)
"""


def test_registry_is_killed_while_one_program_calls_another(redis_url: str, tmp_path: Path) -> None:
    """Calls go on, the instance stays the same one, and `registry watch` tells when it came and when it went."""
    options = ("--redis-url", redis_url, "--redis-prefix", f"story-{os.getpid()}:")
    killed = Replica(*options).start()
    programs, again = Programs(tmp_path, killed), Replica(*options, port=killed.port)
    try:
        watch = programs.read("-m", "registry", "watch", "--every", "0.3")
        service = programs.start(str(programs.write("service.py")))
        api = killed.api("default")
        until_sync(lambda: bool(found(api)), "the service to be found", 30.0)
        (instance_id,) = found(api)
        assert "added    shop/cart:1.0.0" in watch.until(instance_id)
        (programs.folder / "calls.py").write_text(CALLS)
        calls = programs.read("calls.py")
        calls.until("apple")
        killed.kill()
        for _ in range(20):
            assert calls.line() == "['apple', 'pear']\n"
        again.start()
        api = again.api("default")
        assert found(api) == [instance_id]
        for _ in range(20):
            assert calls.line() == "['apple', 'pear']\n"
        service.terminate()
        service.wait(20)
        assert found(api) == []
        assert "removed  shop/cart:1.0.0" in watch.until(instance_id)
    finally:
        programs.close()
        killed.clean_up()
        again.clean_up()


def test_provider_comes_and_goes(programs: Programs, default_api: Api) -> None:
    assert re.fullmatch(r"registered [0-9a-f]{32}\n", programs.run("provider.py"))
    assert found(default_api, "stock") == []


def test_workers_of_gunicorn_are_one_instance(programs: Programs, default_api: Api) -> None:
    """Whatever happens to one of them."""
    programs.write("gunicorn.conf.py")
    (programs.folder / "app.py").write_text(
        "import os\ndef app(environ, start):\n    start('200 OK', [])\n    return [str(os.getpid()).encode()]\n"
    )
    master = programs.start("-m", "gunicorn", "app:app")
    until_sync(lambda: bool(found(default_api)), "a worker to be registered", 30.0)
    before = found(default_api)
    assert len(before) == 1
    url = f"http://127.0.0.1:{programs.port}/"
    first = int(httpx.get(url).content)
    os.kill(first, signal.SIGTERM)
    until_sync(lambda: not Path(f"/proc/{first}").exists(), "the worker to be gone", 30.0)
    assert found(default_api) == before
    master.terminate()
    master.wait(30)
    assert found(default_api) == []


def test_workers_of_uvicorn_are_one_instance(programs: Programs, default_api: Api) -> None:
    """Also while one of them has been killed, and its successor comes."""
    (programs.folder / "app.py").write_text(
        "import os\nfrom fastapi import FastAPI\nfrom registry.client.lifespan import registering\n"
        f"app = FastAPI(lifespan=registering('shop/cart:1.0.0', ['rest://127.0.0.1:{programs.port}']))\n"
        "@app.get('/pid')\ndef pid() -> int:\n    return os.getpid()\n"
    )
    master = programs.start("-m", "uvicorn", "app:app", "--workers", "2", "--port", str(programs.port))

    def workers() -> set[int]:
        with contextlib.suppress(httpx.TransportError):
            return {httpx.get(f"http://127.0.0.1:{programs.port}/pid").json() for _ in range(8)}
        return set()

    until_sync(lambda: len(workers()) == 2, "both workers to serve", 30.0)
    (before,) = found(default_api)
    gone = workers().pop()
    os.kill(gone, signal.SIGKILL)

    def is_replaced() -> bool:
        assert found(default_api) == [before]
        return len(workers() - {gone}) == 2

    until_sync(is_replaced, "another worker to serve", 30.0)
    master.terminate()
    master.wait(30)
    assert found(default_api) == []


def test_table_of_options_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(.*?)\|", PAGE, re.MULTILINE)
    options = Options()
    blank = {None: "", "": ""}
    said = {name: blank.get(getattr(options, name), str(getattr(options, name))) for name in Options.__struct_fields__}
    assert {name: default.strip() for name, default in rows} == said


# -- what the page says of the transport -------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of something that answers HTTP with what it was asked."""
    program = """
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said = f"{self.headers['Host']} {self.path} {body.decode()}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(said))); self.end_headers()
        self.wfile.write(said)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Echo)
print(server.server_port, flush=True)
server.serve_forever()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


def test_requests_pass_over_instances_that_cannot_be_connected(
    registry: Replica, api: Api, tenant: str, echo: int
) -> None:
    """The body goes along; a path and a query stay as they are; what has no HTTP endpoint is not asked."""
    service_id = api.service("Orders")
    dead = [free_port() for _ in range(ATTEMPTS_MAX - 1)]
    for number, port in enumerate([*dead, echo]):
        api.instance(service_id, instanceId=str(number), endpoints=["highway://x:1", f"rest://127.0.0.1:{port}"])
    api.instance(service_id, instanceId="other", endpoints=["highway://x:1"])
    url = f"http://127.0.0.1:{registry.port}"
    with Registry(url, tenant=tenant) as client:
        transport = RegistryTransport(client, names={"orders": "shop/Orders"})
        with httpx.Client(transport=transport) as http:
            for _ in range(5):
                answer = http.post("cse://orders/a%20b?x=1", content=b"hello")
                assert answer.text == f"127.0.0.1:{echo} /a%20b?x=1 hello"
            with pytest.raises(httpx.ConnectError, match="no instance of nothing is up"):
                http.get("cse://nothing/")


async def test_async_requests_are_the_same(connect: Connect, api: Api, echo: int) -> None:
    api.instance(api.service("cart"), endpoints=[f"rest://127.0.0.1:{echo}"])
    async with connect() as client, httpx.AsyncClient(transport=AsyncRegistryTransport(client, app="shop")) as http:
        answer = await http.post("cse://cart/x", content=b"hello")
        assert answer.text == f"127.0.0.1:{echo} /x hello"
        assert (await http.post(f"http://127.0.0.1:{echo}/y", content=b"plain")).text.endswith("/y plain")


@pytest.mark.parametrize(
    ("endpoints", "url"),
    [
        (["rest://h:1"], ("http", "h", 1)),
        (["rest://h:1?sslEnabled=true"], ("https", "h", 1)),
        (["highway://h:1", "https://h"], ("https", "h", 443)),
        (["h:1", "rest://[", "grpc://h:1"], None),
        ([], None),
    ],
)
def test_endpoints_that_speak_http(endpoints: list[str], url: tuple[str, str, int] | None) -> None:
    assert url_of(Instance(endpoints=endpoints)) == url
