"""What is served below /console/, and that it is all ours."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from os.path import normpath
from pathlib import Path
from typing import get_args

import pytest

from registry.console.files import DECISIONS, HELP, WEB
from registry.domain import events
from registry.domain.events import Event
from registry.usecases.alarms import ALARMS
from tests.support.http import Connection, Response
from tests.support.replica import Replica, replica

#: Bytes of everything that is served, as it lies in the repository.
SIZE_MAX = 250 * 1024
SCRIPTS = sorted(WEB.rglob("*.js"))


@pytest.fixture(scope="module")
def connection(registry: Replica) -> Iterator[Connection]:
    with registry.connect() as connection:
        yield connection


def ask(connection: Connection, path: str, method: str = "GET", **headers: str) -> Response:
    return connection.request(method, path, None, {name.replace("_", "-"): value for name, value in headers.items()})


# -- ways in -----------------------------------------------------------------------------------------------------------


def test_a_browser_is_led_to_the_console_and_a_program_is_not(connection: Connection) -> None:
    """A person who types the address sees the registry; clients that probe `/` are answered as before."""
    led = ask(connection, "/", Accept="text/html,application/xhtml+xml")
    assert (led.status, led.header("Location")) == (302, "/console/")
    assert ask(connection, "/", Accept="*/*").status == 404
    assert ask(connection, "/").body == b"404 page not found\n"
    assert ask(connection, "/console").header("Location") == "/console/"
    assert ask(connection, "/", "POST", Accept="text/html").status == 404


def test_files_are_typed_guarded_and_compressed(connection: Connection) -> None:
    page = ask(connection, "/console/")
    assert (page.status, page.header("Content-Type")) == (200, "text/html; charset=utf-8")
    assert page.header("X-Content-Type-Options") == "nosniff"
    policy = page.header("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    script = ask(connection, "/console/main.js", Accept_Encoding="gzip")
    assert script.header("Content-Type") == "text/javascript; charset=utf-8"
    assert gzip.decompress(script.body) == (WEB / "main.js").read_bytes()
    assert ask(connection, "/console/main.js", Accept_Encoding="gzip;q=0").body == (WEB / "main.js").read_bytes()


def test_head_and_unchanged_files_cost_no_body(connection: Connection) -> None:
    whole = ask(connection, "/console/style.css")
    head = ask(connection, "/console/style.css", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.header("Content-Length") == str(len(whole.body))
    same = ask(connection, "/console/style.css", If_None_Match=whole.header("ETag"))
    assert (same.status, same.body) == (304, b"")


def test_nothing_else_is_served(connection: Connection) -> None:
    paths = ["console/nothing.js", "console/data", "console/../settings.py", "console/%2e%2e/__init__.py", "consoles/"]
    for path in paths:
        assert ask(connection, f"/{path}").status in (301, 404), path
    refused = ask(connection, "/console/", "DELETE")
    assert (refused.status, refused.header("Allow")) == (405, "GET, HEAD")


def test_the_pages_of_documentation_are_served(connection: Connection) -> None:
    pages = ask(connection, "/console/help/pages.json").json()
    files = {path.name: path for folder in (HELP, DECISIONS) for path in folder.glob("*.md")}
    assert {page["name"] for page in pages} == files.keys()
    for page in pages:
        assert page["title"]
        assert ask(connection, f"/console/help/{page['name']}").body == files[page["name"]].read_bytes()


def test_the_console_can_be_left_out(redis_url: str) -> None:
    environment = {"REGISTRY_CONSOLE": "off"}
    options = ("--redis-url", redis_url, "--redis-prefix", "no-console:")
    with replica(*options, environment=environment) as process, process.connect() as connection:
        assert ask(connection, "/", Accept="text/html").status == 404
        assert ask(connection, "/console/").status == 404
        assert ask(connection, "/console").status == 404


# -- what it is made of ------------------------------------------------------------------------------------------------


def test_all_of_it_is_small() -> None:
    """It is read once by anyone who opens it, over any network in between."""
    assert sum(path.stat().st_size for path in WEB.rglob("*") if path.is_file()) < SIZE_MAX


@pytest.mark.parametrize("path", [*SCRIPTS, WEB / "index.html", WEB / "style.css"], ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere_and_no_text_becomes_a_program(path: Path) -> None:
    """One `innerHTML` would make every name that anyone registers a program in the operator's browser."""
    text = path.read_text()
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|\.cookie"
    assert re.findall(sinks, text) == []
    assert re.findall(r"""(?:src|href|import|url)\s*[=(]?\s*["'(]\s*(?:https?:)?//""", text) == []
    assert "style=" not in text


def needed(name: str, found: set[str]) -> set[str]:
    """The module and all that it imports."""
    if name not in found:
        found.add(name)
        for other in re.findall(r"^import [^;]*? from \"([^\"]+)\";", (WEB / name).read_text(), re.MULTILINE):
            needed(normpath(Path(name).parent / other), found)
    return found


def test_what_the_first_view_needs_is_fetched_at_once() -> None:
    """Else the browser learns of each module from another one, and asks again and again."""
    preloaded = set(re.findall(r'rel="modulepreload" href="([^"]+)"', (WEB / "index.html").read_text()))
    assert preloaded == needed("pages/overview.js", needed("main.js", set())) - {"main.js"}


def test_every_alarm_and_every_kind_of_event_has_its_words() -> None:
    """An alarm without what to do about it, or an event by its name in the code, helps nobody."""
    table = set(re.findall(r"^  \"?([\w.-]+)\"?: \"", (WEB / "texts.js").read_text(), re.MULTILINE))
    assert {f"alarm.{id}" for id in ALARMS} == {name for name in table if re.fullmatch(r"alarm\.[A-Z]\w+", name)}
    # Those of the log of accounts are in no tenant's history.
    kinds = {str(kind.__struct_config__.tag) for kind in get_args(Event) if kind.__module__ == events.__name__}
    assert {f"kind.{kind}" for kind in kinds} == {name for name in table if name.startswith("kind.")}
    offered = re.search(r"const KINDS = \[([^]]*)\]", (WEB / "pages" / "history.js").read_text())
    assert offered
    assert set(re.findall(r'"([\w-]+)"', offered[1])) == kinds


def test_every_text_that_is_shown_is_in_the_table_of_texts_and_no_other() -> None:
    """Another language is another table, so nothing may be missing in this one, nor be left in it."""
    table = set(re.findall(r"^  \"?([\w.-]+)\"?: \"", (WEB / "texts.js").read_text(), re.MULTILINE))
    code = "\n".join(path.read_text() for path in SCRIPTS if path.name != "texts.js")
    named = set(re.findall(r"\bt\(\s*\"([\w.-]+)\"", code))
    assert named <= table
    made = {name for prefix in re.findall(r"\bt\(`([\w.-]+)\$", code) for name in table if name.startswith(prefix)}
    chosen = set(re.findall(r"\? \"([\w.-]+)\" : \"[\w.-]+\"", code)) | set(re.findall(r" : \"([\w.-]+)\"", code))
    assert table - named - made - chosen == set()
