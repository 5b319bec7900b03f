"""Redis's own files are a backup as well: what a server makes of a copy of them answers as the registry did."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import redis

from tests.support.redis_server import redis_server
from tests.support.replica import replica
from tests.support.sample import answers, fill

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the second server has its data; short, for its socket."""
    return tmp_path_factory.mktemp("r")


@pytest.mark.parametrize("what", ["dump.rdb", "appendonlydir"])
def test_copied_files_answer_as_the_registry_did(what: str, copy: Path) -> None:
    """Taken while it runs. Leases start anew: a store that was started anew may have lost renewals."""
    appends = what == "appendonlydir"
    with redis_server(appendonly=appends) as server, replica("--redis-url", server.url) as process:
        fill(process.connect())
        before = answers(process.connect())
        if not appends:
            with redis.Redis.from_url(server.url) as client:
                client.save()
        found = server.directory / what
        shutil.copytree(found, copy / what) if appends else shutil.copy(found, copy / what)
    with redis_server(copy, appendonly=appends) as server, replica("--redis-url", server.url) as process:
        assert answers(process.connect()) == before
        process.tells("leases_rearmed")
