"""The registry depends on what its libraries promise: on nothing whose name says that it may change without notice.

This looks at names in the syntax trees. It cannot see everything: an attribute that `getattr` or `setattr` fetches by a
name that is put together, a behaviour that nobody promised, a name without an underscore that is not documented.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import registry

ROOT = Path(registry.__file__).parent
#: NamedTuples have public methods that begin with an underscore, so that they are told from the fields.
PUBLIC = {"_asdict", "_replace", "_fields", "_make"}
#: Modules of uvicorn that are its own business, whatever their names say.
PRIVATE = {"httptools_impl", "websockets_impl", "websockets_sansio_impl", "flow_control"}


def is_private(name: str) -> bool:
    """Whether the name says that it is nobody else's. `__all__` and the like are the language's."""
    is_of_python = name.startswith("__") and name.endswith("__")
    return name in PRIVATE or (name.startswith("_") and not is_of_python and name not in PUBLIC)


def violations(tree: ast.Module) -> list[str]:
    """Private names that the module takes from anything but `self` and `cls`."""
    return [name for node in ast.walk(tree) for name in _taken(node) if is_private(name)]


def _taken(node: ast.AST) -> list[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="self" | "cls")):
            return []
        case ast.Attribute(attr=name):
            return [name]
        case ast.Import(names=aliases):
            return [part for alias in aliases for part in alias.name.split(".")]
        case ast.ImportFrom(module=module, names=aliases):
            return [*(module or "").split("."), *(alias.name for alias in aliases)]
        case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr"), args=[_, ast.Constant(value=str(name)), *_]):
            return [name]
        case ast.Constant(value=str(text)):
            return [part for part in text.split(".") if part in PRIVATE]  # a module that is loaded by its name
    return []


def test_the_registry_takes_nothing_private_of_others() -> None:
    """What may change without notice breaks an installed registry on the day a library is updated."""
    found = {str(path.relative_to(ROOT)): violations(ast.parse(path.read_text())) for path in ROOT.rglob("*.py")}
    assert len(found) > 100, "the walk has seen the registry"
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("connection._writer.writelines(packed)", "_writer"),
        ("self._connection._reader.at_eof()", "_reader"),
        ("cycle.__x = 1", "__x"),
        ("def f(self):\n    return self.cycle._on_response", "_on_response"),
        ("from redis.asyncio.client import _Pipeline", "_Pipeline"),
        ("from redis._parsers import BaseParser", "_parsers"),
        ("import redis._parsers.base as base", "_parsers"),
        ("from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol", "httptools_impl"),
        ("from uvicorn.protocols.http import flow_control", "flow_control"),
        ("import_module('uvicorn.protocols.websockets.websockets_sansio_impl')", "websockets_sansio_impl"),
        ("getattr(loop, '_selector', None)", "_selector"),
    ],
)
def test_something_private_is_noticed(code: str, name: str) -> None:
    """The walk must be able to see, or it protects nobody."""
    assert violations(ast.parse(code)) == [name]


@pytest.mark.parametrize(
    "code",
    [
        "self._own = cls._own",
        "stamp._asdict(), stamp._replace(at=1)",
        "from __future__ import annotations\nfrom registry import __version__",
        "sys.__stderr__.write(record.__dict__)",
        "_own_of_the_module()",
    ],
)
def test_what_is_ones_own_or_public_is_allowed(code: str) -> None:
    """A rule that forbids everything would be switched off."""
    assert violations(ast.parse(code)) == []
