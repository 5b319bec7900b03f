"""One command for the server and for clients: each verb loads what it needs, and says what is missing."""

from __future__ import annotations

import subprocess
import sys

from tests.support.replica import REPOSITORY


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=REPOSITORY, timeout=60)


def test_serving_loads_nothing_of_the_command_line_for_clients() -> None:
    """`registry serve` starts as fast as it did without the other verbs."""
    program = """
import sys
from registry.command import main
try:
    main(["serve", "--help"])
finally:
    print(sorted({name.split(".")[0] for name in sys.modules} & {"rich", "httpcore"}),
          "registry.client" in sys.modules, "uvicorn" in sys.modules, file=sys.stderr)
"""
    done = run(program)
    assert done.stderr == "[] False True\n"
    assert done.stdout.startswith("usage: registry serve")


def test_asking_loads_nothing_of_the_server() -> None:
    program = """
import sys
from registry.command import main
code = main(["--help"])
print(sorted({name.split(".")[0] for name in sys.modules} & {"uvicorn", "starlette", "redis", "uvloop", "rich"}))
sys.exit(code)
"""
    done = run(program)
    assert (done.stdout.splitlines()[-1], done.returncode) == ("[]", 0)


def test_without_the_extra_serving_says_what_to_install() -> None:
    for missing in ("uvloop", "redis", "starlette"):
        done = run(
            f"import sys; sys.modules['{missing}'] = None\nfrom registry.command import main\nsys.exit(main(['serve']))"
        )
        assert done.stderr == (
            f"registry: serve needs more than a client, {missing} is missing: "
            "pip install 'servicecomb-registry[server]'\n"
        )
        assert done.returncode == 2


def test_what_is_missing_otherwise_is_no_reason_to_install_anything() -> None:
    """A bug in the registry must not look like a missing package."""
    program = "import sys; sys.modules['registry.settings'] = None\nfrom registry.command import main\nmain(['serve'])"
    assert "ModuleNotFoundError" in run(program).stderr


def test_help_names_the_verbs_of_the_server_too() -> None:
    done = run("import sys\nfrom registry.command import main\nsys.exit(main(['--help']))")
    assert "serve   " in done.stdout
    assert run("import sys\nfrom registry.command import main\nsys.exit(main([]))").returncode == 2
