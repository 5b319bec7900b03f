"""What every test may ask for: a real Redis of this run, keys of its own, and Hypothesis profiles."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.support.redis_modes import redis_cluster
from tests.support.redis_server import redis_program, redis_server

# No deadline: a slow machine is not a wrong answer. `ci` is repeatable; `long` is run by hand (tests/README.md).
settings.register_profile("dev", max_examples=60, stateful_step_count=30, deadline=None)
searching = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", searching, max_examples=120, stateful_step_count=50, derandomize=True)
settings.register_profile("long", searching, max_examples=2_000, stateful_step_count=100)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# A shell that runs the suite in the background has Ctrl-C ignored, and so has every process started from here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: Modules that take longest. Where processes share the tests, these begin first: at the end none waits for one of them.
LONGEST: Final = (
    *("docs/test_scripts.py", "benchmarks/test_quick_run.py", "simulation/test_seeds.py", "replicas/test_archive.py"),
    *("access/test_replicas.py", "contract/test_differential.py", "properties/test_archived_past.py"),
    *("fuzz/test_fuzz.py", "chaos/test_chaos.py", "replicas/test_log_tools.py", "docs/test_sessions.py"),
    *("client/test_crowd.py", "remote/test_moving.py", "modes/test_tenants.py", "console/test_pages.py"),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest modules first, then all that have slow tests, with `--dist loadfile --no-loadscope-reorder`."""
    if not hasattr(config, "workerinput"):
        return
    longest = {Path(__file__).parent / module: number for number, module in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (longest.get(item.path, len(longest)), item.path not in slow))


def pytest_report_header() -> str:
    return f"store: {redis_program()} ({redis_program().path})"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """asyncio is what the registry runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a redis-server started for this run. Shared: keep below `key_prefix`, never flush it."""
    with redis_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """The address of a Redis Cluster of three servers. Shared, as `redis_url` is."""
    with redis_cluster(replicas=False) as cluster:
        yield cluster.url


@pytest.fixture
def key_prefix() -> str:
    """A key prefix that no other test has."""
    return f"{uuid.uuid4().hex[:12]}:"
