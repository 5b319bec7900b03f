"""Files: what a browser is sent below `/console/`, read once and held ready."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from starlette.types import Scope

from registry.http_api import reply
from registry.http_api.call import takes_gzip
from registry.http_api.reply import Header, Reply

ROOT: Final = "/console/"
WEB: Final = Path(__file__).parent / "web"
HELP: Final = Path(__file__).parents[1] / "docs"
DECISIONS: Final = Path(__file__).parents[1] / "decisions"

TYPES: Final = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".md": b"text/markdown; charset=utf-8",
    ".json": b"application/json",
}
#: A page may load and ask only what is ours, run no text as a program, and stand in nobody else's frame.
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_GUARDS: Final[tuple[Header, ...]] = (
    (b"Content-Security-Policy", POLICY),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    # It is asked for each time whether it is still the same: after an update nobody sees half of the old console.
    (b"Cache-Control", b"no-cache"),
)
_REDIRECT: Final = Reply(
    302, [reply.SERVER, (b"Location", ROOT.encode()), (b"Vary", b"Accept"), (b"Content-Length", b"0")]
)


class File(Struct, frozen=True):
    """One file, as it is and compressed; `tag` names its content."""

    head: tuple[Header, ...]
    tag: bytes
    body: bytes
    packed: bytes


class Files:
    """The console of one replica.

    Args:
        web: the folder of the console's own files.
        help: the folder of the pages of documentation, which stand below `help/`.
    """

    def __init__(self, web: Path = WEB, help: Path = HELP) -> None:
        self._files = _ready(web, help)

    def answer(self, scope: Scope) -> Reply | None:
        """What is said to a request for which there is no operation; None: nothing, it is no file either."""
        path: str = scope["path"]
        if path in ("/", ROOT[:-1]):
            wants_page = path != "/" or b"text/html" in _header(scope, b"accept")
            return _REDIRECT if wants_page and scope["method"] in ("GET", "HEAD") else None
        file = self._files.get(path if path != ROOT else ROOT + "index.html")
        if file is None:
            return None
        if scope["method"] not in ("GET", "HEAD"):
            return reply.text(405, "Method Not Allowed\n", (b"Allow", b"GET, HEAD"))
        return _answer(file, scope)


def _answer(file: File, scope: Scope) -> Reply:
    head = [reply.SERVER, *reply.VARY, *file.head, (b"ETag", file.tag), *_GUARDS]
    if file.tag in _header(scope, b"if-none-match"):
        return Reply(304, head)
    if takes_gzip(_header(scope, b"accept-encoding")) and len(file.packed) < len(file.body):
        size = (b"Content-Length", b"%d" % len(file.packed))
        return Reply(200, [*head, (b"Content-Encoding", b"gzip"), size], file.packed)
    return Reply(200, [*head, (b"Content-Length", b"%d" % len(file.body))], file.body)


@cache
def _ready(web: Path, help: Path) -> Mapping[str, File]:
    """The files by their paths. Many replicas in one process, as in tests, compress them once."""
    return {ROOT + name: _file(name, body) for name, body in (*_read(web), *_read_help(help))}


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _file(name: str, body: bytes) -> File:
    kind = TYPES[name[name.rindex(".") :]]
    # Weak, for it stands for the file compressed and not.
    tag = b'W/"%s"' % sha256(body).hexdigest()[:20].encode()
    return File(((b"Content-Type", kind),), tag, body, gzip.compress(body, 6, mtime=0))


def _read(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in TYPES:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _read_help(folder: Path) -> Iterable[tuple[str, bytes]]:
    """The pages and their pictures, the decisions that they cite, and the list of all with their titles."""
    pages = [(f"help/{name}", body) for name, body in (*_read(folder), *_read(DECISIONS))]
    titles = [{"name": name.removeprefix("help/"), "title": _title(body)} for name, body in pages if name[-3:] == ".md"]
    return [*pages, ("help/pages.json", msgspec.json.encode(titles))]


def _title(page: bytes) -> str:
    return page.decode().partition("\n")[0].lstrip("# ").strip()
