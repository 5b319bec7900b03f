"""A start that cannot work says why in one sentence and fails: no traceback, no registry that answers nobody.

All of them are started at the same time; each test looks at one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from tests.support.redis_server import redis_server
from tests.support.replica import Replica, replica

#: By name, what its sentence must mention.
CASES = {
    "port in use": "cannot listen on 127.0.0.1:",
    "port in use, workers": "cannot listen on 127.0.0.1:",
    "address of another machine": "cannot listen on 192.0.2.1:",
    "nobody at the Redis address": "Redis cannot be reached",
    "no socket at the Redis path": "Redis cannot be reached",
    "Redis that never answers": "Redis cannot be reached",
    "Redis that is none": "Redis cannot be reached",
    "Redis that wants a password": "Redis cannot be reached",
    "Redis that may evict": "allkeys-lru",
    "data folder that is a file": "is a file",
    "data folder below a file": "cannot be written",
    "data folder in use": "in use by another registry",
    "port that is no number": "--port",
    "port beyond 65535": "--port",
    "no workers": "--workers",
    "URL of another scheme": "REGISTRY_REDIS_URL",
    "variable that is no setting": "REGISTRY_REDDIS_URL",
    "log level": "REGISTRY_LOG_LEVEL",
}
WORKERS = "workers on a Redis that may evict"


def arrange(stack: ExitStack, folder: Path) -> dict[str, Replica]:
    """One registry per case, none of them started."""
    busy = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    busy_port = busy.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        closed_port = closed.getsockname()[1]
    (folder / "file").write_text("not a folder")
    plain = stack.enter_context(redis_server()).url
    evicting = stack.enter_context(redis_server(options=("--maxmemory-policy", "allkeys-lru"))).url
    guarded = stack.enter_context(redis_server()).url
    with redis.Redis.from_url(guarded) as client:
        client.config_set("requirepass", "secret")
    running = stack.enter_context(replica("--data-dir", str(folder / "used")))
    never = ("--redis-url", f"redis://127.0.0.1:{busy_port}", "--redis-timeout-s", "0.3")
    return {
        "port in use": Replica("--redis-url", plain, port=busy_port),
        "port in use, workers": Replica("--redis-url", plain, "--workers", "2", port=busy_port),
        "address of another machine": Replica("--redis-url", plain, "--host", "192.0.2.1"),
        "nobody at the Redis address": Replica("--redis-url", f"redis://127.0.0.1:{closed_port}"),
        "no socket at the Redis path": Replica("--redis-url", f"unix://{folder}/no.sock"),
        "Redis that never answers": Replica(*never),
        "Redis that is none": Replica("--redis-url", f"redis://127.0.0.1:{running.port}"),
        "Redis that wants a password": Replica("--redis-url", guarded),
        "Redis that may evict": Replica("--redis-url", evicting),
        "data folder that is a file": Replica("--data-dir", str(folder / "file")),
        "data folder below a file": Replica("--data-dir", str(folder / "file" / "data")),
        "data folder in use": Replica("--data-dir", str(folder / "used")),
        "URL of another scheme": Replica("--redis-url", "http://127.0.0.1"),
        "variable that is no setting": Replica(environment={"REGISTRY_REDDIS_URL": plain}),
        "port beyond 65535": Replica("--port", "65536"),
        "port that is no number": Replica("--port", "http"),
        "no workers": Replica("--workers", "0"),
        "log level": Replica("--log-level", "loud"),
        WORKERS: Replica("--redis-url", evicting, "--workers", "2"),
    }


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Replica]]:
    """Every case, ended."""
    with ExitStack() as stack:
        cases = arrange(stack, tmp_path_factory.mktemp("starts"))
        for one in cases.values():
            stack.callback(one.clean_up)
            one.launch()
        for one in cases.values():
            one.wait()
        yield cases


@pytest.mark.parametrize(("case", "mentioned"), CASES.items(), ids=CASES.keys())
def test_start_that_cannot_work_says_so_in_one_sentence(ended: dict[str, Replica], case: str, mentioned: str) -> None:
    """The operator reads what to mend; a supervisor sees an exit code that is not 0."""
    output = ended[case].output()
    assert ended[case].process.returncode == 2
    assert output.startswith("registry: ")
    assert output.count("\n") == 1
    assert mentioned in output


def test_workers_that_cannot_start_end_the_registry(ended: dict[str, Replica]) -> None:
    """They are not started again for ever; what they say is the sentence, and no traceback."""
    output = ended[WORKERS].output()
    assert ended[WORKERS].process.returncode == 2
    said = {line for line in output.splitlines() if not line.startswith("{")}
    assert len(said) == 1
    assert "allkeys-lru" in said.pop()


def test_password_in_the_redis_url_is_not_shown(tmp_path: Path) -> None:
    """Neither the sentence nor the log gives it away."""
    one = Replica("--redis-url", f"unix://user:hunter2@{tmp_path}/no.sock")
    try:
        assert one.launch().wait() == 2
        assert "hunter2" not in one.output()
    finally:
        one.clean_up()
