"""Imports point one way, as registry/__init__.py draws the layers, and the top level holds what was agreed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import registry

ROOT = Path(registry.__file__).parent
#: What the top level of the repository holds beside names that begin with a dot.
TOP_LEVEL = {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "docker-compose.yml"}
TOP_LEVEL |= {"registry", "tests", "scripts", "benchmarks"}
LAYERS = ["domain", "access", "store", "projection", "usecases", "archive", "upkeep", "history", "metrics", "http_api"]
LAYERS += ["console", "serving", "running", "cli"]
#: Rooms beside the layers: they know the domain, and of the layers only the command line knows them.
BESIDE = {"client": {"domain"}, "remote": {"domain", "client"}}
#: Modules of the package itself, outside the folders, and the layer that each belongs to.
TOP_MODULES = {
    "__init__": "domain",
    "settings": "store",
    "environment": "store",
    "forms": "store",
    "clock": "store",
    "memo": "store",
    "histogram": "store",
    "tracing": "store",
    "episode": "store",
    "logconfig": "running",
    "log_bursts": "running",
    "log_lines": "running",
    "log_queue": "running",
    "accounts_setup": "running",
    "bootstrap": "running",
    "conditions": "running",
    "__main__": "cli",
    "cli": "cli",
    "backup_verbs": "cli",
    "log_verbs": "cli",
    "command": "cli",
}
#: What would make the fold depend on more than its arguments.
IMPURE = {"asyncio", "time", "random", "os", "secrets", "uuid", "socket", "threading", "datetime", "importlib", "io"}
#: Third parties by layer; what is not named here may be imported nowhere.
THIRD_PARTIES = {
    "domain": {"msgspec"},
    "access": {"msgspec", "argon2", "jwt", "cryptography"},
    "store": {"msgspec", "redis", "hiredis"},
    "projection": {"msgspec"},
    "usecases": {"msgspec"},
    "upkeep": {"msgspec"},
    "metrics": {"msgspec", "prometheus_client"},
    "archive": {"msgspec", "zstandard"},
    "history": {"msgspec"},
    "http_api": {"msgspec", "starlette", "websockets", "yaml"},
    "console": {"msgspec", "starlette"},
    "serving": {"msgspec", "starlette", "uvicorn", "httptools", "websockets"},
    "running": {"msgspec", "starlette", "uvicorn", "uvloop", "redis", "rich", "opentelemetry"},
    "cli": {"msgspec", "uvicorn", "uvloop"},
    "client": {"msgspec", "httpcore", "httpx", "websockets"},
    "remote": {"msgspec", "click", "rich"},
}
ADAPTERS = {"registry.store.redis_store", "registry.store.memory_store"}
#: The modules of the Redis adapter that speak to Redis themselves.
REDIS_SPEAKERS = {
    *("registry.store.redis_store", "registry.store.redis_durability", "registry.store.connections"),
    "registry.store.sentinel",
    *("registry.store.cluster", "registry.store.cluster_connections", "registry.store.dial", "registry.store.line"),
    *("registry.store.lines", "registry.store.refusal", "registry.store.password_file", "registry.store.tls"),
    *("registry.store.redis_check", "registry.store.redis_diagnosis", "registry.store.redis_reads"),
    *("registry.store.redis_upkeep", "registry.store.diagnosis", "registry.store.redis_about"),
}


def modules(root: Path) -> Iterator[tuple[str, str, ast.Module]]:
    """Every module below `root`: its dotted name, its layer and its syntax tree."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        layer = TOP_MODULES.get(parts[0], "unknown") if len(parts) == 1 else parts[0]
        name = ".".join(("registry", *(part for part in parts if part != "__init__")))
        yield name, layer, ast.parse(path.read_text(), str(path))


def imported(tree: ast.Module) -> set[str]:
    """The dotted names of everything the module imports, anywhere in it; of `from a import b` also `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            prefix = "." * node.level + (node.module or "")
            found |= {prefix} | {f"{prefix}.{alias.name}" for alias in node.names}
    return found


def layer_of(name: str) -> str:
    part = [*name.split("."), "__init__"][1]
    return part if part in {*LAYERS, *BESIDE} and part not in TOP_MODULES else TOP_MODULES.get(part, "domain")


def violations(root: Path) -> list[str]:
    found = []
    for module, layer, tree in modules(root):
        if layer not in {*LAYERS, *BESIDE}:
            found.append(f"{module} belongs to no layer")
            continue
        for name in sorted(imported(tree)):
            reason = _objection(module, layer, name)
            if reason:
                found.append(f"{module} imports {name}: {reason}")
    return found


def _objection(module: str, layer: str, name: str) -> str:
    top = name.split(".")[0]
    if name.startswith("."):
        return "imports are absolute"
    if top == "registry":
        other = layer_of(name)
        if layer in BESIDE or other in BESIDE:
            known = {layer, *BESIDE.get(layer, ())}
            return "" if layer == "cli" or other in known else f"{layer} may not know {other}"
        if LAYERS.index(other) > LAYERS.index(layer):
            return f"{other} lies above {layer}"
        adapter = next((a for a in ADAPTERS if (name + ".").startswith(a + ".")), "")
        if adapter and adapter != module and LAYERS.index(layer) < LAYERS.index("running"):
            return f"{layer} knows the port, not its adapters"
        return ""
    if top in sys.stdlib_module_names:
        return "the domain is pure" if layer == "domain" and top in IMPURE else ""
    if top in ("redis", "hiredis") and layer == "store" and module not in REDIS_SPEAKERS:
        return "only the Redis adapter speaks to Redis"
    return "" if top in THIRD_PARTIES[layer] else f"{layer} may not use {top}"


def test_imports_point_from_the_outer_layers_to_the_inner_ones() -> None:
    """Anyone who reads or replaces a layer needs to know only those before it."""
    assert violations(ROOT) == []


def circle(root: Path) -> list[str]:
    """Modules that import one another in a circle, those of `TYPE_CHECKING` included. A package's face only names."""
    imports = {name: imported(tree) for name, _, tree in modules(root)}
    known = imports.keys() - {name.rpartition(".")[0] for name in imports}
    try:
        TopologicalSorter({name: imports[name] & known for name in known}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_in_a_circle() -> None:
    """Anyone who reads a module can read first what it builds on."""
    assert circle(ROOT) == []


def test_a_circle_of_imports_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain/one.py").write_text("from registry.domain import two")
    (tmp_path / "domain/two.py").write_text("if TYPE_CHECKING:\n    from registry.domain.one import One")
    assert set(circle(tmp_path)) == {"registry.domain.one", "registry.domain.two"}


def test_every_layer_is_there() -> None:
    """A renamed folder would leave the test above with nothing to look at."""
    seen = {layer for _, layer, _ in modules(ROOT)}
    assert seen == {*LAYERS, *BESIDE}


@pytest.mark.parametrize(
    ("path", "code", "objection"),
    [
        ("domain/x.py", "import asyncio", "the domain is pure"),
        ("domain/x.py", "from os import urandom", "the domain is pure"),
        ("domain/x.py", "def f():\n    import time", "the domain is pure"),
        ("domain/x.py", "import redis", "domain may not use redis"),
        ("domain/x.py", "from registry.store.port import Store", "store lies above domain"),
        ("domain/x.py", "from registry import usecases", "usecases lies above domain"),
        ("domain/x.py", "from .model import Instance", "imports are absolute"),
        ("store/keys.py", "import redis.asyncio", "only the Redis adapter"),
        ("store/x.py", "from registry.projection.projector import Projector", "projection lies above store"),
        ("projection/x.py", "from registry.store.memory_store import MemoryStore", "not its adapters"),
        ("usecases/x.py", "from registry.store.redis_store import RedisStore", "not its adapters"),
        ("usecases/x.py", "from registry.store import redis_store", "not its adapters"),
        ("usecases/x.py", "import registry.http_api.app", "http_api lies above usecases"),
        ("http_api/x.py", "from registry.cli import main", "cli lies above http_api"),
        ("http_api/x.py", "import redis", "http_api may not use redis"),
        ("running/x.py", "import requests", "running may not use requests"),
        ("client/x.py", "from registry.store.port import Store", "client may not know store"),
        ("client/x.py", "import registry.settings", "client may not know store"),
        ("client/x.py", "import starlette", "client may not use starlette"),
        ("client/x.py", "from registry.remote.main import run", "client may not know remote"),
        ("remote/x.py", "from registry.usecases import writes", "remote may not know usecases"),
        ("usecases/x.py", "from registry.client.names import parse_name", "usecases may not know client"),
        ("strange/x.py", "", "no layer"),
        ("strange.py", "", "no layer"),
    ],
)
def test_an_import_against_the_direction_is_noticed(tmp_path: Path, path: str, code: str, objection: str) -> None:
    """The walk must be able to see, or it protects nobody."""
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(code)
    assert [objection in found for found in violations(tmp_path)].count(True) >= 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("domain/x.py", "import msgspec, hashlib\nfrom registry.domain.model import Instance"),
        ("store/redis_store.py", "from redis.asyncio import Redis\nfrom registry.store.port import Store"),
        ("usecases/x.py", "import asyncio\nfrom registry.store.port import Store"),
        ("running/x.py", "from registry.store.redis_store import RedisStore\nimport uvicorn"),
        ("client/x.py", "import httpcore\nfrom registry.domain.model import Instance"),
        ("cli.py", "from registry.client.names import parse_name"),
    ],
)
def test_an_import_in_the_direction_is_allowed(tmp_path: Path, path: str, code: str) -> None:
    """A rule that forbids everything would be switched off."""
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(code)
    assert violations(tmp_path) == []


def test_top_level_holds_what_was_agreed() -> None:
    """A file that somebody leaves there by mistake would be in every clone."""
    listed = subprocess.run(["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT.parent, check=True, capture_output=True)
    names = {name for name in listed.stdout.decode().split() if not name.startswith(".")}
    assert names == TOP_LEVEL


def test_a_start_loads_only_what_serving_needs_at_once() -> None:
    """A replica that starts is a replica that is missing: these modules were a third of the time that it took."""
    loaded = "import sys, registry.cli, registry.running.past_process; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT.parent, check=True, capture_output=True, text=True)
    later = {
        "argon2",
        "jwt",
        "prometheus_client",
        "yaml",
        "rich",
        "registry.running.dumping",
        "registry.store.memory_store",
    }
    assert "uvicorn" in told.stdout.split()
    assert later & {*told.stdout.split()} == set()
